"""What buckets say of their keys' lives, and the steps that follow from it, each one transaction.

Rules are applied when a key is published. A change of rules reaches the keys that are there by a walk, some keys at a
time, whose place stands in the bucket's row; nobody owns it, so whoever comes does the next step. Expired keys are
found by an index of those that expire, and looked at again under their bucket's lock: a newer version stays.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Double, bindparam, select, update

from cephstorage.domain.lifecycle import Lifecycle, TrashPage, ending
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import Record
from cephstorage.domain.serialise import to_json
from cephstorage.index.buckets import BucketStatements, lifecycle_in
from cephstorage.index.keys import KeyStatements
from cephstorage.index.purges import PurgeStatements
from cephstorage.index.runner import Runner
from cephstorage.index.schema import Schema
from cephstorage.index.trash import TrashStatements

_EMPTIED_AT_ONCE = 5000
_FIRST_VERSION: tuple[str, int] | None = ("", 0)
"""It comes before those of every key."""
Swept = list[tuple[BucketName, list[str]]]


class LifecycleStatements:
    """Statements over settings of lives, and over keys that end."""

    def __init__(self, schema: Schema, buckets: BucketStatements, keys: KeyStatements, purges: PurgeStatements) -> None:
        self._buckets, self._keys, self._purges = buckets, keys, purges
        b, k = schema.buckets.c, schema.keys.c
        self._write = update(schema.buckets).where(b.name == bindparam("bucket"))
        self._is_behind = select(b.name).where(b.rules_place.is_not(None)).limit(1)
        behind = select(b.name, b.expiry_rules, b.rules_place).where(b.rules_place.is_not(None)).order_by(b.name)
        self._behind = behind.limit(1).with_for_update(key_share=True, skip_locked=True)
        here = k.bucket == bindparam("in_bucket")
        self._next = (
            select(k.key, k.size, k.validated_at, k.expires, k.expires_at)
            .where(here, k.key > bindparam("after"))
            .order_by(k.key)
            .limit(bindparam("limit"))
        )
        self._end = (
            update(schema.keys)
            .where(here, k.key == bindparam("of_key"))
            .values(expires_at=bindparam("ends", type_=Double))
        )
        due = select(k.bucket, k.key).where(k.expires_at <= bindparam("now"))
        self._due = due.order_by(k.expires_at).limit(bindparam("limit"))

    def get(self, conn: Connection, bucket: BucketName) -> Lifecycle:
        """See ``Lifecycles.get``."""
        return self._buckets.lifecycle(conn, bucket)

    def put(self, conn: Connection, bucket: BucketName, lifecycle: Lifecycle) -> None:
        """See ``Lifecycles.put``."""
        before = self._buckets.hold(conn, bucket).lifecycle
        values: dict[str, Any] = {
            "expiry_rules": to_json(lifecycle.rules) if lifecycle.rules else None,
            "trash_days": lifecycle.trash_days,
            "trash_overwritten": int(lifecycle.trash_overwritten),
        }
        if before.rules != lifecycle.rules:
            values["rules_place"] = ""
        conn.execute(self._write.values(values), {"bucket": str(bucket)})

    def is_behind(self, conn: Connection) -> bool:
        """Whether some keys have yet to be given the moments that follow from their bucket's rules."""
        return conn.scalar(self._is_behind) is not None

    def apply(self, conn: Connection, most: int, now: float) -> bool:
        """See ``Lifecycles.apply``."""
        row = conn.execute(self._behind).first()
        if row is None:
            return False
        rules = lifecycle_in(row.expiry_rules).rules
        found = conn.execute(self._next, {"in_bucket": row.name, "after": row.rules_place, "limit": most}).all()
        changed, sooner = [], []
        for each in found:
            ends = ending(each.key, each.validated_at, each.expires, rules)
            if ends != each.expires_at:
                changed.append({"in_bucket": row.name, "of_key": each.key, "ends": ends})
                if ends is not None and (each.expires_at is None or ends < each.expires_at):
                    sooner.append((each.key, each.size))
        if changed:
            conn.execute(self._end, changed)
        if sooner:  # an edge may keep them for longer than they live now
            self._purges.queue_several(conn, BucketName.parse(row.name), sooner, now)
        place = found[-1].key if len(found) == most else None
        conn.execute(self._write.values(rules_place=bindparam("place")), {"bucket": row.name, "place": place})
        return True

    def due(self, conn: Connection, most: int, now: float) -> Swept:
        """Keys whose time is over, the longest first."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for bucket, key in conn.execute(self._due, {"now": now, "limit": most}):
            found[bucket].append(key)
        return [(BucketName.parse(bucket), sorted(keys)) for bucket, keys in sorted(found.items())]

    def sweep(self, conn: Connection, most: int, now: float) -> Swept:
        """See ``Lifecycles.sweep``."""
        swept = []
        for bucket, keys in self.due(conn, most, now):
            self._buckets.write(conn, bucket)
            ended = [record for record in self._keys.several(conn, bucket, keys) if record.expired(now)]
            self._keys.drop_several(conn, bucket, ended, now)
            swept.append((bucket, [record.key for record in ended]))
        return swept


class SqlLifecycles:
    """``Lifecycles`` in SQL. ``on_deleted`` is told what a sweep of this process has deleted."""

    def __init__(self, db: Runner, statements: LifecycleStatements) -> None:
        self._db = db
        self._sql = statements
        self.on_deleted: Callable[[BucketName, Sequence[str]], None] = lambda *_: None

    async def get(self, bucket: BucketName) -> Lifecycle:
        """A bucket's settings. Raises BucketNotFound."""
        return await self._db.read_one(self._sql.get, bucket)

    async def put(self, bucket: BucketName, lifecycle: Lifecycle) -> None:
        """Replace a bucket's settings. Raises BucketNotFound."""
        await self._db.write(self._sql.put, bucket, lifecycle)

    async def apply(self, most: int, now: float) -> bool:
        """Bring some keys up to their bucket's rules; False when all are."""
        return await self._db.read_one(self._sql.is_behind) and await self._db.write(self._sql.apply, most, now)

    async def sweep(self, most: int, now: float) -> int:
        """Delete some keys whose time is over; how many."""
        if not await self._db.read_one(self._sql.due, 1, now):
            return 0
        swept = await self._db.write(self._sql.sweep, most, now)
        for bucket, keys in swept:
            self.on_deleted(bucket, keys)
        return sum(len(keys) for _, keys in swept)


