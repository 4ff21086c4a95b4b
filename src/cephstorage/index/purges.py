"""The outbox of purges: keys whose bytes an edge may still have, written with the change that made them old.

A row exists from the transaction that replaced or deleted the version, so that no crash forgets it. Only
a bucket that some mirror uses gets rows: nothing else is in the edges' caches under its own address.
"""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Double, Row, bindparam, delete, exists, func, insert, select, update
from sqlalchemy.sql.elements import ColumnElement

from cephstorage.domain.names import BucketName
from cephstorage.domain.purging import GRACE
from cephstorage.index.runner import Runner
from cephstorage.index.schema import Schema
from cephstorage.index.tables.columns import TEXT, WHOLE
from cephstorage.ports.purges import Purge


class PurgeStatements:
    """Statements over the outbox."""

    def __init__(self, schema: Schema) -> None:
        purges, mirrors = schema.purges, schema.mirrors
        self._add = insert(purges)
        mirrored = exists(select(mirrors.c.host).where(mirrors.c.bucket == bindparam("bucket", type_=TEXT)))
        names: dict[str, Any] = {"bucket": TEXT, "key": TEXT, "size": WHOLE, "created_at": Double, "not_before": Double}
        values: list[ColumnElement[Any]] = [bindparam(name, type_=kind).label(name) for name, kind in names.items()]
        more = (bindparam("attempts", 0, type_=WHOLE).label("attempts"), bindparam("job", type_=TEXT).label("job"))
        self._queue = insert(purges).from_select([*names, "attempts", "job"], select(*values, *more).where(mirrored))
        self._mirrored = select(mirrored)
        columns = [purges.c[name] for name in ("id", "bucket", "key", "size", "created_at", "attempts", "remaining")]
        this = purges.c.id == bindparam("of_id")
        self._due = (
            select(*columns)
            .where(purges.c.not_before <= bindparam("now"))
            .order_by(purges.c.not_before, purges.c.id)
            .limit(bindparam("limit"))
        )
        of_key = (purges.c.bucket == bindparam("in_bucket")) & (purges.c.key == bindparam("of_key"))
        self._of_key = select(*columns).where(of_key).order_by(purges.c.id)
        of_job = purges.c.job == bindparam("of_job")
        untold = select(*columns).where(of_job, purges.c.remaining.is_(None))
        self._untold = untold.order_by(purges.c.id).limit(bindparam("limit"))
        self._owed = select(purges.c.remaining, func.count()).where(of_job).group_by(purges.c.remaining)
        self._again = (
            update(purges)
            .where(this)
            .values(not_before=bindparam("at"), remaining=bindparam("left", type_=TEXT), attempts=purges.c.attempts + 1)
        )
        self._done = delete(purges).where(this)

    def queue(
        self, conn: Connection, bucket: BucketName, key: str, size: int, now: float, job: str | None = None
    ) -> None:
        """Have a version of ``size`` bytes forgotten by the edges, if a mirror uses the bucket."""
        conn.execute(self._queue, {**_new(bucket, key, size, now), "job": job})

    def queue_several(
        self,
        conn: Connection,
        bucket: BucketName,
        versions: Sequence[tuple[str, int]],
        now: float,
        job: str | None = None,
    ) -> None:
        """The same for several versions, given as key and size."""
        if conn.scalar(self._mirrored, {"bucket": str(bucket)}):
            rows = [{**_new(bucket, key, size, now), "attempts": 0, "job": job} for key, size in versions]
            conn.execute(self._add, rows)

    def add(
        self, conn: Connection, bucket: BucketName, key: str, size: int, now: float, job: str | None = None
    ) -> None:
        """See ``PurgeOutbox.add``."""
        conn.execute(self._add, {**_new(bucket, key, size, now), "attempts": 0, "job": job})

    def due(self, conn: Connection, now: float, limit: int) -> list[Purge]:
        """See ``PurgeOutbox.due``."""
        return [_purge(row) for row in conn.execute(self._due, {"now": now, "limit": limit})]

    def of_key(self, conn: Connection, bucket: BucketName, key: str) -> list[Purge]:
        """See ``PurgeOutbox.of_key``."""
        return [_purge(row) for row in conn.execute(self._of_key, {"in_bucket": str(bucket), "of_key": key})]

    def untold(self, conn: Connection, job: str, limit: int) -> list[Purge]:
        """See ``PurgeOutbox.untold``."""
        return [_purge(row) for row in conn.execute(self._untold, {"of_job": job, "limit": limit})]

    def owed(self, conn: Connection, job: str) -> list[tuple[tuple[str, ...] | None, int]]:
        """See ``PurgeOutbox.owed``."""
        found = conn.execute(self._owed, {"of_job": job})
        return [(None if remaining is None else tuple(json.loads(remaining)), count) for remaining, count in found]

    def again(self, conn: Connection, purge: Purge, not_before: float, remaining: Sequence[str]) -> None:
        """See ``PurgeOutbox.again``."""
        conn.execute(self._again, {"of_id": purge.id, "at": not_before, "left": json.dumps(list(remaining))})

    def done(self, conn: Connection, ids: Sequence[int]) -> None:
        """See ``PurgeOutbox.done``."""
        if ids:
            conn.execute(self._done, [{"of_id": number} for number in ids])


def _new(bucket: BucketName, key: str, size: int, now: float) -> dict[str, Any]:
    return {"bucket": str(bucket), "key": key, "size": size, "created_at": now, "not_before": now + GRACE}


def _purge(row: Row[Any]) -> Purge:
    remaining = None if row.remaining is None else tuple(json.loads(row.remaining))
    return Purge(row.id, BucketName.parse(row.bucket), row.key, row.size, row.created_at, row.attempts, remaining)


class SqlPurgeOutbox:
    """``PurgeOutbox`` in SQL."""

    def __init__(self, db: Runner, statements: PurgeStatements) -> None:
        self._db = db
        self._sql = statements

    async def add(self, bucket: BucketName, key: str, size: int, now: float) -> None:
        """Have the edges forget a key although nothing changed."""
        await self._db.write(self._sql.add, bucket, key, size, now)

    async def due(self, now: float, limit: int) -> Sequence[Purge]:
        """Rows whose time has come, longest due first."""
        return await self._db.read_one(self._sql.due, now, limit)

    async def of_key(self, bucket: BucketName, key: str) -> Sequence[Purge]:
        """The rows of one key, oldest first."""
        return await self._db.read_one(self._sql.of_key, bucket, key)

    async def untold(self, job: str, limit: int) -> Sequence[Purge]:
        """Rows of a job that no edge has been told of."""
        return await self._db.read_one(self._sql.untold, job, limit)

    async def owed(self, job: str) -> Sequence[tuple[tuple[str, ...] | None, int]]:
        """How many rows of a job owe which edges."""
        return await self._db.read_one(self._sql.owed, job)

    async def again(self, purge: Purge, not_before: float, remaining: Sequence[str]) -> None:
        """Come back to a row. Relaxed: telling an edge once more is harmless."""
        await self._db.write_relaxed(self._sql.again, purge, not_before, remaining)

    async def done(self, ids: Sequence[int]) -> None:
        """Drop rows. Relaxed, like ``again``."""
        await self._db.write_relaxed(self._sql.done, ids)
