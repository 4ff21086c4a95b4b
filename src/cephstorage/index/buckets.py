"""Tenants' buckets and their usage."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    Connection,
    Row,
    Select,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import coalesce

from cephstorage.domain.errors import BucketNotEmpty, BucketNotFound
from cephstorage.domain.lifecycle import NO_LIFECYCLE, ExpiryRule, Lifecycle
from cephstorage.domain.names import BucketName
from cephstorage.domain.quotas import Quota
from cephstorage.domain.records import Bucket
from cephstorage.domain.transfers import State
from cephstorage.index.quotas import bounded
from cephstorage.index.runner import Runner
from cephstorage.index.schema import Schema
from cephstorage.index.tables.columns import word

GENERATIONS = "generations of "
"""What the counters begin with that remember where generations go on in a bucket that was deleted."""


@dataclass(frozen=True, slots=True)
class Held:
    """What is known of a bucket whose row is held: where the generations of new keys begin, and how long keys live."""

    first_generation: int
    lifecycle: Lifecycle


def lifecycle_in(rules: str | None, trash_days: float | None = None, trash_overwritten: int = 0) -> Lifecycle:
    """The settings in a bucket's row; most have none."""
    if rules is None and trash_days is None:
        return NO_LIFECYCLE
    read = tuple(ExpiryRule(**rule) for rule in json.loads(rules or "[]"))
    return Lifecycle(read, trash_days, bool(trash_overwritten))


def _bucket_of(row: Row[Any]) -> Bucket:
    quota = Quota(row.quota_size, row.quota_keyamount)
    return Bucket(
        BucketName.parse(row.name),
        row.size,
        row.keyamount,
        row.created_at,
        quota,
        bool(row.bounded),
        row.trash_size,
        row.trash_keys,
    )


class Concern(NamedTuple):
    """Who has a say in a change of a bucket: a quota bounds it, some webhook is told of it."""

    bounded: bool
    told: bool


def told(schema: Schema) -> ColumnElement[bool]:
    """Whether some webhook is told of a bucket's keys: asked in a statement that is sent anyway."""
    hooks, here = schema.webhooks.c, schema.buckets.c
    wide = hooks.bucket.is_(None) | (hooks.bucket == here.name)
    found = select(hooks.id).where(hooks.username == here.username, wide, hooks.enabled == 1)
    return exists(found.correlate(schema.buckets))


