"""Deletions of many keys, a step at a time: rows, lists, steps.

Nobody owns a deletion. A step locks its row, deletes the next keys and notes how far it came, all in one
transaction; so any process may do the next one, and one that dies takes nothing but its unfinished step with it.
"""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from cephstorage.domain.deletions import Deletion, DeletionWish
from cephstorage.domain.errors import BucketNotFound, JobEnded, JobNotFound, TransferCancelled
from cephstorage.domain.names import BucketName, prefix_end
from cephstorage.domain.transfers import State
from cephstorage.index.buckets import BucketStatements
from cephstorage.index.keys import KeyStatements
from cephstorage.index.runner import Runner
from cephstorage.index.schema import Schema
from cephstorage.index.tables.columns import word
from cephstorage.ports.ledger import DeletionStep

_LISTED = 200
_FORGET_AT_ONCE = 100


class DeletionStatements:
    """Statements over deletions."""

    def __init__(self, schema: Schema, buckets: BucketStatements, keys: KeyStatements) -> None:
        self._buckets, self._keys = buckets, keys
        rows, names, records = schema.deletions, schema.deletion_keys, schema.keys
        c = rows.c
        this = c.id == bindparam("of_id")
        due = (c.state == word(State.INPROGRESS)) & (c.due_at <= bindparam("now"))
        self._insert, self._insert_names = insert(rows), insert(names)
        self._is_due = select(c.id).where(due).limit(1)
        self._next = select(rows).where(due).order_by(c.due_at).limit(1).with_for_update(skip_locked=True)
        self._by_id = select(rows).where(this)
        self._of_bucket = select(rows).where(c.bucket == bindparam("in_bucket")).order_by(c.created_at.desc())
        self._write = update(rows).where(this)
        mine = names.c.deletion == bindparam("of_id")
        self._listed = (
            select(names.c.key)
            .where(mine, names.c.key > bindparam("after"))
            .order_by(names.c.key)
            .limit(bindparam("limit"))
        )
        self._drop_names = delete(names).where(mine)
        self._drop_dealt = delete(names).where(mine, names.c.key <= bindparam("place"))
        self._prefixed = (
            select(records.c.key)
            .where(records.c.bucket == bindparam("in_bucket"), records.c.key >= bindparam("low"))
            .where(records.c.key > bindparam("after"))
            .order_by(records.c.key)
            .limit(bindparam("limit"))
        )
        self._below = records.c.key < bindparam("high")
        old = select(c.id).where(c.ended_at < bindparam("before")).order_by(c.ended_at).limit(_FORGET_AT_ONCE)
        self._forget = delete(rows).where(c.id.in_(old))

    def create(self, conn: Connection, name: str, bucket: BucketName, wish: DeletionWish, now: float) -> Deletion:
        """See ``Deletions.create``. What is published later gets a generation at or above the row's."""
        row = {
            "id": name,
            "bucket": str(bucket),
            "prefix": wish.prefix,
            "below_generation": self._buckets.raise_barrier(conn, bucket),
            "state": State.INPROGRESS.value,
            "place": "",
            "done": 0,
            "missing": 0,
            "total": len(wish.keys) if wish.prefix is None else None,
            "created_at": now,
            "updated_at": now,
            "due_at": now,
        }
        conn.execute(self._insert, row)
        if wish.keys:
            conn.execute(self._insert_names, [{"deletion": name, "key": key} for key in wish.keys])
        return self.get(conn, name)

    def is_due(self, conn: Connection, now: float) -> bool:
        """Whether there is a step to do."""
        return conn.scalar(self._is_due, {"now": now}) is not None

    def step(self, conn: Connection, most: int, pause: float, now: float) -> DeletionStep | None:
        """See ``Deletions.step``."""
        row = conn.execute(self._next, {"now": now}).first()
        if row is None:
            return None
        bucket = BucketName.parse(row.bucket)
        try:
            lifecycle = self._buckets.hold(conn, bucket).lifecycle
        except BucketNotFound:
            self._end(conn, row, now, State.SUCCESS)  # a bucket goes when nothing is in it
            return DeletionStep(self.get(conn, row.id), ())
        names = self._names(conn, row, most)
        meant = [each for each in self._keys.several(conn, bucket, names) if each.generation < row.below_generation]
        self._keys.drop_several(conn, bucket, meant, now, lifecycle=lifecycle)
        values: dict[str, Any] = {"done": row.done + len(meant), "updated_at": now, "due_at": now + pause}
        if row.prefix is None:
            values["missing"] = row.missing + len(names) - len(meant)
        if names:
            values["place"] = names[-1]
            conn.execute(self._drop_dealt, {"of_id": row.id, "place": names[-1]})
        conn.execute(self._write, {"of_id": row.id, **values})
        if len(names) < most:
            self._end(conn, row, now, State.SUCCESS)
        return DeletionStep(self.get(conn, row.id), tuple(each.key for each in meant))

    def _names(self, conn: Connection, row: Row[Any], most: int) -> list[str]:
        """The next keys to deal with."""
        if row.prefix is None:
            return list(conn.scalars(self._listed, {"of_id": row.id, "after": row.place, "limit": most}))
        values = {"in_bucket": row.bucket, "low": row.prefix, "after": row.place, "limit": most}
        end = prefix_end(row.prefix)
        if end is None:
            return list(conn.scalars(self._prefixed, values))
        return list(conn.scalars(self._prefixed.where(self._below), {**values, "high": end}))

    def _end(
        self, conn: Connection, row: Row[Any], now: float, state: State, error: TransferCancelled | None = None
    ) -> None:
        values: dict[str, Any] = {"state": state.value, "updated_at": now, "ended_at": now}
        if error is not None:
            values |= {"error_code": error.code, "error_msg": error.msg}
        conn.execute(self._write, {"of_id": row.id, **values})
        conn.execute(self._drop_names, {"of_id": row.id})

    def cancel(self, conn: Connection, bucket: BucketName, name: str, now: float) -> Deletion:
        """See ``Deletions.cancel``."""
        row = conn.execute(self._by_id.with_for_update(), {"of_id": name}).first()
        if row is None or row.bucket != str(bucket):
            raise _unknown()
        if row.state != State.INPROGRESS:
            raise JobEnded("The deletion has ended; there is nothing to cancel.")
        said = TransferCancelled("The deletion was cancelled; what was deleted stays deleted.")
        self._end(conn, row, now, State.FAIL, said)
        return self.get(conn, name)

    def get(self, conn: Connection, name: str) -> Deletion:
        """See ``Deletions.get``."""
        row = conn.execute(self._by_id, {"of_id": name}).first()
        if row is None:
            raise _unknown()
        return _deletion(row)

    def of_bucket(self, conn: Connection, bucket: BucketName) -> list[Deletion]:
        """See ``Deletions.of_bucket``."""
        return [_deletion(row) for row in conn.execute(self._of_bucket.limit(_LISTED), {"in_bucket": str(bucket)})]

    def forget_ended(self, conn: Connection, before: float) -> int:
        """Delete some that ended before a moment; how many."""
        return conn.execute(self._forget, {"before": before}).rowcount