class SqlTrash:
    """``Trash`` in SQL."""

    def __init__(self, db: Runner, statements: TrashStatements, keys: KeyStatements) -> None:
        self._db = db
        self._sql = statements
        self._keys = keys

    async def listing(self, bucket: BucketName, prefix: str, limit: int, cursor: str | None, now: float) -> TrashPage:
        """A page of what may be restored. Raises BucketNotFound, InvalidCursor."""
        return await self._db.read(self._sql.listing, bucket, prefix, limit, cursor, now)

    async def restore(self, bucket: BucketName, key: str, generation: int | None, now: float, *, over: bool) -> Record:
        """Make a version visible again. Raises BucketNotFound, KeyNotFound, PreconditionFailed, QuotaExceeded."""
        return await self._db.write(self._keys.restore, bucket, key, generation, now, over=over)

    async def empty(self, bucket: BucketName, key: str | None, generation: int | None, now: float) -> int:
        """Have versions removed at the next sweep, some at a time so that no other write waits long; how many.

        Raises BucketNotFound.
        """
        count, after = 0, _FIRST_VERSION
        while after is not None:
            some, after = await self._db.write(self._sql.empty, bucket, key, generation, now, after, _EMPTIED_AT_ONCE)
            count += some
        return count

    async def sweep(self, most: int, now: float) -> int:
        """Remove some versions whose time is over; how many."""
        return await self._db.write(self._sql.sweep, most, now) if await self._db.read_one(self._sql.due, 1, now) else 0
