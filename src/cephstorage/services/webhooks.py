"""Webhooks: made, changed, tried, given new secrets; their dead letters.

A secret is drawn here, shown once and kept sealed. Replacing it leaves the old one valid for a while: every
request is signed with both, so that receivers change over when they want to.
"""

import secrets
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from cephstorage.domain.errors import InvalidWebhook, SecretKeyWrong
from cephstorage.domain.names import BucketName, tenant_name
from cephstorage.domain.webhook_delivery import Answer
from cephstorage.domain.webhooks import (
    SIGNATURE_HEADER,
    SUBSCRIBABLE,
    EventType,
    Webhook,
    ping_body,
    signature,
    webhook_events,
    webhook_prefix,
    webhook_url,
)
from cephstorage.ports.webhooks import Backlog, DeadLetter, Headers, WebhookChanges, WebhookSender, WebhookTable
from cephstorage.services.sealing import SealedSettings

log = structlog.get_logger()

OVERLAP = 86400.0
"""Seconds that a replaced secret goes on signing, unless told otherwise."""
LONGEST_OVERLAP = 30 * 86400.0
MOST_LETTERS = 1000
_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class WebhookWish:
    """What a caller wants of a webhook; None leaves a field as it is, or takes its default."""

    url: str | None = None
    events: Sequence[str] | None = None
    prefix: str | None = None
    enabled: bool | None = None

    def changes(self) -> WebhookChanges:
        """The same, checked. Raises InvalidUrl, InvalidWebhook."""
        return WebhookChanges(
            None if self.url is None else webhook_url(self.url),
            None if self.events is None else webhook_events(self.events),
            None if self.prefix is None else webhook_prefix(self.prefix),
            self.enabled,
        )


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a ping. ``took`` is in seconds."""

    event: str
    answer: Answer
    took: float


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A webhook and the secret that is shown this once."""

    webhook: Webhook
    secret: str = field(repr=False)


class WebhookSecrets:
    """Seals and opens what requests are signed with. A secret opens for its own webhook only."""

    def __init__(self, sealed: SealedSettings) -> None:
        self._sealed = sealed

    def draw(self, webhook: str) -> tuple[str, str]:
        """A new secret: as it is shown, and as it is kept."""
        text = f"whsec_{secrets.token_urlsafe(32)}"
        return text, self._sealed.sealed(_name(webhook), text)

    def valid(self, webhook: Webhook, now: float) -> list[str]:
        """The secrets that sign now, the newest first. Raises SecretKeyWrong."""
        return [self._opened(webhook.id, each) for each in webhook.signing(now)]

    def opens(self, webhook: Webhook) -> bool:
        """Whether the newest secret is not lost."""
        try:
            self._opened(webhook.id, webhook.secrets[0])
        except SecretKeyWrong:
            return False
        return True

    def anew(self, webhook: Webhook, now: float) -> tuple[str, ...]:
        """The secrets that sign now, sealed with the first key. Raises SecretKeyWrong."""
        return tuple(
            each
            if self._sealed.is_fresh(each)
            else self._sealed.sealed(_name(webhook.id), self._opened(webhook.id, each))
            for each in webhook.signing(now)
        )

    def _opened(self, webhook: str, kept: str) -> str:
        return self._sealed.opened(_name(webhook), kept)


def _name(webhook: str) -> str:
    return f"webhook {webhook}"


def signed_headers(webhook: str, valid: Sequence[str], event: str, kind: EventType, body: bytes, now: float) -> Headers:
    """The headers of a request: what it is, and who sends it."""
    return (
        ("Content-Type", "application/json"),
        ("CephStorage-Webhook", webhook),
        ("CephStorage-Event", kind.value),
        ("CephStorage-Event-Id", event),
        (SIGNATURE_HEADER, signature(valid, int(now), body)),
    )


