"""The turns of a webhook's events: those of one key go one after the other.

Whoever decides on the order of a webhook's events has its row locked. So this holds at every commit: an event with
``due_at`` null has an earlier one of its key before it that is neither delivered nor dead. Only ``due`` puts an
event back behind another one, and whatever ends an event calls the next one of its key. New events come due; a
publication locks nothing here.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, exists, func, null, select, update

from cephstorage.domain.webhook_delivery import Fate
from cephstorage.domain.webhooks import EventType
from cephstorage.index.schema import Schema
from cephstorage.ports.webhooks import DueEvent, Result


class TurnStatements:
    """Statements over events that wait."""

    def __init__(self, schema: Schema) -> None:
        hooks, self._events = schema.webhooks, schema.webhook_events
        e, earlier = self._events.c, self._events.alias("earlier").c
        self._lock = select(hooks.c.id).where(hooks.c.id == bindparam("of_id")).with_for_update()
        same_key = (earlier.webhook == e.webhook) & (earlier.bucket == e.bucket) & (earlier.key == e.key)
        before = exists(select(earlier.id).where(same_key, earlier.died_at.is_(None), earlier.id < e.id))
        self._due = (
            select(e.id, e.bucket, e.key, e.event, e.type, e.body, e.attempts, e.created_at, before.label("behind"))
            .where(e.webhook == bindparam("of_id"), e.died_at.is_(None), e.due_at <= bindparam("now"))
            .order_by(e.due_at, e.id)
            .limit(bindparam("limit"))
        )
        this = e.id == bindparam("of_event")
        self._put_back = update(self._events).where(this).values(due_at=null())
        self._key_of = select(e.webhook, e.bucket, e.key).where(this)
        self._delivered = delete(self._events).where(this)
        self._wait = update(self._events).where(this, e.died_at.is_(None))
        self._die = self._wait.values(died_at=bindparam("now"), error=bindparam("why"))
        of_key = (
            (earlier.webhook == bindparam("of_id"))
            & (earlier.bucket == bindparam("in_bucket"))
            & (earlier.key == bindparam("of_key"))
        )
        following = select(func.min(earlier.id)).where(of_key, earlier.died_at.is_(None)).scalar_subquery()
        self._call_next = (
            update(self._events).where(e.id == following, e.due_at.is_(None)).values(due_at=bindparam("now"))
        )

    def lock(self, conn: Connection, webhook: str) -> bool:
        """Have nobody else decide on the order of a webhook's events; False when there is no such webhook."""
        return conn.scalar(self._lock, {"of_id": webhook}) is not None

    def due(self, conn: Connection, webhook: str, now: float, limit: int) -> list[DueEvent]:
        """Events that are due; those behind others are put back. The webhook is locked."""
        found = conn.execute(self._due, {"of_id": webhook, "now": now, "limit": limit})
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
        return events

    def tried(self, conn: Connection, webhook: str, result: Result, now: float) -> None:
        """Note what came of sending an event. The webhook is locked."""
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

    def die(self, conn: Connection, webhook: str, events: Sequence[Row[int, str, str]], why: str, now: float) -> None:
        """Make waiting events, given as number, bucket and key, dead letters. The webhook is locked."""
        conn.execute(self._die, [{"of_event": number, "now": now, "why": why} for number, _, _ in events])
        self._follow(conn, webhook, dict.fromkeys((bucket, key) for _, bucket, key in events), now)

    def _follow(self, conn: Connection, webhook: str, keys: Iterable[tuple[str, str]], now: float) -> None:
        """The next event of each key is due, if it waited for its turn."""
        for bucket, key in keys:
            conn.execute(self._call_next, {"of_id": webhook, "in_bucket": bucket, "of_key": key, "now": now})
