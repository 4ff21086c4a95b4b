"""The outbox of webhooks: leases, events in their turn, what came of sending them.

Whoever decides on the order of a webhook's events has its row locked. So this holds at every commit: an event with
``due_at`` null has an earlier one of its key before it that is neither delivered nor dead. Only ``due`` puts an
event back behind another one, and whatever ends an event calls the next one of its key. New events come due; a
publication locks nothing here.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, exists, func, null, select, update

from cephstorage.domain.errors import LeaseLost
from cephstorage.domain.webhook_delivery import Fate, after
from cephstorage.domain.webhooks import EventType, Standing, Webhook
from cephstorage.index.runner import Runner
from cephstorage.index.schema import Schema
from cephstorage.index.webhooks import webhook_of
from cephstorage.ports.webhooks import DueEvent, Result, WebhookLease

_AT_ONCE = 1000
_OVERFLOW = "outbox_full"


class OutboxStatements:
    """Statements over events that are to be delivered."""

    def __init__(self, schema: Schema) -> None:
        self._hooks, self._events = hooks, events = schema.webhooks, schema.webhook_events
        h, e = hooks.c, events.c
        mine = (h.id == bindparam("of_id")) & (h.owner == bindparam("by_owner")) & (h.fence == bindparam("at_fence"))
        self._mine = select(hooks).where(mine).with_for_update()
        self._write_mine = update(hooks).where(mine)
        self._write = update(hooks).where(h.id == bindparam("of_id"))
        self._any = select(h.id).where(h.id == bindparam("of_id")).with_for_update()
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
        earlier = events.alias("earlier")
        before = exists(
            select(earlier.c.id).where(
                earlier.c.webhook == e.webhook,
                earlier.c.bucket == e.bucket,
                earlier.c.key == e.key,
                earlier.c.died_at.is_(None),
                earlier.c.id < e.id,
            )
        )
        self._due = (
            select(e.id, e.bucket, e.key, e.event, e.type, e.body, e.attempts, e.created_at, before.label("behind"))
            .where(e.webhook == bindparam("of_id"), e.died_at.is_(None), e.due_at <= bindparam("now"))
            .order_by(e.due_at, e.id)
            .limit(bindparam("limit"))
        )
        this = e.id == bindparam("of_event")
        self._put_back = update(events).where(this).values(due_at=null())
        self._key_of = select(e.webhook, e.bucket, e.key).where(this)
        self._delivered = delete(events).where(this)
        self._wait = update(events).where(this, e.died_at.is_(None))
        of_key = (
            (earlier.c.webhook == bindparam("of_id"))
            & (earlier.c.bucket == bindparam("in_bucket"))
            & (earlier.c.key == bindparam("of_key"))
            & earlier.c.died_at.is_(None)
        )
        following = select(func.min(earlier.c.id)).where(of_key).scalar_subquery()
        self._call_next = update(events).where(e.id == following, e.due_at.is_(None)).values(due_at=bindparam("now"))
        counted = select(e.webhook, func.count()).group_by(e.webhook)
        self._alive_by_hook, self._dead_by_hook = (
            counted.where(e.died_at.is_(None)),
            counted.where(e.died_at.is_not(None)),
        )
        self._known = select(h.id)
        whose = e.webhook == bindparam("of_id")
        self._oldest_alive = (
            select(e.id, e.bucket, e.key).where(whose, e.died_at.is_(None)).order_by(e.id).limit(bindparam("limit"))
        )
        self._oldest_dead = select(e.id).where(whose, e.died_at.is_not(None)).order_by(e.id).limit(bindparam("limit"))
        self._of_hook = select(e.id).where(whose).limit(bindparam("limit"))
        self._old = select(e.id).where(e.died_at < bindparam("before")).limit(bindparam("limit"))
        self._drop_some = delete(events).where(e.id.in_(bindparam("ids", expanding=True)))
        self._add_dropped = self._write.values(dropped=h.dropped + bindparam("more"))

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
        if not hook.enabled:
            return hook, []
        found = conn.execute(self._due, {"of_id": lease.webhook, "now": now, "limit": limit})
        events = [
            DueEvent(
                row.id,
                (row.bucket, row.key),
                bool(row.behind),
                row.event,
                EventType(row.type),
                row.body,
                row.attempts,
                row.created_at,
            )
            for row in found
        ]
        if behind := [{"of_event": each.id} for each in events if each.behind]:
            conn.execute(self._put_back, behind)
        return hook, events

    def note(self, conn: Connection, lease: WebhookLease, results: Sequence[Result], now: float) -> Standing:
        """See ``WebhookOutbox.note``."""
        standing = webhook_of(self._held(conn, lease)).standing
        gone = None
        for result in results:
            standing = after(standing, result.answer, now)
            self._apply(conn, lease.webhook, result, now)
            gone = result.verdict.error if result.verdict.fate is Fate.GONE else gone
        values: dict[str, Any] = {
            name: getattr(standing, name)
            for name in ("delivered", "failures", "last_at", "last_status", "last_error", "rest_until")
        }
        if gone is not None:
            values |= {"enabled": 0, "disabled_by": gone, "updated_at": now}
        conn.execute(self._write, {"of_id": lease.webhook, **values})
        return standing

    def _apply(self, conn: Connection, webhook: str, result: Result, now: float) -> None:
        row, verdict = conn.execute(self._key_of, {"of_event": result.id}).first(), result.verdict
        if row is None or row.webhook != webhook:
            return
        if verdict.fate is Fate.DELIVERED:
            conn.execute(self._delivered, {"of_event": result.id})
        else:
            values: dict[str, Any] = {"attempts": self._events.c.attempts + 1, "error": verdict.error}
            values |= {"died_at": now} if verdict.fate is Fate.DEAD else {"due_at": verdict.due_at}
            conn.execute(self._wait.values(values), {"of_event": result.id})
        if verdict.fate in {Fate.DELIVERED, Fate.DEAD}:
            self._follow(conn, webhook, [(row.bucket, row.key)], now)

    def _follow(self, conn: Connection, webhook: str, keys: Iterable[tuple[str, str]], now: float) -> None:
        """The next event of each key is due, if it waited for its turn."""
        for bucket, key in keys:
            conn.execute(self._call_next, {"of_id": webhook, "in_bucket": bucket, "of_key": key, "now": now})

    def owners(self, conn: Connection) -> list[str]:
        """See ``WebhookOutbox.owners``."""
        return list(conn.scalars(self._owners))

    def expire_owner(self, conn: Connection, owner: str) -> int:
        """See ``WebhookOutbox.expire_owner``."""
        return conn.execute(self._expire, {"by_owner": owner}).rowcount

    def counts(self, conn: Connection) -> list[tuple[str, bool, int, int]]:
        """Each webhook of an event: whether it is there, how many events wait, and how many are dead."""
        alive: dict[str, int] = dict(conn.execute(self._alive_by_hook).all())
        dead: dict[str, int] = dict(conn.execute(self._dead_by_hook).all())
        known = set(conn.scalars(self._known))
        return [(each, each in known, alive.get(each, 0), dead.get(each, 0)) for each in sorted({*alive, *dead})]

    def overflow(self, conn: Connection, count: int, webhook: str, now: float) -> int:
        """Make the oldest waiting events dead letters; how many."""
        if conn.scalar(self._any, {"of_id": webhook}) is None:
            return 0
        oldest = conn.execute(self._oldest_alive, {"of_id": webhook, "limit": count}).all()
        if oldest:
            died = self._wait.values(died_at=bindparam("moment"), error=bindparam("why"))
            conn.execute(died, [{"of_event": row.id, "moment": now, "why": _OVERFLOW} for row in oldest])
            self._follow(conn, webhook, dict.fromkeys((row.bucket, row.key) for row in oldest), now)
        return len(oldest)

    def drop_dead(self, conn: Connection, count: int, webhook: str) -> int:
        """Delete the oldest dead letters of a webhook, counted; how many."""
        ids = list(conn.scalars(self._oldest_dead, {"of_id": webhook, "limit": count}))
        if ids:
            conn.execute(self._drop_some, {"ids": ids})
            conn.execute(self._add_dropped, {"of_id": webhook, "more": len(ids)})
        return len(ids)

    def drop_orphans(self, conn: Connection, count: int, webhook: str) -> int:
        """Delete events of a webhook that there is no more; how many."""
        if conn.scalar(self._any, {"of_id": webhook}) is not None:
            return 0
        ids = list(conn.scalars(self._of_hook, {"of_id": webhook, "limit": count}))
        if ids:
            conn.execute(self._drop_some, {"ids": ids})
        return len(ids)

    def drop_old(self, conn: Connection, count: int, before: float) -> int:
        """Delete dead letters that died before a moment; how many."""
        ids = list(conn.scalars(self._old, {"before": before, "limit": count}))
        if ids:
            conn.execute(self._drop_some, {"ids": ids})
        return len(ids)


def _holder(lease: WebhookLease) -> dict[str, Any]:
    return {"of_id": lease.webhook, "by_owner": lease.owner, "at_fence": lease.fence}


class SqlWebhookOutbox:
    """``WebhookOutbox`` in SQL. All of it is relaxed: what a power failure takes back is sent again."""

    def __init__(self, db: Runner, statements: OutboxStatements) -> None:
        self._db = db
        self._sql = statements

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
        overflowed = 0
        for webhook, known, waiting, dead in await self._db.read(self._sql.counts):
            if not known:
                await self._while(sys.maxsize, self._sql.drop_orphans, webhook)
                continue
            died = await self._while(waiting - most_waiting, self._sql.overflow, webhook, now)
            await self._while(dead + died - most_dead, self._sql.drop_dead, webhook)
            overflowed += died
        await self._while(sys.maxsize, self._sql.drop_old, before)
        return overflowed

    async def _while(self, count: int, step: Callable[..., int], *values: Any) -> int:
        """Take steps until ``count`` rows are done with, or there are no more; how many."""
        done = 0
        while done < count and (did := await self._db.write_relaxed(step, min(count - done, _AT_ONCE), *values)):
            done += did
        return done
