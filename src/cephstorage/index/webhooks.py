"""Webhooks: their rows, their dead letters, and the events that a change writes for them in its own transaction."""

import json
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import BindParameter, Connection, Row, bindparam, delete, func, insert, null, select, update

from cephstorage.domain.errors import BucketNotFound, InvalidWebhook, WebhookNotFound
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import Record
from cephstorage.domain.transfers import Kind
from cephstorage.domain.webhooks import (
    MOST_OF_TENANT,
    TOLD_KINDS,
    Event,
    EventType,
    Standing,
    Webhook,
    failure_event,
    key_event,
    wants,
)
from cephstorage.index.buckets import BucketStatements
from cephstorage.index.runner import Runner
from cephstorage.index.schema import Schema
from cephstorage.index.tables.columns import TEXT
from cephstorage.ports.webhooks import Backlog, DeadLetter, WebhookChanges

_LISTED = 10_000


class EventStatements:
    """The events that changes write. What a bucket without a webhook costs stands in ``BucketStatements.add_usage``."""

    def __init__(self, schema: Schema) -> None:
        hooks, events = schema.webhooks, schema.webhook_events
        bucket: BindParameter[str] = bindparam("in_bucket", type_=TEXT)
        self._told = select(hooks.c.id, hooks.c.prefix, hooks.c.events).where(
            hooks.c.username == bindparam("of_tenant"),
            hooks.c.bucket.is_(None) | (hooks.c.bucket == bucket),
            hooks.c.enabled == 1,
        )
        self._insert = insert(events)

    def changed(self, conn: Connection, kind: EventType, records: Iterable[Record], now: float) -> None:
        """Versions of one bucket have come or gone."""
        self._queue(conn, [key_event(uuid.uuid4().hex, kind, record, now) for record in records], now)

    def failed(self, conn: Connection, row: Row[Any], code: str, now: float) -> None:
        """A transfer has failed, given as its row."""
        if (kind := Kind(row.kind)) in TOLD_KINDS:
            bucket = BucketName.parse(row.bucket)
            self._queue(conn, [failure_event(uuid.uuid4().hex, bucket, row.key, kind, row.token, code, now)], now)

    def _queue(self, conn: Connection, events: Sequence[Event], now: float) -> None:
        if not events:
            return
        bucket = events[0].bucket
        told = conn.execute(self._told, {"of_tenant": bucket.username, "in_bucket": str(bucket)}).all()
        rows = [
            _new_event(hook.id, event, now)
            for hook in told
            for event in events
            if wants(hook.prefix, json.loads(hook.events), event.kind, event.key)
        ]
        if rows:
            conn.execute(self._insert, rows)


def _new_event(webhook: str, event: Event, now: float) -> dict[str, Any]:
    return {
        "webhook": webhook,
        "bucket": str(event.bucket),
        "key": event.key,
        "event": event.id,
        "type": event.kind.value,
        "body": event.body,
        "created_at": now,
        "due_at": now,
        "attempts": 0,
    }


def webhook_of(row: Row[Any]) -> Webhook:
    """A webhook from a whole row."""
    return Webhook(
        id=row.id,
        username=row.username,
        bucket=None if row.bucket is None else BucketName.parse(row.bucket),
        prefix=row.prefix,
        url=row.url,
        events=tuple(EventType(each) for each in json.loads(row.events)),
        secrets=tuple(json.loads(row.secrets)),
        previous_until=row.previous_until,
        enabled=bool(row.enabled),
        disabled_by=row.disabled_by,
        created_at=row.created_at,
        updated_at=row.updated_at,
        standing=Standing(
            row.delivered,
            row.dropped,
            row.failures,
            row.last_at,
            row.last_status,
            row.last_error,
            row.rest_until,
        ),
    )