class Webhooks:
    """The webhooks of all tenants."""

    def __init__(
        self, table: WebhookTable, keeper: WebhookSecrets, sender: WebhookSender, clock: Callable[[], float]
    ) -> None:
        self._table = table
        self._secrets = keeper
        self._sender = sender
        self._clock = clock
        self.on_work: Callable[[], None] = lambda: None
        """Told when there may be something to deliver."""

    async def seal_anew(self) -> None:
        """Seal every secret with the first key: at a start, after the key was replaced."""
        after = ""
        while page := await self._table.page(after, _AT_ONCE):
            for webhook in page:
                await self._seal_anew(webhook)
            after = page[-1].id

    async def _seal_anew(self, webhook: Webhook) -> None:
        now = self._clock()
        try:
            anew = self._secrets.anew(webhook, now)
        except SecretKeyWrong as error:
            log.error("webhook_secret_lost", webhook=webhook.id, msg=error.msg, advice="cephstorage webhook rotate")
            return
        if anew != webhook.signing(now):
            changes = WebhookChanges(secrets=anew, previous_until=webhook.previous_until)
            await self._table.change(webhook.id, changes, webhook.updated_at)

    async def create(self, username: str, bucketname: str | None, wish: WebhookWish) -> NewSecret:
        """Make a webhook of a bucket, or of all the tenant's.

        Raises InvalidName, InvalidUrl, InvalidWebhook, BucketNotFound.
        """
        bucket = BucketName(username, bucketname) if bucketname is not None else None
        changes = wish.changes()
        if changes.url is None:
            raise InvalidWebhook("url: name the address to which events are sent.")
        name, now = uuid.uuid4().hex, self._clock()
        text, kept = self._secrets.draw(name)
        webhook = Webhook(
            id=name,
            username=tenant_name(username),
            bucket=bucket,
            prefix=changes.prefix or "",
            url=changes.url,
            events=changes.events or SUBSCRIBABLE,
            secrets=(kept,),
            previous_until=None,
            enabled=changes.enabled is not False,
            disabled_by=None,
            created_at=now,
            updated_at=now,
        )
        await self._table.create(webhook)
        return NewSecret(webhook, text)

    async def get(self, webhook: str) -> Webhook:
        """Raises WebhookNotFound."""
        return await self._table.get(webhook)

    async def of_tenant(self, username: str | None, bucketname: str | None = None) -> Sequence[Webhook]:
        """A tenant's webhooks (None: everybody's), or those that are told of a bucket. Raises InvalidName."""
        bucket = BucketName(username, bucketname) if username is not None and bucketname is not None else None
        return await self._table.of_tenant(username, bucket)

    async def change(self, webhook: str, wish: WebhookWish) -> Webhook:
        """Change what the wish names. Raises WebhookNotFound, InvalidUrl, InvalidWebhook."""
        changed = await self._table.change(webhook, wish.changes(), self._clock())
        self.on_work()
        return changed

    async def rotate(self, webhook: str, overlap: float = OVERLAP) -> NewSecret:
        """A new secret; the one before, unless it is lost, signs along for ``overlap`` seconds.

        Raises WebhookNotFound, InvalidWebhook.
        """
        if not 0 <= overlap <= LONGEST_OVERLAP:
            raise InvalidWebhook(f"overlap: 0 to {LONGEST_OVERLAP:.0f} seconds.")
        before, now = await self._table.get(webhook), self._clock()
        text, kept = self._secrets.draw(webhook)
        both = self._secrets.opens(before)
        changes = WebhookChanges(
            secrets=(kept, before.secrets[0]) if both else (kept,), previous_until=now + overlap if both else None
        )
        return NewSecret(await self._table.change(webhook, changes, now), text)

    async def delete(self, webhook: str) -> None:
        """Delete a webhook; what was to be delivered goes with it. Raises WebhookNotFound."""
        await self._table.delete(webhook)

    async def test(self, webhook: str) -> Trial:
        """Send a ping now, past the outbox. Raises WebhookNotFound, SecretKeyWrong."""
        found, now, event = await self._table.get(webhook), self._clock(), uuid.uuid4().hex
        body = ping_body(event, webhook, now).encode()
        headers = signed_headers(webhook, self._secrets.valid(found, now), event, EventType.PING, body, now)
        began = time.monotonic()
        answer = await self._sender.send(found.url, headers, body, now)
        return Trial(event, answer, time.monotonic() - began)

    async def backlog(self, webhook: str) -> Backlog:
        """What waits and what is dead."""
        return await self._table.backlog(webhook)

    async def dead(self, webhook: str, limit: int, after: int) -> Sequence[DeadLetter]:
        """Dead letters, oldest first, behind a number."""
        return await self._table.dead(webhook, min(limit, MOST_LETTERS), after)

    async def redeliver(self, webhook: str, numbers: Sequence[int] | None) -> int:
        """Have dead letters delivered after all; how many. Raises WebhookNotFound."""
        count = await self._table.redeliver(webhook, numbers, self._clock())
        self.on_work()
        return count

    async def drop(self, webhook: str, numbers: Sequence[int] | None) -> int:
        """Delete dead letters; how many. Raises WebhookNotFound."""
        return await self._table.drop(webhook, numbers)
