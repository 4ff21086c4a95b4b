"""Webhooks, from both sides: calls that set them up, and the check of what a receiver was sent."""

import hashlib
import hmac
import json
import re
import time
from collections.abc import Iterable, Sequence
from typing import Any, TypedDict, cast

from cephstorage_client.connection import Connection, given
from cephstorage_client.errors import WebhookRefused
from cephstorage_client.names import encode_segment

SIGNATURE_HEADER = "CephStorage-Signature"
TOLERANCE = 300.0
"""Seconds that a signature is taken for, by default: longer than any delivery takes, too short to be of use later."""
_PART = re.compile(r"(t)=([0-9]{1,12})|(v1)=([0-9a-f]{64})")


class WebhookStatus(TypedDict, total=False):
    """How deliveries go. ``lag``: seconds that the oldest waiting event has waited."""

    delivered: int
    dropped: int
    failures: int
    last_at: float | None
    last_status: int | None
    last_error: str | None
    rests_until: float | None
    waiting: int
    dead: int
    lag: float


class Webhook(TypedDict, total=False):
    """A webhook. ``secret`` is there only in the answers that make one."""

    id: str
    username: str
    bucket: str | None
    bucketname: str | None
    prefix: str
    url: str
    events: list[str]
    enabled: bool
    disabled_by: str | None
    old_secret_until: float | None
    created: float
    updated: float
    status: WebhookStatus
    secret: str


class WebhookTrial(TypedDict):
    """What came of a ping."""

    event: str
    delivered: bool
    status: int | None
    error: str | None
    seconds: float


class DeadLetter(TypedDict):
    """An event that was given up."""

    number: int
    event: str
    type: str
    bucket: str
    key: str
    attempts: int
    error: str | None
    waited_since: float
    died: float
    body: dict[str, Any]


def verify_webhook(
    secrets: str | Iterable[str],
    signature: str | None,
    body: bytes,
    *,
    tolerance: float = TOLERANCE,
    now: float | None = None,
) -> dict[str, Any]:
    """The event in ``body``, if the service sent it: the header is ``CephStorage-Signature``. Raises WebhookRefused.

    ``body`` are the bytes as they came, before anything read them. A signature that is older or newer than
    ``tolerance`` seconds is refused, so that a recorded request can't be sent again; tell doubles by the event's
    ``id`` all the same. Give several secrets while one replaces another.
    """
    parts = [_PART.fullmatch(part.strip()) for part in (signature or "").split(",")]
    times = [found[2] for found in parts if found is not None and found[1]]
    signed = [found[4] for found in parts if found is not None and found[3]]
    if len(times) != 1 or not signed:
        raise WebhookRefused("There is no signature of the form t=...,v1=...")
    message = f"{times[0]}.".encode() + body
    fits = False
    for secret in [secrets] if isinstance(secrets, str) else secrets:
        expected = hmac.digest(secret.encode(), message, hashlib.sha256).hex()
        for each in signed:
            fits |= hmac.compare_digest(expected, each)
    if not fits:
        raise WebhookRefused("The signature does not fit: another secret, or another body.")
    if abs((time.time() if now is None else now) - int(times[0])) > tolerance:
        raise WebhookRefused(
            f"The signature is more than {tolerance:.0f} seconds off: a request of before, or a clock."
        )
    try:
        event = json.loads(body)
    except ValueError as error:
        raise WebhookRefused("The body is signed, and is no JSON.") from error
    if not isinstance(event, dict):
        raise WebhookRefused("The body is signed, and is no event.")
    return event


class WebhookCalls(Connection):
    """Webhooks. Every method raises ApiError and ServiceUnreachable."""

    def create_webhook(
        self,
        username: str,
        url: str,
        *,
        bucketname: str | None = None,
        events: Sequence[str] | None = None,
        prefix: str | None = None,
    ) -> Webhook:
        """Have events of a bucket, or of all a tenant's, sent to ``url``. Its ``secret`` is never shown again."""
        body = {"username": username, "bucketname": bucketname, "url": url, "events": events, "prefix": prefix}
        return cast("Webhook", self._call("POST", "/webhooks", json=given(body)))

    def webhooks(self, username: str | None = None, bucketname: str | None = None) -> list[Webhook]:
        """Every webhook, a tenant's, or those that are told of a bucket."""
        params = {"username": username, "bucketname": bucketname}
        return cast("list[Webhook]", self._call("GET", "/webhooks", params=params)["webhooks"])

    def webhook(self, webhook: str) -> Webhook:
        """A webhook and its state."""
        return cast("Webhook", self._call("GET", _path(webhook)))

    def change_webhook(
        self,
        webhook: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        prefix: str | None = None,
        enabled: bool | None = None,
    ) -> Webhook:
        """Change what is given."""
        fields = {"url": url, "events": events, "prefix": prefix, "enabled": enabled}
        wish = {name: value for name, value in fields.items() if value is not None}
        return cast("Webhook", self._call("PUT", _path(webhook), json=wish))

    def delete_webhook(self, webhook: str) -> None:
        """Delete a webhook with what it has not delivered."""
        self._call("DELETE", _path(webhook))

    def test_webhook(self, webhook: str) -> WebhookTrial:
        """Have a ping sent now."""
        return cast("WebhookTrial", self._call("POST", f"{_path(webhook)}/test"))

    def rotate_webhook_secret(self, webhook: str, *, overlap: float | None = None) -> Webhook:
        """A new ``secret``; the old one signs along for ``overlap`` seconds (default: a day)."""
        body = {} if overlap is None else {"overlap": overlap}
        return cast("Webhook", self._call("POST", f"{_path(webhook)}/rotate", json=body))

    def dead_letters(self, webhook: str, *, limit: int = 100, after: int = 0) -> list[DeadLetter]:
        """Events that were given up, oldest first, behind a number."""
        answer = self._call("GET", f"{_path(webhook)}/dead", params={"limit": limit, "after": after})
        return cast("list[DeadLetter]", answer["dead"])

    def redeliver(self, webhook: str, numbers: Sequence[int] | None = None) -> int:
        """Have dead letters delivered after all (without numbers: all); how many."""
        return int(self._call("POST", f"{_path(webhook)}/dead/redeliver", json=_letters(numbers))["redelivered"])

    def drop_dead_letters(self, webhook: str, numbers: Sequence[int] | None = None) -> int:
        """Delete dead letters (without numbers: all); how many."""
        return int(self._call("POST", f"{_path(webhook)}/dead/drop", json=_letters(numbers))["dropped"])


def _path(webhook: str) -> str:
    return f"/webhooks/{encode_segment(webhook)}"


def _letters(numbers: Sequence[int] | None) -> dict[str, Any]:
    return {"all": True} if numbers is None else {"numbers": list(numbers)}
