"""Delivery of events to webhooks, by every process that does what no request waits for.

    outbox ──claim──> one webhook ──> due ──> chosen ──┬─> send ──┐
                          ^                            ├─> send ──┼──> judge ──> note ──┐
                          └────────────────────────────┴──────────┴─────────────────────┘
    nothing due, or the receiver is left alone ──> given back

A webhook is delivered by one process at a time. A process that dies between a request and its note leaves the
event where it was: it is sent again, under the same id. Each webhook has its own task and its own few requests,
so that a receiver that is slow or gone is waited for by nobody else.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from cephstorage.domain.errors import CephStorageError, LeaseLost
from cephstorage.domain.webhook_delivery import Fate, RetryRule, chosen, judge, room
from cephstorage.domain.webhooks import Webhook
from cephstorage.ports.webhooks import (
    Backlog,
    DueEvent,
    Result,
    WebhookLease,
    WebhookOutbox,
    WebhookSender,
    WebhookTable,
)
from cephstorage.services.rounds import Rounds
from cephstorage.services.webhooks import WebhookSecrets, signed_headers
from cephstorage.waking import woken

log = structlog.get_logger()

_LEASE = 15.0
_BEAT = 1.0
_TIDY_EVERY = 15.0
_WINDOW = 100
_PARTING = 2.0
"""Seconds that requests under way get when the process stops; what has no answer then is sent again."""
_AGAIN = 30.0
_MOST_DEAD = 10_000


@dataclass(frozen=True, slots=True)
class DeliveryOptions:
    """``concurrency``: requests at a time to a receiver; ``webhooks``: that are served at a time by this process.

    ``outbox``: events of a webhook that may wait; ``retention``: seconds for which dead letters are kept.
    """

    rule: RetryRule
    concurrency: int = 8
    webhooks: int = 256
    outbox: int = 100_000
    retention: float = 30 * 86400.0
    works: bool = True


class WebhookDelivery(Collector):
    """The deliveries of one process. ``dead`` tells which owners were processes of this machine and are gone."""

    def __init__(
        self,
        outbox: WebhookOutbox,
        table: WebhookTable,
        keeper: WebhookSecrets,
        sender: WebhookSender,
        owner: str,
        dead: Callable[[Iterable[str]], Sequence[str]],
        clock: Callable[[], float],
        options: DeliveryOptions,
    ) -> None:
        self._outbox = outbox
        self._table = table
        self._secrets = keeper
        self._sender = sender
        self._owner = owner
        self._dead = dead
        self._clock = clock
        self._options = options
        self._running: dict[WebhookLease, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._next_beat = 0.0
        self._next_tidy = 0.0
        self._fates = dict.fromkeys(Fate, 0)
        self._backlog = Backlog()
        self._any = False

    def start(self) -> None:
        """Begin to deliver, if that is this process's task."""
        if self._options.works:
            self._task = asyncio.create_task(self._for_ever())

    async def inherit(self) -> None:
        """End the leases of processes of this machine that are gone, as long as they are known to have been here."""
        for owner in self._dead(await self._outbox.owners()):
            await self._outbox.expire_owner(owner)

    async def stop(self) -> None:
        """Begin nothing more, wait a moment for answers, and leave the rest to others."""
        self._stopping = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        tasks = list(self._running.values())
        if tasks:
            await asyncio.wait(tasks, timeout=_PARTING)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def wake(self) -> None:
        """Events may have been written by this process. Where there are no webhooks nothing is looked for."""
        if self._any:
            self._wake.set()

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Series without a label for single webhooks: tenants make as many as they like."""
        ended = CounterMetricFamily(
            "cephstorage_webhook_deliveries", "Tries to deliver an event by what came of them", labels=["fate"]
        )
        for fate, count in self._fates.items():
            ended.add_metric([fate.value], count)
        yield ended
        yield GaugeMetricFamily("cephstorage_webhook_waiting", "Events that wait", value=self._backlog.waiting)
        yield GaugeMetricFamily("cephstorage_webhook_dead_letters", "Events given up", value=self._backlog.dead)
        since = self._backlog.oldest
        lag = max(0.0, self._clock() - since) if since is not None else 0.0
        yield GaugeMetricFamily("cephstorage_webhook_lag_seconds", "Age of the oldest event that waits", value=lag)

    async def _for_ever(self) -> None:
        rounds = Rounds("webhooks_not_tended", "webhooks_crashed")
        while True:
            with rounds.guarded():
                await self._round()
            await woken(self._wake, _BEAT)
            self._wake.clear()

    async def _round(self) -> None:
        """Take what nobody holds. Now and then, renew what is held, and keep the outbox within bounds."""
        if time.monotonic() >= self._next_beat:
            self._next_beat = time.monotonic() + _BEAT
            await self._renew()
            await self.inherit()
        while len(self._running) < self._options.webhooks:
            now = self._clock()
            claimed = await self._outbox.claim(self._owner, now, now + _LEASE)
            if claimed is None:
                break
            self._begin(claimed[1])
        if time.monotonic() >= self._next_tidy:
            self._next_tidy = time.monotonic() + _TIDY_EVERY
            await self._tidy()

    async def _renew(self) -> None:
        """Extend the leases that are held, and stop what is done under those that are lost."""
        if self._running:
            for lost in await self._outbox.renew(list(self._running), self._clock() + _LEASE):
                if (task := self._running.get(lost)) is not None:
                    task.cancel()

    def _begin(self, lease: WebhookLease) -> None:
        self._running[lease] = task = asyncio.create_task(self._carry(lease))
        task.add_done_callback(lambda _: self._running.pop(lease, None))

    async def _tidy(self) -> None:
        now = self._clock()
        died = await self._outbox.tidy(self._options.outbox, _MOST_DEAD, now - self._options.retention, now)
        if died:
            self._fates[Fate.DEAD] += died
            log.warning("webhook_outbox_full", dead_letters=died, advice="cephstorage webhook ls")
        self._backlog = await self._table.backlog()
        self._any = bool(await self._table.page("", 1))

    async def _carry(self, lease: WebhookLease) -> None:
        """Deliver for one webhook until nothing is due, then give it back."""
        rest = 0.0
        try:
            await self._deliver(lease)
        except LeaseLost:
            return
        except CephStorageError as error:
            log.warning("webhook_waits", webhook=lease.webhook, code=error.code, msg=error.msg)
            rest = _AGAIN
        except Exception:
            log.exception("webhook_crashed", webhook=lease.webhook)
            rest = _AGAIN
        finally:
            with contextlib.suppress(CephStorageError):
                await asyncio.shield(self._outbox.give_back(lease, self._clock(), rest))

    async def _deliver(self, lease: WebhookLease) -> None:
        under_way: dict[asyncio.Task[Result], DueEvent] = {}
        try:
            while True:
                webhook, due = await self._outbox.due(lease, self._clock(), _WINDOW)
                most = 0 if self._stopping else room(webhook.standing, self._options.concurrency, self._clock())
                valid = self._secrets.valid(webhook, self._clock())
                for event in chosen(due, [each.key for each in under_way.values()], most):
                    under_way[asyncio.create_task(self._send(webhook, valid, event))] = event
                if not under_way and not (most and len(due) == _WINDOW):
                    return
                if under_way:
                    await self._note(webhook, lease, under_way)
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _note(
        self, webhook: Webhook, lease: WebhookLease, under_way: dict["asyncio.Task[Result]", DueEvent]
    ) -> None:
        """Wait for answers, not for long: other keys may have come due; note those that are there."""
        done, _ = await asyncio.wait(under_way, timeout=_BEAT, return_when=asyncio.FIRST_COMPLETED)
        results = [task.result() for task in done]
        if not results:
            return
        await self._outbox.note(lease, results, self._clock())
        for task in done:
            event, verdict = under_way.pop(task), task.result().verdict
            self._fates[verdict.fate] += 1
            if verdict.fate in {Fate.DEAD, Fate.GONE}:
                said = "webhook_gone" if verdict.fate is Fate.GONE else "webhook_event_dead"
                log.warning(said, webhook=webhook.id, event_id=event.event, key=event.key[1], code=verdict.error)

    async def _send(self, webhook: Webhook, valid: Sequence[str], event: DueEvent) -> Result:
        now, body = self._clock(), event.body.encode()
        headers = signed_headers(webhook.id, valid, event.event, event.kind, body, now)
        answer = await self._sender.send(webhook.url, headers, body, now)
        chance = random.random()  # noqa: S311 - it spreads tries over time
        verdict = judge(self._options.rule, answer, event.attempts, event.since, self._clock(), chance)
        return Result(event.id, answer, verdict)
