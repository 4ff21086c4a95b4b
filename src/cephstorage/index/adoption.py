"""Adoption: records that are rebuilt from the store, when the index has been lost or lacks them.

The bucket's row is locked as for a publication, so that usage stays exact. What a transfer is storing, and
what waits for its removal, is left alone.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, insert, select, update

from cephstorage.domain.lifecycle import Lifecycle, ending
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import Record, attempt_of
from cephstorage.domain.serialise import from_json
from cephstorage.domain.transfers import Plan, State
from cephstorage.domain.webhooks import EventType
from cephstorage.index.buckets import BucketStatements
from cephstorage.index.rows import RECORD_COLUMNS, record_of, record_values
from cephstorage.index.runner import Runner
from cephstorage.index.schema import Schema
from cephstorage.index.tables.columns import word
from cephstorage.index.tree import Changes, FolderStatements
from cephstorage.index.webhooks import EventStatements
from cephstorage.ports.index import Adopted


class AdoptionStatements:
    """Statements that take records over."""

    def __init__(
        self, schema: Schema, buckets: BucketStatements, folders: FolderStatements, events: EventStatements
    ) -> None:
        self._buckets = buckets
        self._events = events
        self._folders = folders
        keys, removals, transfers = schema.keys, schema.removals, schema.transfers
        here = keys.c.bucket == bindparam("in_bucket")
        named: BindParameter[Any] = bindparam("names", expanding=True)
        self._visible = select(*(keys.c[name] for name in RECORD_COLUMNS)).where(here, keys.c.key.in_(named))
        self._insert = insert(keys)
        self._replace = update(keys).where(here, keys.c.key == bindparam("of_key"))
        self._leaving = select(removals.c.store_version).where(
            removals.c.bucket == bindparam("in_bucket"), removals.c.key.in_(named)
        )
        trash = schema.trash
        self._kept = select(trash.c.store_version).where(
            trash.c.bucket == bindparam("in_bucket"), trash.c.key.in_(named)
        )
        self._coming = select(transfers.c.plan).where(
            transfers.c.state == word(State.INPROGRESS),
            transfers.c.plan.is_not(None),
            transfers.c.bucket == bindparam("in_bucket"),
        )

    def adopt(self, conn: Connection, bucket: BucketName, records: Sequence[Record], now: float) -> Adopted:
        """See ``Adoption.adopt``."""
        held = self._buckets.hold(conn, bucket)
        visible = self.visible(conn, bucket, [record.key for record in records])
        passing = self._passing(conn, bucket, records)
        new: dict[str, Record] = {}
        contested, known, older = [], 0, 0
        for record in records:
            other = new.get(record.key) or visible.get(record.key)
            same = other is not None and attempt_of(other.store_version) == attempt_of(record.store_version)
            if same:
                known += 1
            elif attempt_of(record.store_version) in passing or (other and other.generation > record.generation):
                older += 1
            elif other is not None and other.generation == record.generation:
                contested.append((record, other))
            else:
                older += record.key in new
                new[record.key] = record if record.generation else replace(record, generation=held.first_generation)
        self._put(conn, bucket, [_living(each, held.lifecycle, now) for each in new.values()], visible, now)
        self._buckets.raise_generation(conn, bucket, 1 + max((each.generation for each in records), default=0))
        return Adopted(len(new), known, older, tuple(contested))

    def prefer(self, conn: Connection, record: Record, visible: Record, now: float) -> bool:
        """See ``Adoption.prefer``."""
        lifecycle = self._buckets.hold(conn, record.bucket).lifecycle
        seen = self.visible(conn, record.bucket, [record.key])
        if (there := seen.get(record.key)) is None or there.store_version != visible.store_version:
            return False
        self._put(conn, record.bucket, [_living(record, lifecycle, now)], seen, now)
        return True

    def visible(self, conn: Connection, bucket: BucketName, keys: Sequence[str]) -> dict[str, Record]:
        """See ``Adoption.visible``."""
        found = conn.execute(self._visible, {"in_bucket": str(bucket), "names": list(keys)})
        return {row.key: record_of(bucket, row) for row in found}

    def _passing(self, conn: Connection, bucket: BucketName, records: Sequence[Record]) -> set[str]:
        """The attempts that are on their way into the store or out of it, or in the trash."""
        here = {"in_bucket": str(bucket)}
        plans = conn.scalars(self._coming, here).all()  # first: of one that fails meanwhile the version is leaving then
        coming = (from_json(Plan, plan).store_version for plan in plans)
        leaving = conn.scalars(self._leaving, {**here, "names": [each.key for each in records]})
        kept = conn.scalars(self._kept, {**here, "names": [each.key for each in records]})
        return {attempt_of(version) for version in (*leaving, *coming, *kept)}

    def _put(
        self, conn: Connection, bucket: BucketName, records: Iterable[Record], visible: dict[str, Record], now: float
    ) -> None:
        first, size, highest = [], 0, 0
        come, grown = Changes(), Changes()
        for record in records:
            values, before = record_values(record), visible.get(record.key)
            more = record.size - (before.size if before is not None else 0)
            size, highest = size + more, max(highest, record.generation)
            if before is None:
                first.append(values)
                come.note(record.vfolder, more, 1)
                continue
            grown.note(record.vfolder, more, 0)
            changing = {name: values[name] for name in RECORD_COLUMNS if name != "key"}
            conn.execute(self._replace, {**changing, "in_bucket": str(bucket), "of_key": record.key})
        if first:
            conn.execute(self._insert, first)
        if self._buckets.add_usage(conn, bucket, size, len(first), highest).told:
            self._events.changed(conn, EventType.CREATED, records, now)
        for changes in (come, grown):
            self._folders.add(conn, bucket, changes)


def _living(record: Record, lifecycle: Lifecycle, now: float) -> Record:
    """A record as its bucket lets it live: the days of a rule count from now, so that nothing ends as it is found."""
    return replace(record, expires_at=ending(record.key, now, record.expires, lifecycle.rules))


class SqlAdoption:
    """``Adoption`` in SQL. What is adopted was not changed by us: its events have the time at which it was noticed."""

    def __init__(self, db: Runner, statements: AdoptionStatements) -> None:
        self._db = db
        self._sql = statements

    async def visible(self, bucket: BucketName, keys: Sequence[str]) -> Mapping[str, Record]:
        """The visible records of some keys."""
        return await self._db.read(self._sql.visible, bucket, keys)

    async def adopt(self, bucket: BucketName, records: Sequence[Record]) -> Adopted:
        """Take over records. Raises BucketNotFound."""
        return await self._db.write(self._sql.adopt, bucket, records, time.time())

    async def prefer(self, record: Record, visible: Record) -> bool:
        """Make a record visible in place of another one."""
        return await self._db.write(self._sql.prefer, record, visible, time.time())
