"""What the index knows of keys that are held against the store, and the changes that follow from that.

All that speaks of a version is read in one snapshot: records, the trash, plans, the queue of removals. A change looks
again in its own transaction, under the bucket's lock, so that nothing that moves meanwhile is touched.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, select

from cephstorage.domain.consistency import Known, Seen, identity_of
from cephstorage.domain.lifecycle import ending
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import Record, attempt_of
from cephstorage.domain.serialise import from_json
from cephstorage.domain.transfers import Plan, State
from cephstorage.index.buckets import BucketStatements
from cephstorage.index.keys import KeyStatements
from cephstorage.index.removals import RemovalStatements
from cephstorage.index.runner import Runner
from cephstorage.index.schema import Schema
from cephstorage.index.tables.columns import word


class ConsistencyStatements:
    """Statements over all that may name a version."""

    def __init__(
        self, schema: Schema, buckets: BucketStatements, keys: KeyStatements, queue: RemovalStatements
    ) -> None:
        self._buckets = buckets
        self._removals = queue
        self._keys = keys
        removals, trash, transfers = schema.removals, schema.trash, schema.transfers
        names: BindParameter[Any] = bindparam("names", expanding=True)
        ids: BindParameter[Any] = bindparam("ids", expanding=True)
        bucket: BindParameter[str] = bindparam("in_bucket")
        self._since = select(schema.buckets.c.created_at).where(schema.buckets.c.name == bucket)
        self._leaving = select(removals.c.key, removals.c.store_version).where(
            removals.c.bucket == bucket, removals.c.key.in_(names)
        )
        self._trashed = select(trash.c.key, trash.c.store_version).where(
            trash.c.bucket == bucket, trash.c.key.in_(names)
        )
        self._coming = select(transfers.c.key, transfers.c.plan).where(
            transfers.c.state == word(State.INPROGRESS),
            transfers.c.plan.is_not(None),
            transfers.c.bucket == bucket,
            transfers.c.key.in_(names),
        )
        self._ended = select(transfers.c.key, transfers.c.id, transfers.c.ended_at).where(
            transfers.c.id.in_(ids), transfers.c.bucket == bucket, transfers.c.state != word(State.INPROGRESS)
        )

    def known(
        self, conn: Connection, bucket: BucketName, keys: Sequence[str], transfers: Sequence[str]
    ) -> dict[str, Known]:
        """See ``ConsistencyIndex.known``."""
        here = {"in_bucket": str(bucket), "names": list(keys)}
        records = {record.key: record for record in self._keys.several(conn, bucket, keys)}
        plans = conn.execute(self._coming, here).all()  # first: of one that fails meanwhile the version is leaving then
        coming = _grouped((key, attempt_of(from_json(Plan, plan).store_version)) for key, plan in plans)
        leaving, kept = _grouped(conn.execute(self._leaving, here)), _grouped(conn.execute(self._trashed, here))
        asked = {"in_bucket": str(bucket), "ids": list(transfers)}
        ended: defaultdict[str, dict[str, float]] = defaultdict(dict)
        for key, transfer, ended_at in conn.execute(self._ended, asked) if transfers else ():
            ended[key][transfer] = ended_at
        nothing, since = frozenset[str](), conn.scalar(self._since, {"in_bucket": str(bucket)}) or 0.0
        return {
            key: Known(
                records.get(key),
                leaving.get(key, nothing),
                kept.get(key, nothing),
                coming.get(key, nothing),
                ended.get(key, {}),
                since,
            )
            for key in keys
        }

    def adopt(self, conn: Connection, record: Record, in_place_of: Record | None, now: float) -> Record | None:
        """See ``ConsistencyIndex.adopt``."""
        held = self._buckets.hold(conn, record.bucket)
        known = self.known(conn, record.bucket, [record.key], ())[record.key]
        identity = identity_of(record.store_version)
        seen = Seen(record.key, identity, store_version=record.store_version)
        if not _same(known.record, in_place_of) or known.tends(seen):
            return None
        following = in_place_of.generation + 1 if in_place_of is not None else 0
        ends = ending(record.key, now, record.expires, held.lifecycle.rules)
        adopted = replace(record, generation=max(held.first_generation, following), validated_at=now, expires_at=ends)
        self._keys.put(conn, adopted, known.record, held.lifecycle)
        return adopted

    def drop(self, conn: Connection, record: Record, now: float) -> bool:
        """See ``ConsistencyIndex.drop``."""
        lifecycle = self._buckets.hold(conn, record.bucket).lifecycle
        if not _same(self._keys.get(conn, record.bucket, record.key), record):
            return False
        self._keys.drop_several(conn, record.bucket, [record], now, lifecycle=lifecycle)
        return True

    def release(self, conn: Connection, bucket: BucketName, key: str, store_versions: Sequence[str]) -> int:
        """See ``ConsistencyIndex.release``."""
        self._buckets.write(conn, bucket)
        known = self.known(conn, bucket, [key], ())[key]
        seen = [Seen(key, identity_of(name), store_version=name) for name in store_versions]
        free = [(key, each.store_version) for each in seen if not known.names(each) and not known.tends(each)]
        if free:
            self._removals.queue_several(conn, bucket, free)
        return len(free)


def _same(record: Record | None, seen: Record | None) -> bool:
    """Whether the key still has the version that was seen, or none."""
    if record is None or seen is None:
        return record is seen
    return (record.generation, record.store_version) == (seen.generation, seen.store_version)


def _grouped(pairs: Any) -> dict[str, frozenset[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for key, name in pairs:
        found[key].add(name)
    return {key: frozenset(names) for key, names in found.items()}


class SqlConsistency:
    """``ConsistencyIndex`` in SQL."""

    def __init__(self, db: Runner, statements: ConsistencyStatements) -> None:
        self._db = db
        self._sql = statements

    async def known(
        self, bucket: BucketName, keys: Sequence[str], transfers: Sequence[str] = ()
    ) -> Mapping[str, Known]:
        """What is known of keys, in one snapshot."""
        return await self._db.read(self._sql.known, bucket, keys, transfers)

    async def adopt(self, record: Record, in_place_of: Record | None, now: float) -> Record | None:
        """Make what lies in the store visible. Raises BucketNotFound."""
        return await self._db.write(self._sql.adopt, record, in_place_of, now)

    async def drop(self, record: Record, now: float) -> bool:
        """Delete a key, unless it has changed. Raises BucketNotFound."""
        return await self._db.write(self._sql.drop, record, now)

    async def release(self, bucket: BucketName, key: str, store_versions: Sequence[str]) -> int:
        """Have versions removed that nothing names."""
        return await self._db.write(self._sql.release, bucket, key, store_versions)