def _deletion(row: Row[Any]) -> Deletion:
    return Deletion(
        id=row.id,
        bucket=BucketName.parse(row.bucket),
        prefix=row.prefix,
        state=State(row.state),
        done=row.done,
        missing=row.missing,
        total=row.total,
        created_at=row.created_at,
        updated_at=row.updated_at,
        ended_at=row.ended_at,
        error_code=row.error_code,
        error_msg=row.error_msg,
    )


def _unknown() -> JobNotFound:
    return JobNotFound("No deletion has this id, or its record has been cleaned up.")


class SqlDeletions:
    """``Deletions`` in SQL. ``on_deleted`` is told what a step of this process has deleted."""

    def __init__(self, db: Runner, statements: DeletionStatements) -> None:
        self._db = db
        self._sql = statements
        self.on_deleted: Callable[[BucketName, Sequence[str]], None] = lambda *_: None

    async def create(self, name: str, bucket: BucketName, wish: DeletionWish, now: float) -> Deletion:
        """Note a deletion. Raises BucketNotFound."""
        return await self._db.write(self._sql.create, name, bucket, wish, now)

    async def step(self, most: int, pause: float, now: float) -> DeletionStep | None:
        """Delete the next keys; None when nothing is due."""
        if not await self._db.read_one(self._sql.is_due, now):
            return None
        step = await self._db.write(self._sql.step, most, pause, now)
        if step is not None:
            self.on_deleted(step.deletion.bucket, step.keys)
        return step

    async def cancel(self, bucket: BucketName, name: str, now: float) -> Deletion:
        """End a deletion. Raises JobNotFound, JobEnded."""
        return await self._db.write(self._sql.cancel, bucket, name, now)

    async def get(self, name: str) -> Deletion:
        """Raises JobNotFound."""
        return await self._db.read_one(self._sql.get, name)

    async def of_bucket(self, bucket: BucketName) -> Sequence[Deletion]:
        """A bucket's deletions, newest first."""
        return await self._db.read_one(self._sql.of_bucket, bucket)

    async def forget_ended(self, before: float) -> int:
        """Delete old records, some at a time; how many."""
        total = 0
        while count := await self._db.write_relaxed(self._sql.forget_ended, before):
            total += count
        return total
