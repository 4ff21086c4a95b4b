"""The outbox of webhooks: leases, events in their turn, what came of sending them."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, exists, null, select, update

from cephstorage.domain.errors import LeaseLost
from cephstorage.domain.webhook_delivery import Fate, after
from cephstorage.domain.webhooks import Standing, Webhook
from cephstorage.index.runner import Runner
from cephstorage.index.schema import Schema
from cephstorage.index.webhook_tidying import TidyingStatements
from cephstorage.index.webhook_turns import TurnStatements
from cephstorage.index.webhooks import webhook_of
from cephstorage.ports.webhooks import DueEvent, Result, WebhookLease


class OutboxStatements:
    """Statements over events that are to be delivered."""

    def __init__(self, schema: Schema, turns: TurnStatements) -> None:
        self._turns = turns
        hooks, h, e = schema.webhooks, schema.webhooks.c, schema.webhook_events.c
        mine = (h.id == bindparam("of_id")) & (h.owner == bindparam("by_owner")) & (h.fence == bindparam("at_fence"))
        self._mine = select(hooks).where(mine).with_for_update()
        self._write_mine = update(hooks).where(mine)
        self._write = update(hooks).where(h.id == bindparam("of_id"))
        has_due = exists(select(e.id).where(e.webhook == h.id, e.died_at.is_(None), e.due_at <= bindparam("now")))
        claimable = select(h.id).where(
            h.enabled == 1, h.lease_until <= bindparam("now"), h.rest_until <= bindparam("now"), has_due
        )
        self._is_due = claimable.limit(1)
        longest_ago = claimable.order_by(h.lease_until, h.id).limit(1).with_for_update(skip_locked=True, of=hooks)
        self._claim = (
            update(hooks)
            .where(h.id == longest_ago.scalar_subquery())
            .values(owner=bindparam("new_owner"), fence=h.fence + 1, lease_until=bindparam("until"))
            .returning(*h)
        )
        self._owners = select(h.owner).where(h.owner.is_not(None)).distinct()
        self._expire = update(hooks).where(h.owner == bindparam("by_owner")).values(owner=null(), lease_until=0.0)

    def is_due(self, conn: Connection, now: float) -> bool:
        """Whether there is something to claim."""
        return conn.scalar(self._is_due, {"now": now}) is not None

    def claim(self, conn: Connection, owner: str, now: float, until: float) -> tuple[Webhook, WebhookLease] | None:
        """See ``WebhookOutbox.claim``."""
        row = conn.execute(self._claim, {"new_owner": owner, "now": now, "until": until}).first()
        return None if row is None else (webhook_of(row), WebhookLease(row.id, owner, row.fence))

    def renew(self, conn: Connection, leases: Sequence[WebhookLease], until: float) -> list[WebhookLease]:
        """See ``WebhookOutbox.renew``."""
        return [
            lease
            for lease in sorted(leases, key=lambda each: each.webhook)  # all lock in one order
            if conn.execute(self._write_mine, {**_holder(lease), "lease_until": until}).rowcount == 0
        ]

    def give_back(self, conn: Connection, lease: WebhookLease, now: float, rest: float) -> None:
        """See ``WebhookOutbox.give_back``."""
        values: dict[str, Any] = {"owner": None, "lease_until": now}
        conn.execute(self._write_mine, {**_holder(lease), **values, **({"rest_until": now + rest} if rest else {})})

    def _held(self, conn: Connection, lease: WebhookLease) -> Row[Any]:
        row = conn.execute(self._mine, _holder(lease)).first()
        if row is None:
            raise LeaseLost(f"The webhook {lease.webhook} is no longer {lease.owner}'s, or is gone.")
        return row

    def due(self, conn: Connection, lease: WebhookLease, now: float, limit: int) -> tuple[Webhook, list[DueEvent]]:
        """See ``WebhookOutbox.due``."""
        hook = webhook_of(self._held(conn, lease))
        return hook, self._turns.due(conn, hook.id, now, limit) if hook.enabled else []

    def note(self, conn: Connection, lease: WebhookLease, results: Sequence[Result], now: float) -> Standing:
        """See ``WebhookOutbox.note``."""
        standing = webhook_of(self._held(conn, lease)).standing
        gone = None
        for result in results:
            standing = after(standing, result.answer, now)
            self._turns.tried(conn, lease.webhook, result, now)
            gone = result.verdict.error if result.verdict.fate is Fate.GONE else gone
        values: dict[str, Any] = {
            name: getattr(standing, name)
            for name in ("delivered", "failures", "last_at", "last_status", "last_error", "rest_until")
        }
        if gone is not None:
            values |= {"enabled": 0, "disabled_by": gone, "updated_at": now}
        conn.execute(self._write, {"of_id": lease.webhook, **values})
        return standing

    def owners(self, conn: Connection) -> list[str]:
        """See ``WebhookOutbox.owners``."""
        return list(conn.scalars(self._owners))

    def expire_owner(self, conn: Connection, owner: str) -> int:
        """See ``WebhookOutbox.expire_owner``."""
        return conn.execute(self._expire, {"by_owner": owner}).rowcount


def _holder(lease: WebhookLease) -> dict[str, Any]:
    return {"of_id": lease.webhook, "by_owner": lease.owner, "at_fence": lease.fence}


class SqlWebhookOutbox:
    """``WebhookOutbox`` in SQL. All of it is relaxed: what a power failure takes back is sent again."""

    def __init__(self, db: Runner, statements: OutboxStatements, tidying: TidyingStatements) -> None:
        self._db = db
        self._sql = statements
        self._tidying = tidying

    async def claim(self, owner: str, now: float, until: float) -> tuple[Webhook, WebhookLease] | None:
        """Take the webhook with due events that has been served longest ago."""
        if not await self._db.read_one(self._sql.is_due, now):
            return None
        return await self._db.write_relaxed(self._sql.claim, owner, now, until)

    async def renew(self, leases: Sequence[WebhookLease], until: float) -> Sequence[WebhookLease]:
        """Extend leases; return those that were lost."""
        return await self._db.write_relaxed(self._sql.renew, leases, until)

    async def give_back(self, lease: WebhookLease, now: float, rest: float = 0.0) -> None:
        """Let anybody deliver."""
        await self._db.write_relaxed(self._sql.give_back, lease, now, rest)

    async def due(self, lease: WebhookLease, now: float, limit: int) -> tuple[Webhook, Sequence[DueEvent]]:
        """Events that are due. Raises LeaseLost."""
        return await self._db.write_relaxed(self._sql.due, lease, now, limit)

    async def note(self, lease: WebhookLease, results: Sequence[Result], now: float) -> Standing:
        """Note what came of sending. Raises LeaseLost."""
        return await self._db.write_relaxed(self._sql.note, lease, results, now)

    async def owners(self) -> Sequence[str]:
        """Everybody who delivers."""
        return await self._db.read_one(self._sql.owners)

    async def expire_owner(self, owner: str) -> int:
        """End the leases of a dead owner."""
        return await self._db.write_relaxed(self._sql.expire_owner, owner)

    async def tidy(self, most_waiting: int, most_dead: int, before: float, now: float) -> int:
        """Keep the outbox within bounds, some rows at a time so that no other write waits long."""
        died = 0
        for webhook, known, waiting, dead in await self._db.read(self._tidying.counts):
            if not known:
                await self._all(self._tidying.drop_orphans, webhook)
                continue
            more = await self._all(self._tidying.overflow, webhook, most_waiting, now) if waiting > most_waiting else 0
            if dead + more > most_dead:
                await self._all(self._tidying.drop_dead, webhook, most_dead)
            died += more
        await self._all(self._tidying.drop_old, before)
        return died

    async def _all(self, step: Callable[..., int], *values: Any) -> int:
        """Take steps until one finds nothing to do; how many rows they dealt with."""
        total = 0
        while count := await self._db.write_relaxed(step, *values):
            total += count
        return total
