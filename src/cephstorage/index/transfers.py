"""Transfers: how they come into being, and the ledger that ``ports.ledger`` describes."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import BindParameter, Connection, Row, Select, bindparam, delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from cephstorage.domain.errors import (
    CephStorageError,
    IdempotencyMismatch,
    OriginChanged,
    PreconditionFailed,
    TransferCancelled,
    TransferEnded,
    TransferNotFound,
)
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import NO_PRECONDITION, Record, living
from cephstorage.domain.serialise import to_json
from cephstorage.domain.transfers import Kind, Lease, Phase, Plan, State, Transfer, TransferRequest
from cephstorage.index.buckets import BucketStatements
from cephstorage.index.keys import KeyStatements
from cephstorage.index.leases import LeaseStatements
from cephstorage.index.quotas import QuotaStatements
from cephstorage.index.rows import request_json, transfer_of
from cephstorage.index.schema import Schema
from cephstorage.index.tables.columns import word
from cephstorage.ports.ledger import FillSlot, NewTransfer

_FIRST_FENCE = 1
_AT_ONCE = 1000


def _new_row(new: NewTransfer, now: float) -> dict[str, Any]:
    """The row of a queued transfer."""
    return {
        "id": new.id,
        "token": new.token,
        "kind": new.request.kind.value,
        "bucket": str(new.request.bucket),
        "key": new.request.key,
        "request": request_json(new.request),
        "fingerprint": new.fingerprint,
        "state": State.INPROGRESS.value,
        "phase": Phase.QUEUED.value,
        "created_at": now,
        "updated_at": now,
        "bytes_done": 0,
        "bytes_total": None,
        "attempts": 0,
        "not_before": now,
        "due_at": now,
        "owner": None,
        "fence": 0,
        "lease_until": 0.0,
        "plan": None,
    }


def _leased(owner: str, fence: int, lease_until: float) -> dict[str, Any]:
    """Values of a row that somebody takes; what was reserved of quotas before is not theirs."""
    held = {"reserved_size": 0, "reserved_keys": 0}
    return {"owner": owner, "fence": fence, "lease_until": lease_until, "due_at": lease_until, **held}


def _begun_row(new: NewTransfer, owner: str, now: float, lease_until: float) -> dict[str, Any]:
    """The row of a transfer that begins at once."""
    return {**_new_row(new, now), **_leased(owner, _FIRST_FENCE, lease_until), "phase": Phase.FETCHING.value}


class TransferStatements:
    """Statements that make, find and forget transfers."""

    def __init__(
        self,
        schema: Schema,
        buckets: BucketStatements,
        keys: KeyStatements,
        leases: LeaseStatements,
        quotas: QuotaStatements,
    ) -> None:
        self._buckets = buckets
        self._quotas = quotas
        self._keys = keys
        self._leases = leases
        transfers, known = schema.transfers, schema.idempotency
        c = transfers.c
        running = c.state == word(State.INPROGRESS)
        self._insert = insert(transfers)
        unless_there: Any = postgresql.insert(transfers) if transfers.schema else sqlite.insert(transfers)
        self._insert_fill = unless_there.on_conflict_do_nothing().execution_options(preserve_rowcount=True)
        self._remember = insert(known)
        names: BindParameter[Any] = bindparam("names", expanding=True)
        self._same_requests = select(c.fingerprint, c.id, c.token).where(running, c.fingerprint.in_(names))
        self._same_keys = (
            select(known.c.key, known.c.fingerprint, c.token)
            .join(transfers, c.id == known.c.transfer_id)
            .where(known.c.key.in_(names))
        )
        self._fill = select(transfers).where(
            running,
            c.kind == word(Kind.FILL),
            c.bucket == bindparam("in_bucket"),
            c.key == bindparam("of_key"),
        )
        self._by_token = select(transfers).where(c.token == bindparam("token"))
        self._in_progress = select(c.id).where(running)
        oldest = select(c.id).where(c.ended_at < bindparam("before")).order_by(c.ended_at).limit(bindparam("limit"))
        self._forget = delete(transfers).where(c.id.in_(oldest))

    def create(self, conn: Connection, transfers: Sequence[NewTransfer], now: float) -> list[str]:
        """See ``TransferLedger.create``. However many there are, it takes a few statements a thousand."""
        for bucket in sorted({new.request.bucket for new in transfers}, key=str):
            self._buckets.require(conn, bucket)
        keys = [new.idempotency_key for new in transfers if new.idempotency_key is not None]
        replayed = {row.key: (row.fingerprint, row.token) for row in self._some(conn, self._same_keys, keys)}
        prints = [new.fingerprint for new in transfers if new.fingerprint]
        running = {row.fingerprint: (row.id, row.token) for row in self._some(conn, self._same_requests, prints)}
        there = self._records(conn, transfers, now)
        rows, remembered, tokens = [], [], []
        for new in transfers:
            if (known := replayed.get(new.idempotency_key)) is not None:
                if known[0] != new.fingerprint:
                    raise IdempotencyMismatch("This Idempotency-Key was used before for a different request.")
                tokens.append(known[1])
                continue
            same = running.get(new.fingerprint)
            if same is None:
                _require(new.request, there.get((new.request.bucket, new.request.key)))
                rows.append(_new_row(new, now))
                same = new.id, new.token
                if new.fingerprint is not None:
                    running[new.fingerprint] = same
            if new.idempotency_key is not None:
                row = {"key": new.idempotency_key, "transfer_id": same[0], "fingerprint": new.fingerprint}
                remembered.append(row)
                replayed[new.idempotency_key] = new.fingerprint, same[1]
            tokens.append(same[1])
        for statement, values in ((self._insert, rows), (self._remember, remembered)):
            if values:
                conn.execute(statement, values if len(values) > 1 else values[0])
        return tokens

    def _some(self, conn: Connection, statement: Select[Any], names: Sequence[str]) -> Iterator[Row[Any]]:
        """What a statement finds under any of some names."""
        for start in range(0, len(names), _AT_ONCE):
            yield from conn.execute(statement, {"names": names[start : start + _AT_ONCE]})

    def _records(
        self, conn: Connection, transfers: Sequence[NewTransfer], now: float
    ) -> dict[tuple[BucketName, str], Record]:
        """The living versions of the keys whose state is a condition."""
        asked: defaultdict[BucketName, list[str]] = defaultdict(list)
        for new in transfers:
            if new.request.precondition != NO_PRECONDITION:
                asked[new.request.bucket].append(new.request.key)
        found: dict[tuple[BucketName, str], Record] = {}
        for bucket, keys in asked.items():
            for start in range(0, len(keys), _AT_ONCE):
                for record in self._keys.several(conn, bucket, keys[start : start + _AT_ONCE]):
                    if not record.expired(now):
                        found[bucket, record.key] = record
        return found

    def _check_precondition(self, conn: Connection, request: TransferRequest, now: float) -> None:
        if request.precondition != NO_PRECONDITION:
            _require(request, living(self._keys.get(conn, request.bucket, request.key), now))

    def begin_fill(self, conn: Connection, new: NewTransfer, owner: str, now: float, lease_until: float) -> FillSlot:
        """See ``TransferLedger.begin_fill``.

        The slot is taken before the record is looked at: whoever had it before has published by then.
        """
        request = new.request
        begun = _begun_row(new, owner, now, lease_until)
        taken = conn.execute(self._insert_fill, begun).rowcount > 0
        generation, bounded = self._keys.before_fill(conn, request.bucket, request.key, now)
        if generation != request.seen_generation:
            if taken:
                self._leases.drop(conn, new.id)
            return FillSlot(None)
        if taken:
            return FillSlot(Lease(new.id, owner, _FIRST_FENCE), bounded=bounded)
        slot = {"in_bucket": str(request.bucket), "of_key": request.key}
        found = conn.execute(self._fill.with_for_update(), slot).first()
        if found is None:
            return self.begin_fill(conn, new, owner, now, lease_until)  # it has just ended
        older = transfer_of(found)
        if older.owner is not None and older.lease_until > now:
            return FillSlot(None, older.owner)
        if _same_movement(older.request, request):
            values = {**_leased(owner, older.fence + 1, lease_until), "updated_at": now}
            self._leases.overwrite(conn, older.id, values)
            left = conn.execute(self._by_token, {"token": older.token}).one()
            return FillSlot(Lease(older.id, owner, older.fence + 1), None, transfer_of(left), bounded)
        reason = OriginChanged("The fill's owner died, and another version or address is asked for now.")
        self._leases.end(conn, found, now, reason)
        conn.execute(self._insert, begun)
        return FillSlot(Lease(new.id, owner, _FIRST_FENCE), bounded=bounded)

    def begin_upload(
        self, conn: Connection, new: NewTransfer, plan: Plan, owner: str, now: float, lease_until: float
    ) -> Lease:
        """See ``TransferLedger.begin_upload``."""
        bounded = self._buckets.is_bounded(conn, new.request.bucket)
        self._check_precondition(conn, new.request, now)
        stored = {
            "phase": Phase.STORING.value,
            "plan": to_json(plan),
            "bytes_done": plan.size,
            "bytes_total": plan.size,
        }
        conn.execute(self._insert, {**_new_row(new, now), **_leased(owner, _FIRST_FENCE, lease_until), **stored})
        lease, moved = Lease(new.id, owner, _FIRST_FENCE), new.request.copy_of is not None and new.request.copy_of.moves
        if bounded and not moved:  # what is moved makes its own room, within one commit
            self.reserve(conn, lease, plan.size, plan.size, now)
        return lease

    def expect_upload(
        self, conn: Connection, new: NewTransfer, size: int, wish: int, owner: str, now: float, lease_until: float
    ) -> tuple[Lease, int]:
        """See ``TransferLedger.expect_upload``."""
        conn.execute(self._insert, _begun_row(new, owner, now, lease_until))
        lease = Lease(new.id, owner, _FIRST_FENCE)
        return lease, self.reserve(conn, lease, size, wish, now)

    def reserve(self, conn: Connection, lease: Lease, size: int, wish: int, now: float) -> int:
        """See ``TransferLedger.reserve``."""
        row = self._leases.held(conn, lease)
        bucket = BucketName.parse(row.bucket)
        room, enough_for = self._quotas.room(conn, bucket, row.key, size, wish, now, row.id)
        self._leases.overwrite(conn, row.id, {"reserved_size": room.size, "reserved_keys": room.keys})
        return enough_for

    def bounded(self, conn: Connection, bucket: BucketName) -> bool:
        """See ``TransferLedger.bounded``."""
        return self._quotas.bounded(conn, bucket)

    def fail(self, conn: Connection, lease: Lease, now: float, error: CephStorageError) -> None:
        """See ``TransferLedger.fail``."""
        self._leases.end(conn, self._leases.held(conn, lease), now, error)

    def cancel(self, conn: Connection, token: str, now: float) -> Transfer:
        """See ``TransferLedger.cancel``."""
        row = conn.execute(self._by_token.with_for_update(), {"token": token}).first()
        if row is None:
            raise _unknown()
        if row.state != State.INPROGRESS:
            raise TransferEnded("The transfer has ended; there is nothing to cancel.")
        self._leases.end(conn, row, now, TransferCancelled("The transfer was cancelled."))
        return self.get(conn, token)

    def get(self, conn: Connection, token: str) -> Transfer:
        """See ``TransferLedger.get``."""
        row = conn.execute(self._by_token, {"token": token}).first()
        if row is None:
            raise _unknown()
        return transfer_of(row)

    def fill_owner(self, conn: Connection, bucket: BucketName, key: str, now: float) -> str | None:
        """See ``TransferLedger.fill_owner``."""
        running = self._running_fill(conn, bucket, key, now)
        return str(running.owner) if running is not None else None

    def fill(self, conn: Connection, bucket: BucketName, key: str, now: float) -> Transfer | None:
        """See ``TransferLedger.fill``."""
        running = self._running_fill(conn, bucket, key, now)
        return transfer_of(running) if running is not None else None

    def _running_fill(self, conn: Connection, bucket: BucketName, key: str, now: float) -> Row[Any] | None:
        row = conn.execute(self._fill, {"in_bucket": str(bucket), "of_key": key}).first()
        return row if row is not None and row.owner is not None and row.lease_until > now else None

    def spooled_ids(self, conn: Connection) -> list[str]:
        """See ``TransferLedger.spooled_ids``."""
        return list(conn.scalars(self._in_progress))

    def forget_ended(self, conn: Connection, before: float, limit: int) -> int:
        """Delete up to ``limit`` progress records that ended before a moment; return how many."""
        return conn.execute(self._forget, {"before": before, "limit": limit}).rowcount


def _require(request: TransferRequest, record: Record | None) -> None:
    """Raise PreconditionFailed unless the key, as its living version says, is as the request wants it."""
    if not request.precondition.holds(record.etag if record else None, exists=record is not None):
        raise PreconditionFailed(f"The precondition does not hold for {request.key!r} in {request.bucket}.")


def _same_movement(older: TransferRequest, newer: TransferRequest) -> bool:
    """Whether the spool of the older request serves the newer one."""
    return (older.url, older.target, older.seen_generation) == (newer.url, newer.target, newer.seen_generation)


def _unknown() -> TransferNotFound:
    return TransferNotFound("No transfer has this token, or its record has been cleaned up.")
