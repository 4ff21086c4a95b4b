"""Landing: the publisher's transactions.

The landing lease of a key is a row that names a transfer; it counts while that transfer is in progress
under a live lease, so that it needs no time of its own and ends with the transfer, however that ends.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from cephstorage.domain.errors import LeaseLost, PreconditionFailed
from cephstorage.domain.lifecycle import ending
from cephstorage.domain.names import BucketName
from cephstorage.domain.quotas import NOTHING, Amount
from cephstorage.domain.records import Record, attempt_of, living
from cephstorage.domain.serialise import from_json, to_json
from cephstorage.domain.transfers import Kind, Lease, Phase, Plan, State, TransferRequest
from cephstorage.index.buckets import BucketStatements, Held
from cephstorage.index.keys import KeyStatements
from cephstorage.index.leases import LeaseStatements
from cephstorage.index.removals import RemovalStatements
from cephstorage.index.rows import transfer_of
from cephstorage.index.runner import Runner
from cephstorage.index.schema import Schema
from cephstorage.index.tables.columns import word
from cephstorage.index.trash import TrashStatements
from cephstorage.ports.index import Removal


class LandingStatements:
    """Statements that plan and publish."""

    def __init__(
        self,
        schema: Schema,
        buckets: BucketStatements,
        keys: KeyStatements,
        leases: LeaseStatements,
        trash: TrashStatements,
    ) -> None:
        self._trash = trash
        self._buckets = buckets
        self._keys = keys
        self._leases = leases
        landing, transfers = schema.landing_leases, schema.transfers
        this_key = (landing.c.bucket == bindparam("in_bucket")) & (landing.c.key == bindparam("of_key"))
        self._holder = select(landing.c.transfer_id).where(this_key).with_for_update()
        self._alive = select(transfers.c.id).where(
            transfers.c.id == bindparam("of_id"),
            transfers.c.state == word(State.INPROGRESS),
            transfers.c.owner.is_not(None),
            transfers.c.lease_until > bindparam("now"),
        )
        self._plans = select(transfers.c.plan).where(
            transfers.c.state == word(State.INPROGRESS),
            transfers.c.plan.is_not(None),
            transfers.c.bucket == bindparam("in_bucket"),
            transfers.c.key == bindparam("of_key"),
        )
        self._all_plans = select(transfers.c.plan).where(
            transfers.c.state == word(State.INPROGRESS), transfers.c.plan.is_not(None)
        )
        self._all_buckets = select(schema.buckets.c.name).order_by(schema.buckets.c.name)
        self._take = insert(landing)
        self._take_over = update(landing).where(this_key)

    def plan(self, conn: Connection, lease: Lease, plan: Plan, now: float) -> int | None:
        """See ``LandingIndex.plan``. A plan that replaces another one queues the older version for removal."""
        row = self._leases.held(conn, lease)
        transfer = transfer_of(row)
        bucket = transfer.request.bucket
        first_generation = self._buckets.require(conn, bucket)
        previous = self._keys.get(conn, bucket, row.key)
        _check(transfer.request, previous, now)
        if not self._take_key(conn, row, now):
            return None
        self._leases.drop_plan(conn, row, unless=plan.store_version)
        values = {"plan": to_json(plan), "phase": Phase.STORING.value, "updated_at": now}
        self._leases.overwrite(conn, row.id, values)
        return _generation(previous, first_generation)

    def note_version(self, conn: Connection, lease: Lease, store_version: str) -> None:
        """See ``LandingIndex.note_version``."""
        row = self._leases.held(conn, lease)
        if row.plan is None:
            raise LeaseLost(f"The transfer {row.id} has no plan.")
        self._leases.overwrite(conn, row.id, {"plan": to_json(_stored(from_json(Plan, row.plan), store_version))})

    def _take_key(self, conn: Connection, row: Row[Any], now: float) -> bool:
        """Take the key's landing lease unless another live transfer has it."""
        key = {"in_bucket": row.bucket, "of_key": row.key}
        holder = conn.scalar(self._holder, key)
        if holder is None:
            conn.execute(self._take, {"bucket": row.bucket, "key": row.key, "transfer_id": row.id})
        elif holder != row.id:
            if conn.scalar(self._alive, {"of_id": holder, "now": now}) is not None:
                return False
            conn.execute(self._take_over, {**key, "transfer_id": row.id})
        return True

    def disown(self, conn: Connection, removals: RemovalStatements, bucket: BucketName, key: str, version: str) -> None:
        """See ``LandingIndex.disown``.

        Plans are looked at first: one that is published in between is then found in the record.
        """
        plans = conn.scalars(self._plans, {"in_bucket": str(bucket), "of_key": key}).all()
        named = {attempt_of(from_json(Plan, plan).store_version) for plan in plans}
        record = self._keys.get(conn, bucket, key)
        if record is not None:
            named.add(attempt_of(record.store_version))
        named |= {attempt_of(kept) for kept in self._trash.versions(conn, bucket, key)}
        if attempt_of(version) not in named:
            removals.queue(conn, bucket, key, version)

    def buckets(self, conn: Connection) -> list[BucketName]:
        """See ``LandingIndex.buckets``."""
        return [BucketName.parse(name) for name in conn.scalars(self._all_buckets)]

    def planned_versions(self, conn: Connection) -> list[str]:
        """See ``LandingIndex.planned_versions``."""
        return [from_json(Plan, plan).store_version for plan in conn.scalars(self._all_plans)]

    def publish(self, conn: Connection, lease: Lease, now: float, store_version: str | None) -> Record:
        """See ``LandingIndex.publish``."""
        row = self._leases.held(conn, lease)
        transfer = transfer_of(row)
        if transfer.plan is None or not self._take_key(conn, row, now):
            raise LeaseLost(f"The transfer {row.id} has no plan, or another one is landing on its key.")
        plan = _stored(transfer.plan, store_version or transfer.plan.store_version)
        held = self._hold_buckets(conn, transfer.request)
        previous = self._keys.get(conn, transfer.request.bucket, transfer.request.key)
        _check(transfer.request, previous, now)
        freed = self._move_source(conn, transfer.request, now)
        record = _record(transfer.request, plan, _generation(previous, held.first_generation), now)
        record = replace(record, expires_at=ending(record.key, now, record.expires, held.lifecycle.rules))
        self._keys.put(conn, record, previous, held.lifecycle, freed)
        self._leases.free_key(conn, row)
        self._succeed(conn, row, record.size, now)
        return record

    def _hold_buckets(self, conn: Connection, request: TransferRequest) -> Held:
        """Lock what changes: of two buckets the first by name first, as everybody does."""
        moved = request.copy_of.bucket if request.copy_of is not None and request.copy_of.moves else request.bucket
        held = {bucket: self._buckets.hold(conn, bucket) for bucket in sorted({request.bucket, moved}, key=str)}
        return held[request.bucket]

    def _move_source(self, conn: Connection, request: TransferRequest, now: float) -> Amount:
        """Of a rename: the very version that was copied goes. Raises PreconditionFailed when there is another one.

        The room that this makes in the bucket.
        """
        source = request.copy_of
        if source is None or not source.moves:
            return NOTHING
        record = self._keys.get(conn, source.bucket, source.key)
        if record is None or (record.generation, record.store_version) != (source.generation, source.store_version):
            raise PreconditionFailed(f"The key {source.key!r} in {source.bucket} has changed since its renaming began.")
        self._keys.drop(conn, record, now)
        return Amount(record.size, 1) if source.bucket == request.bucket else NOTHING

    def published(self, conn: Connection, bucket: BucketName, key: str, store_version: str) -> Record | None:
        """See ``LandingIndex.published``."""
        record = self._keys.get(conn, bucket, key)
        same = record is not None and attempt_of(record.store_version) == attempt_of(store_version)
        return record if same else None

    def _succeed(self, conn: Connection, row: Row[Any], size: int, now: float) -> None:
        """End the transfer. Nobody has a fill's token, so that its row has done its work."""
        if row.kind == Kind.FILL:
            self._leases.drop(conn, row.id)
            return
        values = {"state": State.SUCCESS.value, "phase": Phase.ENDED.value, "updated_at": now, "ended_at": now}
        values |= {"owner": None, "lease_until": 0.0, "error_code": None, "error_msg": None}
        self._leases.overwrite(conn, row.id, {**values, "bytes_done": size, "bytes_total": size})