class WebhookStatements:
    """Statements over webhooks and their dead letters."""

    def __init__(self, schema: Schema, buckets: BucketStatements) -> None:
        self._buckets = buckets
        hooks, events, tenants = schema.webhooks, schema.webhook_events, schema.tenants
        this = hooks.c.id == bindparam("of_id")
        self._insert = insert(hooks)
        self._one = select(hooks).where(this)
        self._write = update(hooks).where(this)
        self._delete = delete(hooks).where(this)
        self._all = select(hooks).order_by(hooks.c.created_at, hooks.c.id).limit(_LISTED)
        self._page = select(hooks).where(hooks.c.id > bindparam("after")).order_by(hooks.c.id).limit(bindparam("limit"))
        self._hooks, self._events = hooks, events
        self._tenant = select(tenants.c.username).where(tenants.c.username == bindparam("username"))
        self._count = select(func.count()).select_from(hooks).where(hooks.c.username == bindparam("username"))
        mine = events.c.webhook == bindparam("of_hook")
        self._dead = (mine & events.c.died_at.is_not(None)).self_group()
        self._letters = (
            select(events)
            .where(self._dead, events.c.id > bindparam("after"))
            .order_by(events.c.id)
            .limit(bindparam("limit"))
        )
        self._revive = update(events).where(self._dead)

    def create(self, conn: Connection, webhook: Webhook) -> None:
        """See ``WebhookTable.create``."""
        if webhook.bucket is not None:
            self._buckets.require(conn, webhook.bucket)
        elif conn.scalar(self._tenant, {"username": webhook.username}) is None:
            raise BucketNotFound(f"There is no tenant {webhook.username}; it comes with its first bucket.")
        if conn.scalar(self._count, {"username": webhook.username}) >= MOST_OF_TENANT:  # type: ignore[operator]
            raise InvalidWebhook(f"The tenant {webhook.username} has {MOST_OF_TENANT} webhooks; delete one first.")
        conn.execute(self._insert, _row(webhook))

    def get(self, conn: Connection, webhook: str) -> Webhook:
        """See ``WebhookTable.get``."""
        row = conn.execute(self._one, {"of_id": webhook}).first()
        if row is None:
            raise _unknown()
        return webhook_of(row)

    def of_tenant(self, conn: Connection, username: str | None, bucket: BucketName | None) -> list[Webhook]:
        """See ``WebhookTable.of_tenant``."""
        c, asked = self._hooks.c, self._all
        if username is not None:
            asked = asked.where(c.username == username)
        if bucket is not None:
            asked = asked.where(c.bucket.is_(None) | (c.bucket == str(bucket)))
        return [webhook_of(row) for row in conn.execute(asked)]

    def page(self, conn: Connection, after: str, limit: int) -> list[Webhook]:
        """See ``WebhookTable.page``."""
        return [webhook_of(row) for row in conn.execute(self._page, {"after": after, "limit": limit})]

    def change(self, conn: Connection, webhook: str, changes: WebhookChanges, now: float) -> Webhook:
        """See ``WebhookTable.change``. A change of address, or being switched on, is a new beginning."""
        values: dict[str, Any] = {"updated_at": now}
        if changes.url is not None or changes.enabled:
            values |= {"failures": 0, "rest_until": 0.0}
        if changes.url is not None:
            values["url"] = changes.url
        if changes.events is not None:
            values["events"] = _names(changes.events)
        if changes.prefix is not None:
            values["prefix"] = changes.prefix
        if changes.enabled is not None:
            values |= {"enabled": int(changes.enabled), "disabled_by": null()}
        if changes.secrets is not None:
            values |= {"secrets": json.dumps(changes.secrets), "previous_until": changes.previous_until}
        conn.execute(self._write.values(values), {"of_id": webhook})
        return self.get(conn, webhook)

    def delete(self, conn: Connection, webhook: str) -> None:
        """See ``WebhookTable.delete``. Its events go with the next tidying: there may be many."""
        if conn.execute(self._delete, {"of_id": webhook}).rowcount == 0:
            raise _unknown()

    def backlog(self, conn: Connection, webhook: str | None) -> Backlog:
        """See ``WebhookTable.backlog``."""
        c = self._events.c
        alive, dead = select(func.count(), func.min(c.id)).where(c.died_at.is_(None)), c.died_at.is_not(None)
        lost = select(func.count()).where(dead)
        if webhook is not None:
            alive, lost = alive.where(c.webhook == webhook), lost.where(c.webhook == webhook)
        first = alive.subquery()
        since = select(c.created_at).where(c.id == first.c[1]).scalar_subquery()
        row = conn.execute(select(first.c[0], lost.scalar_subquery(), since)).one()
        return Backlog(*row)

    def dead(self, conn: Connection, webhook: str, limit: int, after: int) -> list[DeadLetter]:
        """See ``WebhookTable.dead``."""
        found = conn.execute(self._letters, {"of_hook": webhook, "after": after, "limit": limit})
        return [
            DeadLetter(
                row.id,
                row.event,
                EventType(row.type),
                row.bucket,
                row.key,
                row.attempts,
                row.error,
                row.created_at,
                row.died_at,
                json.loads(row.body),
            )
            for row in found
        ]

    def redeliver(self, conn: Connection, webhook: str, numbers: Sequence[int] | None, now: float) -> int:
        """See ``WebhookTable.redeliver``. The webhook is locked: nobody decides on the order of its events meanwhile."""
        self._lock(conn, webhook)
        again = {"died_at": null(), "error": null(), "due_at": now, "created_at": now, "attempts": 0}
        return conn.execute(self._among(self._revive, numbers).values(again), {"of_hook": webhook}).rowcount

    def drop(self, conn: Connection, webhook: str, numbers: Sequence[int] | None) -> int:
        """See ``WebhookTable.drop``."""
        self._lock(conn, webhook)
        return conn.execute(self._among(delete(self._events).where(self._dead), numbers), {"of_hook": webhook}).rowcount

    def _lock(self, conn: Connection, webhook: str) -> None:
        if conn.execute(self._one.with_for_update(), {"of_id": webhook}).first() is None:
            raise _unknown()

    def _among(self, statement: Any, numbers: Sequence[int] | None) -> Any:
        return statement if numbers is None else statement.where(self._events.c.id.in_(numbers))


