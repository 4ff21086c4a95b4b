"""Visible records: read, listed, deleted, confirmed, and (for landing only) written."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, bindparam, case, delete, insert, select, update

from cephstorage.domain.errors import BucketNotFound, KeyNotFound, PreconditionFailed
from cephstorage.domain.lifecycle import NO_LIFECYCLE, Lifecycle, Reason
from cephstorage.domain.names import BucketName
from cephstorage.domain.quotas import NOTHING, Amount, difference
from cephstorage.domain.records import FolderUsage, ListQuery, OriginFacts, Page, Record, attempt_of, living
from cephstorage.domain.serialise import to_json
from cephstorage.domain.webhooks import EventType
from cephstorage.index.buckets import BucketStatements, Concern
from cephstorage.index.listing import ListingStatements
from cephstorage.index.purges import PurgeStatements
from cephstorage.index.quotas import QuotaStatements, bounded
from cephstorage.index.removals import RemovalStatements
from cephstorage.index.rows import RECORD_COLUMNS, record_of, record_values
from cephstorage.index.runner import Runner
from cephstorage.index.schema import Schema
from cephstorage.index.tables.columns import TEXT
from cephstorage.index.trash import TrashStatements, restored
from cephstorage.index.tree import Changes, FolderStatements
from cephstorage.index.webhooks import EventStatements


class KeyStatements:
    """Statements over records. Usage, the queue of removals, the outboxes of purges and of webhooks change with them."""

    def __init__(
        self,
        schema: Schema,
        buckets: BucketStatements,
        folders: FolderStatements,
        removals: RemovalStatements,
        purges: PurgeStatements,
        quotas: QuotaStatements,
        trash: TrashStatements,
        events: EventStatements,
    ) -> None:
        self._trash = trash
        self._buckets = buckets
        self._quotas = quotas
        self._folders = folders
        self._removals = removals
        self._purges = purges
        self._events = events
        keys = schema.keys
        one = (keys.c.bucket == bindparam("in_bucket")) & (keys.c.key == bindparam("of_key"))
        self._get = select(*(keys.c[name] for name in RECORD_COLUMNS)).where(one)
        some = (keys.c.bucket == bindparam("in_bucket")) & keys.c.key.in_(bindparam("names", expanding=True))
        self._several = select(*(keys.c[name] for name in RECORD_COLUMNS)).where(some).order_by(keys.c.key)
        lives = keys.c.expires_at.is_(None) | (keys.c.expires_at > bindparam("now"))
        self._md5s = select(keys.c.key, keys.c.md5).where(some, lives)
        self._delete_several = delete(keys).where(some)
        there = schema.buckets
        self._before_fill = (
            select(keys.c.generation, keys.c.expires_at, bounded(schema))
            .select_from(there.outerjoin(keys, one))
            .where(there.c.name == bindparam("in_bucket"))
            .with_for_update(read=True, key_share=True, of=there)
        )
        self._insert = insert(keys)
        self._replace = update(keys).where(one)
        self._delete = delete(keys).where(one)
        self._touch = (
            update(keys)
            .where(one, keys.c.generation == bindparam("of_generation"))
            .values(
                validated_at=bindparam("now"),
                invalidated_at=case((keys.c.invalidated_at > bindparam("asked"), keys.c.invalidated_at), else_=None),
            )
        )
        self._confirm = self._touch.values(origin=bindparam("facts", type_=TEXT))
        self._invalidate = (
            update(keys)
            .where(one, keys.c.generation == bindparam("of_generation"))
            .values(invalidated_at=bindparam("now"))
        )

    def get(self, conn: Connection, bucket: BucketName, key: str) -> Record | None:
        """See ``KeyIndex.get``."""
        row = conn.execute(self._get, {"in_bucket": str(bucket), "of_key": key}).first()
        return None if row is None else record_of(bucket, row)

    def before_fill(self, conn: Connection, bucket: BucketName, key: str, now: float) -> tuple[int, bool]:
        """The generation of the living version, 0 when there is none; and whether a quota bounds the bucket, which stays.

        Raises BucketNotFound.
        """
        row = conn.execute(self._before_fill, {"in_bucket": str(bucket), "of_key": key}).first()
        if row is None:
            raise BucketNotFound(f"There is no bucket {bucket}.")
        generation, expires_at, under_quota = row
        ended = expires_at is not None and expires_at <= now
        return 0 if generation is None or ended else int(generation), bool(under_quota)

    def put(
        self,
        conn: Connection,
        record: Record,
        previous: Record | None,
        lifecycle: Lifecycle = NO_LIFECYCLE,
        freed: Amount = NOTHING,
    ) -> None:
        """Make a record the visible one in place of ``previous``, whose bytes are queued for removal, or kept in the trash.

        ``freed``: what this transaction has taken from the bucket's usage to make room for it. Raises QuotaExceeded:
        what is reserved for others may be used here, what is not free may not.
        """
        values = record_values(record)
        kept = previous is not None and lifecycle.trash_overwritten and self._keep(conn, previous, record, lifecycle)
        more = difference(record.size, previous.size if previous is not None else None)
        concern = self._buckets.add_usage(conn, record.bucket, more.size, more.keys, record.generation)
        if concern.bounded:
            self._quotas.check(conn, record.bucket, (difference(record.size, None) if kept else more) - freed)
        self._tell(conn, concern, EventType.CREATED, [record], record.validated_at)
        if previous is None:
            conn.execute(self._insert, values)
            self._folders.add(conn, record.bucket, {record.vfolder: (record.size, 1)})
            return
        changing = {name: values[name] for name in RECORD_COLUMNS if name != "key"}
        conn.execute(self._replace, {**changing, "in_bucket": values["bucket"], "of_key": record.key})
        if record.size != previous.size:
            self._folders.add(conn, record.bucket, {record.vfolder: (record.size - previous.size, 0)})
        if not kept and attempt_of(previous.store_version) != attempt_of(record.store_version):
            self._removals.queue(conn, record.bucket, record.key, previous.store_version)
        self._purges.queue(conn, record.bucket, record.key, previous.size, record.validated_at)

    def _keep(self, conn: Connection, previous: Record, record: Record, lifecycle: Lifecycle) -> bool:
        """Keep a version that is being replaced, unless that is of no use; whether it is kept."""
        now, same = record.validated_at, attempt_of(previous.store_version) == attempt_of(record.store_version)
        if lifecycle.trash_days is None or same or previous.expired(now) or previous.origin is not None:
            return False
        self._trash.keep(conn, record.bucket, [previous], Reason.OVERWRITTEN, now, lifecycle.trash_days)
        return True

    def _unname(
        self, conn: Connection, bucket: BucketName, records: Sequence[Record], now: float, lifecycle: Lifecycle
    ) -> None:
        """See to the bytes of versions that are no longer visible. A mirror's copies are never kept: its origin has them."""
        days = lifecycle.trash_days
        kept = [each for each in records if days is not None and each.origin is None and not each.expired(now)]
        if kept and days is not None:
            self._trash.keep(conn, bucket, kept, Reason.DELETED, now, days)
        names = {each.key for each in kept}
        if gone := [(each.key, each.store_version) for each in records if each.key not in names]:
            self._removals.queue_several(conn, bucket, gone)

    def _tell(self, conn: Connection, concern: Concern, kind: EventType, records: Sequence[Record], now: float) -> None:
        """Write the events for the webhooks, if some are told."""
        if concern.told:
            self._events.changed(conn, kind, records, now)

    def delete(self, conn: Connection, bucket: BucketName, key: str, now: float) -> None:
        """See ``KeyIndex.delete``. A later version of the key gets a higher generation than this one."""
        lifecycle = self._buckets.hold(conn, bucket).lifecycle
        record = living(self.get(conn, bucket, key), now)
        if record is None:
            raise KeyNotFound(f"There is no key {key!r} in {bucket}.")
        self.drop(conn, record, now, lifecycle)

    def drop(self, conn: Connection, record: Record, now: float, lifecycle: Lifecycle = NO_LIFECYCLE) -> None:
        """Delete a visible record. The caller holds its bucket for writing."""
        bucket, key = record.bucket, record.key
        conn.execute(self._delete, {"in_bucket": str(bucket), "of_key": key})
        concern = self._buckets.add_usage(conn, bucket, -record.size, -1)
        self._tell(conn, concern, EventType.DELETED, [record], now)
        self._folders.add(conn, bucket, {record.vfolder: (-record.size, -1)})
        self._buckets.raise_generation(conn, bucket, record.generation + 1)
        self._unname(conn, bucket, [record], now, lifecycle)
        self._purges.queue(conn, bucket, key, record.size, now)

    def several(self, conn: Connection, bucket: BucketName, keys: Sequence[str]) -> list[Record]:
        """The visible versions of some keys, in order."""
        found = conn.execute(self._several, {"in_bucket": str(bucket), "names": list(keys)})
        return [record_of(bucket, row) for row in found]

    def md5s(self, conn: Connection, bucket: BucketName, keys: Sequence[str], now: float) -> dict[str, str]:
        """See ``KeyIndex.md5s``."""
        found = conn.execute(self._md5s, {"in_bucket": str(bucket), "names": list(keys), "now": now})
        return {row.key: row.md5 for row in found}

    def drop_several(
        self,
        conn: Connection,
        bucket: BucketName,
        records: Sequence[Record],
        now: float,
        job: str | None = None,
        lifecycle: Lifecycle = NO_LIFECYCLE,
    ) -> None:
        """Make visible versions invisible, like ``delete``. The caller holds the bucket for writing."""
        if not records:
            return
        changes = Changes()
        for record in records:
            changes.note(record.vfolder, -record.size, -1)
        conn.execute(self._delete_several, {"in_bucket": str(bucket), "names": [record.key for record in records]})
        concern = self._buckets.add_usage(conn, bucket, -sum(record.size for record in records), -len(records))
        self._tell(conn, concern, EventType.DELETED, records, now)
        self._folders.add(conn, bucket, changes)
        self._buckets.raise_generation(conn, bucket, 1 + max(record.generation for record in records))
        self._unname(conn, bucket, records, now, lifecycle)
        self._purges.queue_several(conn, bucket, [(record.key, record.size) for record in records], now, job)

    def restore(
        self, conn: Connection, bucket: BucketName, key: str, generation: int | None, now: float, *, over: bool
    ) -> Record:
        """See ``Trash.restore``."""
        held = self._buckets.hold(conn, bucket)
        previous = self.get(conn, bucket, key)
        if living(previous, now) is not None and not over:
            raise PreconditionFailed(f"There is a key {key!r} in {bucket} now; to replace it, say so: over (--over).")
        found = self._trash.take(conn, bucket, key, generation, now)
        following = max(held.first_generation, previous.generation + 1 if previous is not None else 0)
        record = restored(found, following, now, held.lifecycle.rules)
        self.put(conn, record, previous, held.lifecycle, Amount(found.size, 1))
        return record

    def withdraw(
        self, conn: Connection, bucket: BucketName, seen: Sequence[Record], now: float, job: str
    ) -> list[Record]:
        """Delete a mirror's copies, but those that have changed since they were seen; which were deleted.

        The caller holds the bucket for writing.
        """
        found = {record.key: record for record in self.several(conn, bucket, [record.key for record in seen])}
        still = [record for record in seen if _is_still(found.get(record.key), record)]
        self.drop_several(conn, bucket, still, now, job)
        return still

    def invalidate(self, conn: Connection, seen: Record, now: float, job: str | None = None) -> bool:
        """Have a copy confirmed before it is used again, unless it has changed since it was seen; edges forget it."""
        if not _is_still(self.get(conn, seen.bucket, seen.key), seen):
            return False
        one = {"in_bucket": str(seen.bucket), "of_key": seen.key, "of_generation": seen.generation, "now": now}
        conn.execute(self._invalidate, one)
        self._purges.queue(conn, seen.bucket, seen.key, seen.size, now, job)
        return True

    def invalidate_key(self, conn: Connection, bucket: BucketName, key: str, now: float) -> bool:
        """See ``KeyIndex.invalidate``."""
        self._buckets.write(conn, bucket)
        seen = self.get(conn, bucket, key)
        return seen is not None and self.invalidate(conn, seen, now)

    def touch(
        self, conn: Connection, bucket: BucketName, key: str, generation: int, now: float, origin: OriginFacts | None
    ) -> None:
        """See ``KeyIndex.touch``. What was invalidated since the origin was asked stays invalid."""
        one = {"in_bucket": str(bucket), "of_key": key, "of_generation": generation, "now": now}
        if origin is None:
            conn.execute(self._touch, {**one, "asked": now})
        else:
            conn.execute(self._confirm, {**one, "asked": origin.request_time or now, "facts": to_json(origin)})