def _stored(plan: Plan, store_version: str) -> Plan:
    """The plan with a fuller name of its version. Raises LeaseLost when that is of another attempt."""
    if attempt_of(plan.store_version) != attempt_of(store_version):
        raise LeaseLost(f"The version {plan.store_version} is planned now, not {store_version}.")
    return replace(plan, store_version=store_version)


def _generation(previous: Record | None, first_generation: int) -> int:
    return max(previous.generation + 1, first_generation) if previous is not None else first_generation


def _record(request: TransferRequest, plan: Plan, generation: int, now: float) -> Record:
    return Record(
        bucket=request.bucket,
        key=request.key,
        ts=plan.ts,
        md5=plan.md5,
        content_type=plan.content_type,
        size=plan.size,
        generation=generation,
        etag=plan.public.etag,
        last_modified=plan.public.last_modified,
        store_version=plan.store_version,
        source=plan.source,
        validated_at=now,
        origin=plan.origin,
        metadata=plan.metadata,
        expires=plan.expires,
        expires_at=plan.expires,
    )


def _check(request: TransferRequest, present: Record | None, now: float) -> None:
    """Raise PreconditionFailed unless the key is as the request wants it.

    A fill replaces the version that it has seen and no newer one: a key that was uploaded, replaced or
    deleted while the fill ran is not overwritten.
    """
    record = living(present, now)
    if not request.precondition.holds(record.etag if record is not None else None, exists=record is not None):
        raise PreconditionFailed(f"The precondition does not hold for {request.key!r} in {request.bucket}.")
    generation = record.generation if record is not None else 0
    if request.kind is Kind.FILL and generation != request.seen_generation:
        raise PreconditionFailed(f"The key {request.key!r} in {request.bucket} has changed since the fill began.")


