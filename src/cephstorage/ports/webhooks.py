"""Webhooks and the outbox of their events: rows, deliveries, dead letters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cephstorage.domain.names import BucketName
from cephstorage.domain.webhook_delivery import Answer, Verdict, Waiting
from cephstorage.domain.webhooks import EventType, Standing, Webhook

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is to be delivered and what could not be. ``oldest``: epoch seconds since when the first one waits."""

    waiting: int = 0
    dead: int = 0
    oldest: float | None = None


@dataclass(frozen=True, slots=True)
class WebhookChanges:
    """What is to be changed; None leaves it as it is."""

    url: str | None = None
    events: tuple[EventType, ...] | None = None
    prefix: str | None = None
    enabled: bool | None = None
    secrets: tuple[str, ...] | None = None
    previous_until: float | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that was given up. ``number`` names it at its webhook."""

    number: int
    event: str
    kind: EventType
    bucket: str
    key: str
    attempts: int
    error: str | None
    created_at: float
    died_at: float
    body: Mapping[str, Any]


class WebhookTable(Protocol):
    """Who is told of what. A change holds from its commit on, in every process."""

    async def create(self, webhook: Webhook) -> None:
        """Insert it. Raises BucketNotFound (also for a tenant without any), InvalidWebhook when there are too many."""
        ...

    async def get(self, webhook: str) -> Webhook:
        """Raises WebhookNotFound."""
        ...

    async def of_tenant(self, username: str | None, bucket: BucketName | None = None) -> Sequence[Webhook]:
        """A tenant's webhooks (None: everybody's), oldest first; with ``bucket`` those that are told of it."""
        ...

    async def page(self, after: str, limit: int) -> Sequence[Webhook]:
        """Everybody's webhooks in the order of their ids, behind one."""
        ...

    async def change(self, webhook: str, changes: WebhookChanges, now: float) -> Webhook:
        """Change it. Raises WebhookNotFound."""
        ...

    async def delete(self, webhook: str) -> None:
        """Delete it with its events. Raises WebhookNotFound."""
        ...

    async def backlog(self, webhook: str | None = None) -> Backlog:
        """What waits and what is dead, of one webhook or of all."""
        ...

    async def dead(self, webhook: str, limit: int, after: int = 0) -> Sequence[DeadLetter]:
        """Dead letters, oldest first, behind a number."""
        ...

    async def redeliver(self, webhook: str, numbers: Sequence[int] | None, now: float) -> int:
        """Have dead letters (None: all) delivered after all, as if they were new; how many. Raises WebhookNotFound."""
        ...

    async def drop(self, webhook: str, numbers: Sequence[int] | None) -> int:
        """Delete dead letters (None: all); how many. Raises WebhookNotFound."""
        ...


@dataclass(frozen=True, slots=True)
class WebhookLease:
    """Proof that ``owner`` may deliver for a webhook. A higher fence elsewhere makes it void."""

    webhook: str
    owner: str
    fence: int


@dataclass(frozen=True, slots=True)
class DueEvent(Waiting):
    """What is sent of it. ``since``: when it came to be waiting (epoch seconds)."""

    event: str
    kind: EventType
    body: str
    attempts: int
    since: float


@dataclass(frozen=True, slots=True)
class Result:
    """What came of sending an event."""

    id: int
    answer: Answer
    verdict: Verdict


class WebhookOutbox(Protocol):
    """Events to be delivered. One process at a time delivers for a webhook, which keeps the order of a key's events."""

    async def claim(self, owner: str, now: float, until: float) -> tuple[Webhook, WebhookLease] | None:
        """Take the webhook with due events that has been served longest ago."""
        ...

    async def renew(self, leases: Sequence[WebhookLease], until: float) -> Sequence[WebhookLease]:
        """Extend leases; return those that were lost."""
        ...

    async def give_back(self, lease: WebhookLease, now: float, rest: float = 0.0) -> None:
        """Let anybody deliver, after ``rest`` seconds. A lost lease is fine."""
        ...

    async def due(self, lease: WebhookLease, now: float, limit: int) -> tuple[Webhook, Sequence[DueEvent]]:
        """The webhook as it is now, and events that are due, longest due first; those behind others are put back.

        None are due when it is switched off. Raises LeaseLost.
        """
        ...

    async def note(self, lease: WebhookLease, results: Sequence[Result], now: float) -> Standing:
        """Note what came of sending: events go, wait or die; the next one of the key follows. Raises LeaseLost."""
        ...

    async def owners(self) -> Sequence[str]:
        """Everybody who delivers."""
        ...

    async def expire_owner(self, owner: str) -> int:
        """End the leases of an owner that is known to be dead; return how many."""
        ...

    async def tidy(self, most_waiting: int, most_dead: int, before: float, now: float) -> int:
        """Keep the outbox within bounds; how many events became dead letters for it.

        Of more than ``most_waiting`` the oldest become dead letters, of more than ``most_dead`` dead letters the oldest
        go, and so do those that died before ``before``. Events of deleted webhooks go, too.
        """
        ...


class WebhookSender(Protocol):
    """Sends events to receivers. Forbidden addresses are refused; redirects are answers like any other."""

    async def send(self, url: str, headers: Headers, body: bytes, now: float) -> Answer:
        """POST ``body``. Whatever goes wrong is in the answer: nothing is raised. ``now`` is in epoch seconds."""
        ...