def _is_still(record: Record | None, seen: Record) -> bool:
    """Whether the visible version is the one that was seen, and a mirror's copy."""
    return record is not None and record.generation == seen.generation and record.origin is not None


class SqlKeyIndex:
    """``KeyIndex`` in SQL."""

    def __init__(
        self, db: Runner, statements: KeyStatements, listing: ListingStatements, folders: FolderStatements
    ) -> None:
        self._db = db
        self._sql = statements
        self._listing = listing
        self._folders = folders

    async def get(self, bucket: BucketName, key: str) -> Record | None:
        """The visible version of a key."""
        return await self._db.read_one(self._sql.get, bucket, key)

    async def listing(self, bucket: BucketName, query: ListQuery) -> Page:
        """One page in byte order. Raises BucketNotFound and InvalidCursor."""
        return await self._db.read(self._listing.listing, bucket, query)

    async def md5s(self, bucket: BucketName, keys: Sequence[str], now: float) -> Mapping[str, str]:
        """The md5 of those keys that are there and have not ended."""
        return await self._db.read_one(self._sql.md5s, bucket, keys, now)

    async def usage(self, bucket: BucketName, vfolder: str, limit: int, cursor: str | None) -> FolderUsage | None:
        """What a folder holds, and a page of its sub-folders. Raises BucketNotFound and InvalidCursor."""
        return await self._db.read(self._folders.usage, bucket, vfolder, limit, cursor)

    async def delete(self, bucket: BucketName, key: str, now: float) -> None:
        """Make a key invisible and queue its bytes for removal. Raises KeyNotFound, BucketNotFound."""
        await self._db.write(self._sql.delete, bucket, key, now)

    async def touch(
        self, bucket: BucketName, key: str, generation: int, now: float, origin: OriginFacts | None = None
    ) -> None:
        """Note that the origin confirmed this version now."""
        await self._db.write_relaxed(self._sql.touch, bucket, key, generation, now, origin)

    async def invalidate(self, bucket: BucketName, key: str, now: float) -> bool:
        """Have a mirror's copy confirmed before it is used again."""
        return await self._db.write(self._sql.invalidate_key, bucket, key, now)