class SqlLandingIndex:
    """``LandingIndex`` in SQL. Everything here is durable: what is stored must be known after a power failure."""

    def __init__(self, db: Runner, statements: LandingStatements, removals: RemovalStatements) -> None:
        self._db = db
        self._sql = statements
        self._removals = removals

    async def plan(self, lease: Lease, plan: Plan, now: float) -> int | None:
        """Write the plan and take the key's landing lease. Raises LeaseLost, BucketNotFound, PreconditionFailed."""
        return await self._db.write(self._sql.plan, lease, plan, now)

    async def note_version(self, lease: Lease, store_version: str) -> None:
        """Keep a fuller name of the planned version. Raises LeaseLost."""
        await self._db.write(self._sql.note_version, lease, store_version)

    async def publish(self, lease: Lease, now: float, store_version: str | None = None) -> Record:
        """Make the planned version visible. Raises LeaseLost, BucketNotFound, PreconditionFailed."""
        return await self._db.write(self._sql.publish, lease, now, store_version)

    async def published(self, bucket: BucketName, key: str, store_version: str) -> Record | None:
        """The visible record, if it names the attempt of this version."""
        return await self._db.read_one(self._sql.published, bucket, key, store_version)

    async def disown(self, bucket: BucketName, key: str, store_version: str) -> None:
        """Have a version removed that was stored and not published, unless somebody names it."""
        await self._db.write_relaxed(self._sql.disown, self._removals, bucket, key, store_version)

    async def remove(self, bucket: BucketName, key: str, store_version: str) -> None:
        """Have something removed from the store."""
        await self._db.write_relaxed(self._removals.queue, bucket, key, store_version)

    async def removals(self, limit: int, after: int = 0) -> Sequence[Removal]:
        """Bytes to remove, oldest first."""
        return await self._db.read_one(self._removals.oldest, limit, after)

    async def newest_removal(self) -> int:
        """The highest number in the queue."""
        return await self._db.read(self._removals.newest)

    async def removed(self, ids: Sequence[int]) -> None:
        """Note that these bytes are gone. Relaxed: removing them again is harmless."""
        await self._db.write_relaxed(self._removals.done, ids)

    async def buckets(self) -> Sequence[BucketName]:
        """Every bucket."""
        return await self._db.read(self._sql.buckets)

    async def planned_versions(self) -> Sequence[str]:
        """What transfers in progress are storing."""
        return await self._db.read(self._sql.planned_versions)
