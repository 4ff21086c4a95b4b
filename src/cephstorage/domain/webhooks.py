"""Webhooks: who is told of which changes, and what exactly he is told.

A webhook belongs to a tenant and is for one bucket or for all of them. The bytes of an event are made once, in the
transaction of the change, so that every try sends the same.
"""

import hashlib
import hmac
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cephstorage.domain.errors import InvalidWebhook
from cephstorage.domain.names import MAX_KEY_BYTES, BucketName
from cephstorage.domain.records import Record
from cephstorage.domain.transfers import Kind
from cephstorage.domain.urls import check_url, credentials_in

SIGNATURE_HEADER = "CephStorage-Signature"
MOST_OF_TENANT = 100
"""Webhooks that a tenant may have."""
TOLD_KINDS = (Kind.FETCH, Kind.UPLOAD, Kind.COPY)
"""Transfers whose failure is an event: those that a tenant ordered. What a mirror could not fetch is none."""


class EventType(StrEnum):
    """What happened. ``PING`` is sent on demand and can't be subscribed to."""

    CREATED = "key.created"
    DELETED = "key.deleted"
    FAILED = "transfer.failed"
    PING = "ping"


SUBSCRIBABLE = (EventType.CREATED, EventType.DELETED, EventType.FAILED)


@dataclass(frozen=True, slots=True)
class Standing:
    """How the deliveries of a webhook have been going. Times are epoch seconds; ``failures`` are in a row.

    ``last_status`` and ``last_error`` are of the last answer; nothing is sent before ``rest_until``. ``dropped``
    counts dead letters that made room for younger ones.
    """

    delivered: int = 0
    dropped: int = 0
    failures: int = 0
    last_at: float | None = None
    last_status: int | None = None
    last_error: str | None = None
    rest_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Webhook:
    """``bucket`` None: every bucket of the tenant. ``secrets`` are sealed, the newest first.

    An older secret signs beside it until ``previous_until``. ``disabled_by``: what switched it off, if not its owner.
    """

    id: str
    username: str
    bucket: BucketName | None
    prefix: str
    url: str = field(repr=False)
    events: tuple[EventType, ...]
    secrets: tuple[str, ...] = field(repr=False)
    previous_until: float | None
    enabled: bool
    disabled_by: str | None
    created_at: float
    updated_at: float
    standing: Standing = Standing()

    def signing(self, now: float) -> tuple[str, ...]:
        """The secrets that sign now, the newest first."""
        both = self.previous_until is not None and self.previous_until > now
        return self.secrets if both else self.secrets[:1]


def wants(prefix: str, events: Collection[str], kind: EventType, key: str) -> bool:
    """Whether a webhook with this prefix and these events is told of an event of the key."""
    return kind in events and key.startswith(prefix)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a key. ``body`` is what receivers get, ``id`` what they tell doubles by."""

    id: str
    kind: EventType
    bucket: BucketName
    key: str
    body: str = field(repr=False)


def key_event(event_id: str, kind: EventType, record: Record, now: float) -> Event:
    """A version that has come (with what is visible now) or gone (with what was)."""
    facts = {
        "generation": record.generation,
        "size": record.size,
        "md5": record.md5,
        "content_type": record.content_type,
        "etag": record.etag,
        "ts": record.ts,
    }
    return _event(event_id, kind, record.bucket, record.key, now, facts)


def failure_event(event_id: str, bucket: BucketName, key: str, kind: Kind, token: str, code: str, now: float) -> Event:
    """A transfer that has failed. Only the error's code: messages may quote addresses."""
    facts = {"token": token, "kind": kind.value, "error": {"code": code}}
    return _event(event_id, EventType.FAILED, bucket, key, now, facts)


def ping_body(event_id: str, webhook: str, now: float) -> str:
    """The body of a ping."""
    return _json({"id": event_id, "type": EventType.PING.value, "time": now, "webhook": webhook})


def _event(event_id: str, kind: EventType, bucket: BucketName, key: str, now: float, facts: dict[str, Any]) -> Event:
    said = {
        "id": event_id,
        "type": kind.value,
        "time": now,
        "bucket": str(bucket),
        "username": bucket.username,
        "bucketname": bucket.bucketname,
        "key": key,
        **facts,
    }
    return Event(event_id, kind, bucket, key, _json(said))


def _json(value: dict[str, Any]) -> str:
    """Compact, in ASCII: the same bytes whatever a database or a receiver makes of text."""
    return json.dumps(value, separators=(",", ":"))


def signature(secrets: Sequence[str], moment: int, body: bytes) -> str:
    """``t=<epoch seconds>,v1=<hex>``: HMAC-SHA-256 (RFC 2104) over ``t.body``, once for every secret that is valid.

    The time is signed along, so that who records a request can't send it again for ever.
    """
    message = f"{moment}.".encode() + body
    made = (hmac.digest(secret.encode(), message, hashlib.sha256).hex() for secret in secrets)
    return ",".join([f"t={moment}", *(f"v1={each}" for each in made)])


def webhook_url(url: str) -> str:
    """An address to which events are sent. Raises InvalidUrl, InvalidWebhook."""
    if "#" in check_url(url):
        raise InvalidWebhook("url: it has a fragment, which no receiver would see.")
    if credentials_in(url):
        raise InvalidWebhook("url: it holds a user name or password; receivers know the service by its signature.")
    return url


def webhook_events(names: Collection[str]) -> tuple[EventType, ...]:
    """The events that a webhook is for, in their order. Raises InvalidWebhook."""
    known = {kind.value for kind in SUBSCRIBABLE}
    if unknown := sorted(set(names) - known):
        raise InvalidWebhook(f"events: {unknown[0]!r} is none; there are {', '.join(sorted(known))}.")
    if not names:
        raise InvalidWebhook("events: name at least one.")
    return tuple(kind for kind in SUBSCRIBABLE if kind.value in names)


def webhook_prefix(prefix: str) -> str:
    """The beginning of the keys that a webhook is for. Raises InvalidWebhook."""
    if len(prefix.encode()) > MAX_KEY_BYTES or "\0" in prefix:
        raise InvalidWebhook(f"prefix: it must be what a key can begin with, at most {MAX_KEY_BYTES} bytes.")
    return prefix
