"""Events of buckets, as RGW pushes them when its clients write and delete: hints, and nothing more.

Nobody signs them, and they are lost, repeated and put out of order. So an event only names a key that is to be held
against the store; what it says besides may spare that, where the index knows the same already.

Source: docs.ceph.com, "Bucket Notifications" and "S3 Bucket Notifications Compatibility", release Pacific.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cephstorage.domain.consistency import Known, identity_of
from cephstorage.domain.errors import CephStorageError, InvalidDocument
from cephstorage.domain.names import BucketName, bucket_or_none, key_name
from cephstorage.domain.records import attempt_of

PATH = "/events"
LARGEST_BODY = 1 << 20
"""Bytes of a body of events. RGW sends one in a body, of some 2 KiB with an object's metadata."""
PROBE_PREFIX = ".cephstorage-probe/"
"""Keys that are written to see whether events arrive; while one is awaited it is not made visible."""
_CREATED = "ObjectCreated:"
_REMOVED = "ObjectRemoved:"
_DELETE = "ObjectRemoved:Delete"
_ATTEMPT = "x-amz-meta-attempt"


@dataclass(frozen=True, slots=True)
class Event:
    """What an event claims. ``version_id`` and ``attempt`` are empty where it does not say them."""

    bucket: BucketName
    key: str
    name: str
    version_id: str = ""
    attempt: str = ""


@dataclass(frozen=True, slots=True)
class Following:
    """How the store tells of a bucket's changes. ``endpoint`` is shown without its secret."""

    endpoint: str
    removals: bool
    persistent: bool


def address_of(base: str, bucket: BucketName, secret: str) -> str:
    """Where events of a bucket are to be pushed, under a service's base address. Whoever knows it may push hints."""
    return f"{base.rstrip('/')}{PATH}/{bucket}/{token_of(bucket, secret)}"


def token_of(bucket: BucketName, secret: str) -> str:
    """The unguessable part of that address."""
    return hmac.digest(secret.encode(), f"events\n{bucket}".encode(), hashlib.sha256).hex()[:40]


def is_token(bucket: BucketName, secret: str, given: str) -> bool:
    """Whether an address is ours, in a time that does not tell how much of it is right."""
    return hmac.compare_digest(token_of(bucket, secret).encode(), given.encode("utf-8", "surrogatepass"))


def read_events(body: bytes) -> tuple[Sequence[Event], int]:
    """The events of a body about keys, in their order, and how many more there are that make no sense.

    Raises InvalidDocument when it holds none at all.
    """
    try:
        records = json.loads(body)["Records"]
        if not isinstance(records, list):
            raise TypeError(records)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InvalidDocument("The body is no list of bucket events: JSON with Records.") from error
    events = [event for record in records if (event := _event(record)) is not None]
    return events, len(records) - len(events)


def _event(record: Any) -> Event | None:
    try:
        name, of_object = record["eventName"].removeprefix("s3:"), record["s3"]["object"]
        bucket, key = bucket_or_none(record["s3"]["bucket"]["name"]), key_name(of_object["key"])
        if bucket is None or not name.startswith((_CREATED, _REMOVED)):
            return None
        metadata = {pair["key"]: str(pair["val"]) for pair in of_object.get("metadata") or ()}
        return Event(bucket, key, name, str(of_object.get("versionId") or ""), metadata.get(_ATTEMPT, ""))
    except (KeyError, TypeError, AttributeError, CephStorageError):
        return None


def is_news(events: Iterable[Event], known: Known) -> bool:
    """Whether any of a key's events tells something that the index does not know already."""
    return any(not _is_known(event, known) for event in events)


def _is_known(event: Event, known: Known) -> bool:
    """Our own writes and removals: the record names what has come, or a transfer or the queue of removals does.

    A version that goes and that nothing names may still be a mark of deletion, whose going shows what lay below.
    """
    if event.name.startswith(_CREATED):
        record = known.record
        if record is not None and event.version_id and identity_of(record.store_version) == event.version_id:
            return True
        return bool(event.attempt) and attempt_of(event.attempt) in known.coming
    leaving = {identity_of(name) for name in known.leaving}
    return event.name == _DELETE and bool(event.version_id) and event.version_id in leaving