def _names(events: Iterable[EventType]) -> str:
    return json.dumps([each.value for each in events])


def _row(webhook: Webhook) -> dict[str, Any]:
    return {
        "id": webhook.id,
        "username": webhook.username,
        "bucket": None if webhook.bucket is None else str(webhook.bucket),
        "prefix": webhook.prefix,
        "url": webhook.url,
        "events": _names(webhook.events),
        "secrets": json.dumps(webhook.secrets),
        "enabled": int(webhook.enabled),
        "created_at": webhook.created_at,
        "updated_at": webhook.updated_at,
        "delivered": 0,
        "dropped": 0,
        "failures": 0,
        "rest_until": 0.0,
        "fence": 0,
        "lease_until": 0.0,
    }


def _unknown() -> WebhookNotFound:
    return WebhookNotFound("No webhook has this id; `cephstorage webhook ls` shows those that there are.")


class SqlWebhookTable:
    """``WebhookTable`` in SQL."""

    def __init__(self, db: Runner, statements: WebhookStatements) -> None:
        self._db = db
        self._sql = statements

    async def create(self, webhook: Webhook) -> None:
        """Insert it. Raises BucketNotFound, InvalidWebhook."""
        await self._db.write(self._sql.create, webhook)

    async def get(self, webhook: str) -> Webhook:
        """Raises WebhookNotFound."""
        return await self._db.read_one(self._sql.get, webhook)

    async def of_tenant(self, username: str | None, bucket: BucketName | None = None) -> Sequence[Webhook]:
        """A tenant's webhooks, oldest first."""
        return await self._db.read_one(self._sql.of_tenant, username, bucket)

    async def page(self, after: str, limit: int) -> Sequence[Webhook]:
        """Everybody's webhooks by id."""
        return await self._db.read_one(self._sql.page, after, limit)

    async def change(self, webhook: str, changes: WebhookChanges, now: float) -> Webhook:
        """Change it. Raises WebhookNotFound."""
        return await self._db.write(self._sql.change, webhook, changes, now)

    async def delete(self, webhook: str) -> None:
        """Delete it with its events. Raises WebhookNotFound."""
        await self._db.write(self._sql.delete, webhook)

    async def backlog(self, webhook: str | None = None) -> Backlog:
        """What waits and what is dead."""
        return await self._db.read_one(self._sql.backlog, webhook)

    async def dead(self, webhook: str, limit: int, after: int = 0) -> Sequence[DeadLetter]:
        """Dead letters, oldest first."""
        return await self._db.read_one(self._sql.dead, webhook, limit, after)

    async def redeliver(self, webhook: str, numbers: Sequence[int] | None, now: float) -> int:
        """Have dead letters delivered after all. Raises WebhookNotFound."""
        return await self._db.write(self._sql.redeliver, webhook, numbers, now)

    async def drop(self, webhook: str, numbers: Sequence[int] | None) -> int:
        """Delete dead letters. Raises WebhookNotFound."""
        return await self._db.write(self._sql.drop, webhook, numbers)
