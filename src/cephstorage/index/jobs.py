"""Jobs over mirrors: their rows, the lists they work off, and their steps.

A step changes copies and notes what it has done in one transaction. Whoever changes a job's row shows the
owner and fence of his lease; the row is locked first, then the bucket's, so that steps and landings do not wait
for each other in a circle.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from cephstorage.domain.errors import CephStorageError, JobEnded, JobNotFound, LeaseLost, TransferCancelled
from cephstorage.domain.jobs import (
    MOST_ERRORS,
    Item,
    ItemError,
    ItemKind,
    Job,
    JobKind,
    JobRequest,
    QueuedItem,
    Step,
    added,
)
from cephstorage.domain.names import BucketName
from cephstorage.domain.serialise import from_json, to_json
from cephstorage.domain.transfers import State
from cephstorage.index.buckets import BucketStatements
from cephstorage.index.keys import KeyStatements
from cephstorage.index.leases import text
from cephstorage.index.purges import PurgeStatements
from cephstorage.index.runner import Runner
from cephstorage.index.schema import Schema
from cephstorage.index.tables.columns import word
from cephstorage.ports.jobs import JobLease

_IN_COLUMNS = frozenset({"kind", "mirror", "bucket"})
_LISTED = 200
_FORGET_AT_ONCE = 100


class JobStatements:
    """Statements over jobs and their items."""

    def __init__(self, schema: Schema, buckets: BucketStatements, keys: KeyStatements, purges: PurgeStatements) -> None:
        self._buckets, self._keys, self._purges = buckets, keys, purges
        jobs, items = schema.jobs, schema.job_items
        c = jobs.c
        running = c.state == word(State.INPROGRESS)
        self._insert = insert(jobs)
        self._insert_items = insert(items)
        self._by_id = select(jobs).where(c.id == bindparam("of_id"))
        self._of_mirror = (
            select(jobs).where(c.mirror == bindparam("of_mirror")).order_by(c.created_at.desc()).limit(_LISTED)
        )
        mine = (
            (c.id == bindparam("of_id"))
            & (c.owner == bindparam("by_owner"))
            & (c.fence == bindparam("at_fence"))
            & running
        )
        self._mine = select(jobs).where(mine).with_for_update()
        self._write_mine = update(jobs).where(mine)
        self._write = update(jobs).where(c.id == bindparam("of_id"))
        next_due = (
            select(c.id)
            .where(running, c.due_at <= bindparam("now"))
            .order_by(c.due_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        self._claim = (
            update(jobs)
            .where(c.id == next_due.scalar_subquery())
            .values(
                owner=bindparam("new_owner"),
                fence=c.fence + 1,
                due_at=bindparam("until"),
                updated_at=bindparam("now"),
            )
            .returning(*c)
        )
        self._owners = select(c.owner).where(running, c.owner.is_not(None)).distinct()
        self._expire = (
            update(jobs).where(running, c.owner == bindparam("by_owner")).values(owner=None, due_at=bindparam("now"))
        )
        self._items = (
            select(items.c.number, items.c.kind, items.c.target, items.c.depth)
            .where(items.c.job == bindparam("of_job"), items.c.number > bindparam("after"))
            .order_by(items.c.number)
            .limit(bindparam("limit"))
        )
        self._drop_item = delete(items).where(
            items.c.job == bindparam("of_job"), items.c.number == bindparam("of_number")
        )
        self._drop_items = delete(items).where(items.c.job == bindparam("of_job"))
        old = select(c.id).where(c.ended_at < bindparam("before")).order_by(c.ended_at).limit(bindparam("limit"))
        self._forget = delete(jobs).where(c.id.in_(old))

    def create(self, conn: Connection, job: Job, items: Sequence[Item], until: float) -> None:
        """See ``JobTable.create``."""
        self._buckets.require(conn, job.request.bucket)
        conn.execute(
            self._insert,
            {
                "id": job.id,
                "kind": job.request.kind.value,
                "mirror": job.request.mirror,
                "bucket": str(job.request.bucket),
                "request": to_json(job.request, without=_IN_COLUMNS),
                "state": job.state.value,
                "created_at": job.created_at,
                "updated_at": job.created_at,
                "counts": json.dumps({**job.counts, **({"total": len(items)} if items else {})}),
                "errors": "[]",
                "owner": job.owner,
                "fence": job.fence,
                "due_at": until,
            },
        )
        self._add_items(conn, job.id, items, 0)

    def _add_items(self, conn: Connection, job: str, items: Sequence[Item], after: int) -> None:
        if items:
            rows = [
                {"job": job, "number": number, "kind": item.kind.value, "target": item.target, "depth": item.depth}
                for number, item in enumerate(items, start=after + 1)
            ]
            conn.execute(self._insert_items, rows)

    def claim(self, conn: Connection, owner: str, now: float, until: float) -> Job | None:
        """See ``JobTable.claim``."""
        row = conn.execute(self._claim, {"new_owner": owner, "now": now, "until": until}).first()
        return None if row is None else _job(row)

    def renew(self, conn: Connection, leases: Sequence[JobLease], now: float, until: float) -> list[JobLease]:
        """See ``JobTable.renew``."""
        until_then = {"updated_at": now, "due_at": until}
        return [
            lease
            for lease in sorted(leases, key=lambda each: each.job)
            if conn.execute(self._write_mine, {**_holder(lease), **until_then}).rowcount == 0
        ]

    def step(self, conn: Connection, lease: JobLease, step: Step, now: float) -> Job:
        """See ``JobTable.step``."""
        job = self._held(conn, lease)
        counts = added(job.counts, step.counts)
        if step.removed or step.marked or step.forgotten:
            counts = added(counts, self._change(conn, job, step, now))
        if step.done:
            conn.execute(self._drop_item, [{"of_job": job.id, "of_number": number} for number in step.done])
        if step.found:
            counts = self._found(conn, job, step.found, counts)
        errors = (*job.errors, *step.errors)[:MOST_ERRORS]
        values = {"place": step.place, "counts": json.dumps(counts), "updated_at": now, "errors": _errors_json(errors)}
        conn.execute(self._write, {"of_id": job.id, **values})
        return _job(conn.execute(self._by_id, {"of_id": job.id}).one())

    def _change(self, conn: Connection, job: Job, step: Step, now: float) -> Mapping[str, int]:
        """Remove, mark, and have edges forget; what came of it."""
        bucket = job.request.bucket
        self._buckets.write(conn, bucket)
        removed = self._keys.withdraw(conn, bucket, step.removed, now, job.id)
        marked = [each for each in step.marked if self._keys.invalidate(conn, each, now, job.id)]
        for each in step.forgotten:
            self._purges.add(conn, bucket, each.key, each.size, now, job.id)
        counts = {
            "removed": len(removed),
            "marked": len(marked),
            "forgotten": len(step.forgotten),
            "bytes": sum(each.size for each in removed),
        }
        return {name: count for name, count in counts.items() if count}

    def _found(self, conn: Connection, job: Job, found: Sequence[Item], counts: dict[str, int]) -> dict[str, int]:
        """Put new items on the list, as many as it may have."""
        total = counts.get("total", 0)
        taken = found[: max(0, job.request.most - total)]
        self._add_items(conn, job.id, taken, total)
        dropped = {"dropped": len(found) - len(taken)} if len(found) > len(taken) else {}
        return added(counts, {"total": len(taken), **dropped})

    def finish(self, conn: Connection, lease: JobLease, now: float, error: CephStorageError | None) -> None:
        """See ``JobTable.finish``."""
        self._held(conn, lease)
        self._end(conn, lease.job, now, error)

    def _end(self, conn: Connection, job: str, now: float, error: CephStorageError | None) -> None:
        values: dict[str, Any] = {"state": (State.FAIL if error is not None else State.SUCCESS).value}
        values |= {"owner": None, "updated_at": now, "ended_at": now}
        if error is not None:
            values |= {"error_code": error.code, "error_msg": text(error.msg)}
        conn.execute(self._write, {"of_id": job, **values})
        conn.execute(self._drop_items, {"of_job": job})

    def put_off(self, conn: Connection, lease: JobLease, now: float, until: float) -> None:
        """See ``JobTable.put_off``."""
        values = {"owner": None, "updated_at": now, "due_at": until}
        conn.execute(self._write_mine, {**_holder(lease), **values})

    def cancel(self, conn: Connection, job: str, now: float) -> Job:
        """See ``JobTable.cancel``."""
        row = conn.execute(self._by_id.with_for_update(), {"of_id": job}).first()
        if row is None:
            raise _unknown()
        if row.state != State.INPROGRESS:
            raise JobEnded("The job has ended; there is nothing to cancel.")
        self._end(conn, job, now, TransferCancelled("The job was cancelled; what it had done stays done."))
        return self.get(conn, job)

    def get(self, conn: Connection, job: str) -> Job:
        """See ``JobTable.get``."""
        row = conn.execute(self._by_id, {"of_id": job}).first()
        if row is None:
            raise _unknown()
        return _job(row)

    def of_mirror(self, conn: Connection, host: str) -> list[Job]:
        """See ``JobTable.of_mirror``."""
        return [_job(row) for row in conn.execute(self._of_mirror, {"of_mirror": host})]

    def items(self, conn: Connection, job: str, after: int, limit: int) -> list[QueuedItem]:
        """See ``JobTable.items``."""
        found = conn.execute(self._items, {"of_job": job, "after": after, "limit": limit})
        return [QueuedItem(row.number, Item(ItemKind(row.kind), row.target, row.depth)) for row in found]

    def owners(self, conn: Connection) -> list[str]:
        """See ``JobTable.owners``."""
        return list(conn.scalars(self._owners))

    def expire_owner(self, conn: Connection, owner: str, now: float) -> int:
        """See ``JobTable.expire_owner``."""
        return conn.execute(self._expire, {"by_owner": owner, "now": now}).rowcount

    def forget_ended(self, conn: Connection, before: float) -> int:
        """Delete some jobs that ended before a moment; how many."""
        return conn.execute(self._forget, {"before": before, "limit": _FORGET_AT_ONCE}).rowcount

    def _held(self, conn: Connection, lease: JobLease) -> Job:
        row = conn.execute(self._mine, _holder(lease)).first()
        if row is None:
            raise LeaseLost(f"The job {lease.job} is no longer {lease.owner}'s, or has ended.")
        return _job(row)


def _holder(lease: JobLease) -> dict[str, Any]:
    return {"of_id": lease.job, "by_owner": lease.owner, "at_fence": lease.fence}


def _unknown() -> JobNotFound:
    return JobNotFound("No job has this id, or its record has been cleaned up.")


def _errors_json(errors: Sequence[ItemError]) -> str:
    return json.dumps([asdict(error) for error in errors])


def _job(row: Row[Any]) -> Job:
    bucket, kind = BucketName.parse(row.bucket), JobKind(row.kind)
    return Job(
        id=row.id,
        request=from_json(JobRequest, row.request, kind=kind, mirror=row.mirror, bucket=bucket),
        state=State(row.state),
        created_at=row.created_at,
        updated_at=row.updated_at,
        ended_at=row.ended_at,
        place=row.place,
        counts=json.loads(row.counts),
        errors=tuple(ItemError(**error) for error in json.loads(row.errors)),
        error_code=row.error_code,
        error_msg=row.error_msg,
        owner=row.owner,
        fence=row.fence,
    )


class SqlJobTable:
    """``JobTable`` in SQL."""

    def __init__(self, db: Runner, statements: JobStatements) -> None:
        self._db = db
        self._sql = statements

    async def create(self, job: Job, items: Sequence[Item], until: float) -> None:
        """Insert a job and its list. Raises BucketNotFound."""
        await self._db.write(self._sql.create, job, items, until)

    async def claim(self, owner: str, now: float, until: float) -> Job | None:
        """Take the job that has been due for longest."""
        return await self._db.write_relaxed(self._sql.claim, owner, now, until)

    async def renew(self, leases: Sequence[JobLease], now: float, until: float) -> Sequence[JobLease]:
        """Extend leases; those that were lost."""
        return await self._db.write_relaxed(self._sql.renew, leases, now, until)

    async def step(self, lease: JobLease, step: Step, now: float) -> Job:
        """Do and note a step. Raises LeaseLost."""
        return await self._db.write(self._sql.step, lease, step, now)

    async def finish(self, lease: JobLease, now: float, error: CephStorageError | None = None) -> None:
        """End a job. Raises LeaseLost."""
        await self._db.write(self._sql.finish, lease, now, error)

    async def put_off(self, lease: JobLease, now: float, until: float) -> None:
        """Give a job back until a moment. A lost lease is fine."""
        await self._db.write_relaxed(self._sql.put_off, lease, now, until)

    async def cancel(self, job: str, now: float) -> Job:
        """End a job as cancelled. Raises JobNotFound, JobEnded."""
        return await self._db.write(self._sql.cancel, job, now)

    async def get(self, job: str) -> Job:
        """Raises JobNotFound."""
        return await self._db.read_one(self._sql.get, job)

    async def of_mirror(self, host: str) -> Sequence[Job]:
        """A mirror's jobs, newest first."""
        return await self._db.read_one(self._sql.of_mirror, host)

    async def items(self, job: str, after: int, limit: int) -> Sequence[QueuedItem]:
        """What is on the list behind a number."""
        return await self._db.read_one(self._sql.items, job, after, limit)

    async def owners(self) -> Sequence[str]:
        """Who runs jobs."""
        return await self._db.read_one(self._sql.owners)

    async def expire_owner(self, owner: str, now: float) -> int:
        """End the leases of a dead owner."""
        return await self._db.write_relaxed(self._sql.expire_owner, owner, now)

    async def forget_ended(self, before: float) -> int:
        """Delete old jobs, some at a time; how many."""
        total = 0
        while count := await self._db.write_relaxed(self._sql.forget_ended, before):
            total += count
        return total