class BucketStatements:
    """Statements over buckets, usage included: whoever changes a record calls ``write`` first and ``add_usage`` then.

    A database server locks the bucket's row in three strengths: KEY SHARE, NO KEY UPDATE, UPDATE (PostgreSQL
    manual, 13.3.2). SQLite has one writer and leaves them out.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        buckets, transfers, counters = schema.buckets, schema.transfers, schema.counters
        name: BindParameter[str] = bindparam("bucket")
        self._all = select(buckets, bounded(schema).label("bounded"))
        self._one = self._all.where(buckets.c.name == name)
        lives = (buckets.c.expiry_rules, buckets.c.trash_days, buckets.c.trash_overwritten)
        found = select(buckets.c.next_generation, *lives).where(buckets.c.name == name)
        self._lives = select(*lives).where(buckets.c.name == name)
        self._present = found.with_for_update(read=True, key_share=True)
        self._is_bounded = (
            select(bounded(schema)).where(buckets.c.name == name).with_for_update(read=True, key_share=True, of=buckets)
        )
        self._writable = found.with_for_update(key_share=True)
        self._removable = found.with_for_update()
        self._usage = (
            update(buckets)
            .where(buckets.c.name == name)
            .values(
                size=buckets.c.size + bindparam("bytes"),
                keyamount=buckets.c.keyamount + bindparam("keys"),
                highest_generation=case(
                    (buckets.c.highest_generation < bindparam("generation"), bindparam("generation")),
                    else_=buckets.c.highest_generation,
                ),
            )
            .returning(bounded(schema), told(schema))
        )
        self._trash = (
            update(buckets)
            .where(buckets.c.name == name)
            .values(
                trash_size=buckets.c.trash_size + bindparam("bytes"),
                trash_keys=buckets.c.trash_keys + bindparam("keys"),
            )
        )
        self._barrier = select(buckets.c.next_generation, buckets.c.highest_generation).where(buckets.c.name == name)
        self._generations = (
            update(buckets)
            .where(buckets.c.name == name, buckets.c.next_generation < bindparam("next"))
            .values(next_generation=bindparam("next"))
        )
        self._take_first = delete(counters).where(counters.c.name == bindparam("counter")).returning(counters.c.value)
        self._keep_first = insert(counters)
        self._in_the_way = (
            ("keys", select(schema.keys.c.key).where(schema.keys.c.bucket == name).limit(1)),
            (
                "transfers under way",
                select(transfers.c.id)
                .where(transfers.c.state == word(State.INPROGRESS), transfers.c.bucket == name)
                .limit(1),
            ),
            ("versions in the trash", select(schema.trash.c.key).where(schema.trash.c.bucket == name).limit(1)),
            ("mirrors", select(schema.mirrors.c.host).where(schema.mirrors.c.bucket == name).limit(1)),
        )

    def require(self, conn: Connection, bucket: BucketName) -> int:
        """See to it that the bucket stays until the end of the transaction; the generation at which new keys begin.

        Any number may do so at once, also beside ``write``. Raises BucketNotFound.
        """
        return self._found(conn, bucket, self._present).first_generation

    def is_bounded(self, conn: Connection, bucket: BucketName) -> bool:
        """The same, and whether a quota bounds the bucket. Raises BucketNotFound."""
        found = conn.execute(self._is_bounded, {"bucket": str(bucket)}).first()
        if found is None:
            raise _unknown(bucket)
        return bool(found[0])

    def write(self, conn: Connection, bucket: BucketName) -> int:
        """The same for who changes a record: only one transaction at a time does that in a bucket."""
        return self.hold(conn, bucket).first_generation

    def hold(self, conn: Connection, bucket: BucketName) -> Held:
        """The same, and what the bucket says of its keys' lives."""
        return self._found(conn, bucket, self._writable)

    def lifecycle(self, conn: Connection, bucket: BucketName) -> Lifecycle:
        """What the bucket says of its keys' lives. Raises BucketNotFound."""
        found = conn.execute(self._lives, {"bucket": str(bucket)}).first()
        if found is None:
            raise _unknown(bucket)
        return lifecycle_in(*found)

    def _found(self, conn: Connection, bucket: BucketName, statement: Select[Any]) -> Held:
        found = conn.execute(statement, {"bucket": str(bucket)}).first()
        if found is None:
            raise _unknown(bucket)
        first_generation, *lives = found
        return Held(int(first_generation), lifecycle_in(*lives))

    def add_usage(self, conn: Connection, bucket: BucketName, size: int, keys: int, generation: int = 0) -> Concern:
        """Add to the usage, or subtract; who has a say in it. ``generation``: that of a version that has come."""
        values = {"bucket": str(bucket), "bytes": size, "keys": keys, "generation": generation}
        row = conn.execute(self._usage, values).first()
        return Concern(bool(row[0]), bool(row[1])) if row is not None else Concern(False, False)

    def add_trash(self, conn: Connection, bucket: BucketName, size: int, keys: int) -> None:
        """Add to what the trash holds, or subtract."""
        conn.execute(self._trash, {"bucket": str(bucket), "bytes": size, "keys": keys})

    def raise_barrier(self, conn: Connection, bucket: BucketName) -> int:
        """A generation above that of every version there is, and not above that of any still to come.

        Raises BucketNotFound.
        """
        self.write(conn, bucket)
        barrier = self._after_all(conn, bucket)
        self.raise_generation(conn, bucket, barrier)
        return barrier

    def _after_all(self, conn: Connection, bucket: BucketName) -> int:
        """The least generation above that of every version that there is or was."""
        following, highest = conn.execute(self._barrier, {"bucket": str(bucket)}).one()
        return max(int(following), int(highest) + 1)

    def raise_generation(self, conn: Connection, bucket: BucketName, following: int) -> None:
        """Let new keys begin at ``following`` or above."""
        conn.execute(self._generations, {"bucket": str(bucket), "next": following})

    def create(self, conn: Connection, bucket: BucketName, now: float) -> bool:
        """See ``BucketIndex.create``. Generations go on where a bucket of this name had them."""
        tenants, buckets = self._schema.tenants, self._schema.buckets
        if conn.execute(self._one, {"bucket": str(bucket)}).first() is not None:
            return False
        if conn.scalar(select(tenants.c.username).where(tenants.c.username == bucket.username)) is None:
            conn.execute(insert(tenants), {"username": bucket.username, "created_at": now})
        following = conn.scalar(self._take_first, {"counter": f"{GENERATIONS}{bucket}"}) or 1
        row = {"name": str(bucket), "username": bucket.username, "created_at": now}
        conn.execute(insert(buckets), {**row, "size": 0, "keyamount": 0, "next_generation": following})
        return True

    def get(self, conn: Connection, bucket: BucketName) -> Bucket:
        """See ``BucketIndex.get``."""
        row = conn.execute(self._one, {"bucket": str(bucket)}).first()
        if row is None:
            raise _unknown(bucket)
        return _bucket_of(row)

    def of_tenant(self, conn: Connection, username: str) -> list[Bucket]:
        """See ``BucketIndex.of_tenant``."""
        buckets = self._schema.buckets
        found = conn.execute(self._all.where(buckets.c.username == username).order_by(buckets.c.name))
        return [_bucket_of(row) for row in found]

    def delete(self, conn: Connection, bucket: BucketName) -> None:
        """See ``BucketIndex.delete``.

        Its generations do not come back when it is made anew: a deletion under way there means what they counted, and
        receivers of webhooks tell versions by them.
        """
        self._found(conn, bucket, self._removable)
        for what, statement in self._in_the_way:
            if conn.execute(statement, {"bucket": str(bucket)}).first() is not None:
                raise BucketNotEmpty(f"The bucket {bucket} still has {what}; remove these first.")
        if (following := self._after_all(conn, bucket)) > 1:
            conn.execute(self._keep_first, {"name": f"{GENERATIONS}{bucket}", "value": following})
        conn.execute(delete(self._schema.buckets).where(self._schema.buckets.c.name == str(bucket)))

    def drift(self, conn: Connection) -> list[str]:
        """Names of the buckets whose usage is not the sum over their records, or that of their trash not the sum over it."""
        b, wrong = self._schema.buckets, set[str]()
        counted = (self._schema.keys, b.c.size, b.c.keyamount), (self._schema.trash, b.c.trash_size, b.c.trash_keys)
        for table, size, keys in counted:
            sums = (
                select(table.c.bucket, func.sum(table.c.size).label("size"), func.count().label("keyamount"))
                .group_by(table.c.bucket)
                .subquery()
            )
            differs = (size != coalesce(sums.c.size, 0)) | (keys != coalesce(sums.c.keyamount, 0))
            joined = b.outerjoin(sums, b.c.name == sums.c.bucket)
            wrong.update(conn.scalars(select(b.c.name).select_from(joined).where(differs)))
        return sorted(wrong)


def _unknown(bucket: BucketName) -> BucketNotFound:
    return BucketNotFound(f"There is no bucket {bucket}.")


class SqlBucketIndex:
    """``BucketIndex`` in SQL."""

    def __init__(self, db: Runner, statements: BucketStatements) -> None:
        self._db = db
        self._sql = statements

    async def create(self, bucket: BucketName, now: float) -> bool:
        """Create tenant and bucket; False when the bucket was there."""
        return await self._db.write(self._sql.create, bucket, now)

    async def get(self, bucket: BucketName) -> Bucket:
        """Raises BucketNotFound."""
        return await self._db.read_one(self._sql.get, bucket)

    async def of_tenant(self, username: str) -> Sequence[Bucket]:
        """The tenant's buckets by name."""
        return await self._db.read_one(self._sql.of_tenant, username)

    async def delete(self, bucket: BucketName) -> None:
        """Delete an empty bucket. Raises BucketNotFound, BucketNotEmpty."""
        await self._db.write(self._sql.delete, bucket)
