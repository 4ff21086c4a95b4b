"""Walks over buckets: their rows, and who holds them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Double, Row, bindparam, delete, exists, func, insert, or_, select, update

from cephstorage.domain.errors import BucketNotFound, LeaseLost
from cephstorage.domain.names import BucketName
from cephstorage.domain.walks import FIRST, NEVER, Stage, Walk, WalkKind, WalkLease, WalkStep
from cephstorage.index.runner import Runner
from cephstorage.index.schema import Schema

_FREE = {"owner": None}


class WalkStatements:
    """Statements over walks. Rows come and go with their buckets when somebody looks for work."""

    def __init__(self, schema: Schema) -> None:
        self._table = walks = schema.walks
        self._of_buckets = buckets = schema.buckets
        c = walks.c
        kind = c.kind == bindparam("of_kind")
        has = exists(select(c.bucket).where(c.bucket == buckets.c.name, kind))
        self._without = select(buckets.c.name).where(~has)
        self._add = insert(walks)
        self._orphans = delete(walks).where(~exists(select(buckets.c.name).where(buckets.c.name == c.bucket)))
        due = (
            select(c.bucket)
            .where(kind, c.due_at <= bindparam("now"))
            .order_by(c.due_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        waiting = exists(select(c.bucket).where(kind, c.due_at <= bindparam("now")))
        never = kind & (c.due_at >= NEVER) & (bindparam("first", type_=Double) < NEVER)
        self._due = select(or_(waiting, exists(self._without), exists(select(c.bucket).where(never))))
        self._wake = update(walks).where(never).values(due_at=bindparam("first", type_=Double))
        self._claim = (
            update(walks)
            .where(kind, c.bucket == due.scalar_subquery())
            .values(owner=bindparam("new_owner"), fence=c.fence + 1, due_at=bindparam("until"))
            .returning(*c)
        )
        mine = (
            (c.bucket == bindparam("in_bucket"))
            & kind
            & (c.owner == bindparam("by_owner"))
            & (c.fence == bindparam("at_fence"))
        )
        self._write = update(walks).where(mine)
        self._mine = select(walks).where(mine).with_for_update()
        wanted = or_(c.kind != WalkKind.DELETIONS.value, c.due_at < NEVER)
        ended = c.last_begun_at.is_not(None) & wanted
        self._oldest = select(c.kind, func.min(c.last_begun_at)).where(ended).group_by(c.kind)
        self._owners = select(c.owner).where(c.owner.is_not(None)).distinct()
        self._expire = update(walks).where(c.owner == bindparam("by_owner")).values(owner=None, due_at=bindparam("now"))

    def claim(
        self, conn: Connection, kind: WalkKind, owner: str, now: float, until: float, first: float
    ) -> Walk | None:
        """See ``WalkTable.claim``."""
        self._follow_buckets(conn, kind, first)
        row = conn.execute(self._claim, {"of_kind": kind.value, "new_owner": owner, "now": now, "until": until}).first()
        if row is None:
            return None
        walk = _walk(row)
        return walk if walk.begun_at is not None else self._begin(conn, walk, now)

    def _begin(self, conn: Connection, walk: Walk, now: float) -> Walk:
        assert walk.owner is not None
        one = _holder(WalkLease(walk.bucket, walk.kind, walk.owner, walk.fence))
        fresh = {"stage": FIRST[walk.kind].value, "place": None, "sums": None, "counts": "{}", "begun_at": now}
        conn.execute(self._write, {**one, **fresh})
        return _walk(conn.execute(self._mine, one).one())

    def _follow_buckets(self, conn: Connection, kind: WalkKind, first: float) -> None:
        names = conn.scalars(self._without, {"of_kind": kind.value}).all()
        if names:
            conn.execute(self._add, [_new(name, kind, first) for name in names])
        conn.execute(self._orphans)
        conn.execute(self._wake, {"of_kind": kind.value, "first": first})

    def due(self, conn: Connection, kind: WalkKind, now: float, first: float) -> bool:
        """See ``WalkTable.due``."""
        return bool(conn.scalar(self._due, {"of_kind": kind.value, "now": now, "first": first}))

    def renew(self, conn: Connection, lease: WalkLease, until: float) -> None:
        """See ``WalkTable.renew``."""
        self._write_mine(conn, lease, {"due_at": until})

    def stored_bytes(self, conn: Connection) -> int:
        """See ``WalkTable.stored_bytes``."""
        return int(conn.scalar(select(func.sum(self._of_buckets.c.size))) or 0)

    def step(self, conn: Connection, lease: WalkLease, step: WalkStep, until: float) -> None:
        """See ``WalkTable.step``."""
        values: dict[str, Any] = {"stage": step.stage.value, "place": step.place, "counts": json.dumps(step.counts)}
        if step.sums is not None:
            values["sums"] = step.sums
        self._write_mine(conn, lease, {**values, "due_at": until})

    def finish(
        self, conn: Connection, lease: WalkLease, counts: Mapping[str, int], now: float, following: float
    ) -> None:
        """See ``WalkTable.finish``."""
        row = conn.execute(self._mine, _holder(lease)).first()
        if row is None:
            raise _lost(lease)
        ended = {"last_begun_at": row.begun_at, "last_ended_at": now, "last_counts": json.dumps(counts)}
        fresh = {"begun_at": None, "place": None, "sums": None, "counts": "{}", "stage": FIRST[lease.kind].value}
        self._write_mine(conn, lease, {**ended, **fresh, **_FREE, "due_at": following})

    def put_off(self, conn: Connection, lease: WalkLease, until: float) -> None:
        """See ``WalkTable.put_off``."""
        conn.execute(self._write, {**_holder(lease), **_FREE, "due_at": until})

    def _write_mine(self, conn: Connection, lease: WalkLease, values: dict[str, Any]) -> None:
        if not conn.execute(self._write, {**_holder(lease), **values}).rowcount:
            raise _lost(lease)

    def ask(self, conn: Connection, kind: WalkKind, bucket: BucketName | None, now: float) -> int:
        """See ``WalkTable.ask``."""
        c = self._table.c
        if bucket is not None:
            there = conn.scalar(select(self._of_buckets.c.name).where(self._of_buckets.c.name == str(bucket)))
            if there is None:
                raise BucketNotFound(f"There is no bucket {bucket}.")
        self._follow_buckets(conn, kind, NEVER)
        asked = update(self._table).where(c.kind == kind.value, c.owner.is_(None))
        if bucket is not None:
            asked = asked.where(c.bucket == str(bucket))
        return conn.execute(asked.values(due_at=now)).rowcount

    def all(self, conn: Connection, bucket: BucketName | None) -> list[Walk]:
        """See ``WalkTable.all``."""
        c = self._table.c
        asked = select(*(each for each in c if each.name != "sums")).order_by(c.bucket, c.kind)
        if bucket is not None:
            asked = asked.where(c.bucket == str(bucket))
        return [_walk(row) for row in conn.execute(asked)]

    def oldest(self, conn: Connection) -> dict[WalkKind, float]:
        """See ``WalkTable.oldest``."""
        return {WalkKind(kind): begun for kind, begun in conn.execute(self._oldest)}

    def owners(self, conn: Connection) -> list[str]:
        """See ``WalkTable.owners``."""
        return list(conn.scalars(self._owners))

    def expire_owner(self, conn: Connection, owner: str, now: float) -> int:
        """See ``WalkTable.expire_owner``."""
        return conn.execute(self._expire, {"by_owner": owner, "now": now}).rowcount


def _new(bucket: str, kind: WalkKind, first: float) -> dict[str, Any]:
    return {
        "bucket": bucket,
        "kind": kind.value,
        "stage": FIRST[kind].value,
        "counts": "{}",
        "last_counts": "{}",
        "fence": 0,
        "due_at": first,
    }


def _holder(lease: WalkLease) -> dict[str, Any]:
    one = {"in_bucket": str(lease.bucket), "of_kind": lease.kind.value}
    return {**one, "by_owner": lease.owner, "at_fence": lease.fence}


def _lost(lease: WalkLease) -> LeaseLost:
    return LeaseLost(f"The {lease.kind} of {lease.bucket} is no longer {lease.owner}'s.")


def _walk(row: Row[Any]) -> Walk:
    return Walk(
        bucket=BucketName.parse(row.bucket),
        kind=WalkKind(row.kind),
        stage=Stage(row.stage),
        place=row.place,
        sums=getattr(row, "sums", None),
        counts=json.loads(row.counts),
        begun_at=row.begun_at,
        last_begun_at=row.last_begun_at,
        last_ended_at=row.last_ended_at,
        last_counts=json.loads(row.last_counts),
        owner=row.owner,
        fence=row.fence,
        due_at=row.due_at,
    )


class SqlWalkTable:
    """``WalkTable`` in SQL. What is lost with the power is walked again."""

    def __init__(self, db: Runner, statements: WalkStatements) -> None:
        self._db = db
        self._sql = statements

    async def claim(self, kind: WalkKind, owner: str, now: float, until: float, first: float) -> Walk | None:
        """Take the walk that has been due for longest."""
        return await self._db.write_relaxed(self._sql.claim, kind, owner, now, until, first)

    async def due(self, kind: WalkKind, now: float, first: float) -> bool:
        """Whether there may be something to claim."""
        return await self._db.read_one(self._sql.due, kind, now, first)

    async def renew(self, lease: WalkLease, until: float) -> None:
        """Hold a walk until then. Raises LeaseLost."""
        await self._db.write_relaxed(self._sql.renew, lease, until)

    async def stored_bytes(self) -> int:
        """How much all buckets hold."""
        return await self._db.read_one(self._sql.stored_bytes)

    async def step(self, lease: WalkLease, step: WalkStep, until: float) -> None:
        """Note how far a walk is. Raises LeaseLost."""
        await self._db.write_relaxed(self._sql.step, lease, step, until)

    async def finish(self, lease: WalkLease, counts: Mapping[str, int], now: float, following: float) -> None:
        """End a walk. Raises LeaseLost."""
        await self._db.write_relaxed(self._sql.finish, lease, counts, now, following)

    async def put_off(self, lease: WalkLease, until: float) -> None:
        """Give a walk back."""
        await self._db.write_relaxed(self._sql.put_off, lease, until)

    async def ask(self, kind: WalkKind, bucket: BucketName | None, now: float) -> int:
        """Have walks begin now. Raises BucketNotFound."""
        return await self._db.write(self._sql.ask, kind, bucket, now)

    async def all(self, bucket: BucketName | None = None) -> Sequence[Walk]:
        """Every walk."""
        return await self._db.read_one(self._sql.all, bucket)

    async def oldest(self) -> Mapping[WalkKind, float]:
        """When the last whole walk began where that is longest ago."""
        return await self._db.read_one(self._sql.oldest)

    async def owners(self) -> Sequence[str]:
        """Who holds walks."""
        return await self._db.read_one(self._sql.owners)

    async def expire_owner(self, owner: str, now: float) -> int:
        """End the leases of a dead owner."""
        return await self._db.write_relaxed(self._sql.expire_owner, owner, now)
