"""What keeps the outbox of webhooks within bounds, some rows at a time.

Every process tidies. Each step locks the webhook and looks anew at what is beyond the bounds, so that two that tidy at
the same moment take no more than one would.
"""

from sqlalchemy import Connection, Select, bindparam, delete, func, select, update

from cephstorage.index.schema import Schema
from cephstorage.index.webhook_turns import TurnStatements

_AT_ONCE = 1000
_OVERFLOW = "outbox_full"


class TidyingStatements:
    """Steps that end or delete events; each says how many, and 0 when there is nothing left to do."""

    def __init__(self, schema: Schema, turns: TurnStatements) -> None:
        self._turns = turns
        hooks, events = schema.webhooks, schema.webhook_events
        e, newer = events.c, events.alias("newer").c
        whose = e.webhook == bindparam("of_id")
        waiting, dead = e.died_at.is_(None), e.died_at.is_not(None)
        newest_first = select(newer.id).where(newer.webhook == bindparam("of_id")).order_by(newer.id.desc())
        newest_too_many = newest_first.offset(bindparam("most")).limit(1)
        too_many = e.id <= newest_too_many.where(newer.died_at.is_(None)).scalar_subquery()
        too_many_dead = e.id <= newest_too_many.where(newer.died_at.is_not(None)).scalar_subquery()
        counted = select(e.webhook, func.count()).group_by(e.webhook)
        self._waiting_by_hook, self._dead_by_hook = counted.where(waiting), counted.where(dead)
        self._known = select(hooks.c.id)
        self._overflowing = select(e.id, e.bucket, e.key).where(whose, waiting, too_many).order_by(e.id).limit(_AT_ONCE)
        self._dead_beyond = select(e.id).where(whose, dead, too_many_dead).order_by(e.id).limit(_AT_ONCE)
        self._of_hook = select(e.id).where(whose).limit(_AT_ONCE)
        self._old = select(e.id).where(e.died_at < bindparam("before")).limit(_AT_ONCE)
        self._drop_some = delete(events).where(e.id.in_(bindparam("ids", expanding=True)))
        self._add_dropped = (
            update(hooks).where(hooks.c.id == bindparam("of_id")).values(dropped=hooks.c.dropped + bindparam("more"))
        )

    def counts(self, conn: Connection) -> list[tuple[str, bool, int, int]]:
        """Each webhook of an event: whether it is there, how many events wait, and how many are dead."""
        waiting: dict[str, int] = dict(conn.execute(self._waiting_by_hook).all())
        dead: dict[str, int] = dict(conn.execute(self._dead_by_hook).all())
        known = set(conn.scalars(self._known))
        return [(each, each in known, waiting.get(each, 0), dead.get(each, 0)) for each in sorted({*waiting, *dead})]

    def overflow(self, conn: Connection, webhook: str, most: int, now: float) -> int:
        """Make the oldest of more than ``most`` waiting events dead letters."""
        if not self._turns.lock(conn, webhook):
            return 0
        oldest = conn.execute(self._overflowing, {"of_id": webhook, "most": most}).all()
        if oldest:
            self._turns.die(conn, webhook, oldest, _OVERFLOW, now)
        return len(oldest)

    def drop_dead(self, conn: Connection, webhook: str, most: int) -> int:
        """Delete the oldest of more than ``most`` dead letters, counted."""
        if not self._turns.lock(conn, webhook):
            return 0
        dropped = self._drop(conn, self._dead_beyond, of_id=webhook, most=most)
        if dropped:
            conn.execute(self._add_dropped, {"of_id": webhook, "more": dropped})
        return dropped

    def drop_orphans(self, conn: Connection, webhook: str) -> int:
        """Delete events of a webhook that there is no more."""
        return 0 if self._turns.lock(conn, webhook) else self._drop(conn, self._of_hook, of_id=webhook)

    def drop_old(self, conn: Connection, before: float) -> int:
        """Delete dead letters that died before a moment."""
        return self._drop(conn, self._old, before=before)

    def _drop(self, conn: Connection, which: Select[tuple[int]], **values: str | float) -> int:
        ids = list(conn.scalars(which, values))
        if ids:
            conn.execute(self._drop_some, {"ids": ids})
        return len(ids)
