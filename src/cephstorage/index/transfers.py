"""Transfers: how they come into being, and the ledger that ``ports.ledger`` describes."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BindParameter, Connection, Row, bindparam, delete, insert, select
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
from cephstorage.domain.records import NO_PRECONDITION, living
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
        self._same_request = select(c.id, c.token).where(running, c.fingerprint == bindparam("fingerprint"))
        fingerprints: BindParameter[Any] = bindparam("fingerprints", expanding=True)
        self._same_requests = select(c.fingerprint, c.token).where(running, c.fingerprint.in_(fingerprints))
        self._same_key = (
            select(known.c.fingerprint, c.token)
            .join(transfers, c.id == known.c.transfer_id)
            .where(known.c.key == bindparam("idempotency_key"))
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
        """See ``TransferLedger.create``."""
        for bucket in sorted({new.request.bucket for new in transfers}, key=str):
            self._buckets.require(conn, bucket)
        plain = [new for new in transfers if _is_plain(new)]
        tokens = self._create_plain(conn, plain, now)
        return [tokens[new.id] if _is_plain(new) else self._create_one(conn, new, now) for new in transfers]

    def _create_plain(self, conn: Connection, transfers: Sequence[NewTransfer], now: float) -> dict[str, str]:
        """Insert those that nothing but a request like them may stand in for, all at once; tokens by id."""
        known: dict[str | None, str] = {}
        wanted = [new.fingerprint for new in transfers if new.fingerprint]
        for start in range(0, len(wanted), _AT_ONCE):
            known |= dict(conn.execute(self._same_requests, {"fingerprints": wanted[start : start + _AT_ONCE]}).all())
        rows, tokens = [], {}
        for new in transfers:
            if new.fingerprint is None or new.fingerprint not in known:
                rows.append(_new_row(new, now))
                known[new.fingerprint] = new.token
            tokens[new.id] = known[new.fingerprint]
        if rows:
            conn.execute(self._insert, rows if len(rows) > 1 else rows[0])
        return tokens

    def _create_one(self, conn: Connection, new: NewTransfer, now: float) -> str:
        if new.idempotency_key is not None and (token := self._known(conn, new, new.idempotency_key)) is not None:
            return token
        same = conn.execute(self._same_request, {"fingerprint": new.fingerprint}).first() if new.fingerprint else None
        if same is None:
            self._check_precondition(conn, new.request, now)
            conn.execute(self._insert, _new_row(new, now))
        transfer_id, token = (new.id, new.token) if same is None else same
        if new.idempotency_key is not None:
            row = {"key": new.idempotency_key, "transfer_id": transfer_id, "fingerprint": new.fingerprint}
            conn.execute(self._remember, row)
        return str(token)

    def _known(self, conn: Connection, new: NewTransfer, idempotency_key: str) -> str | None:
        """The token of the transfer that this idempotency key stands for. Raises IdempotencyMismatch."""
        found = conn.execute(self._same_key, {"idempotency_key": idempotency_key}).first()
        if found is not None and found.fingerprint != new.fingerprint:
            raise IdempotencyMismatch("This Idempotency-Key was used before for a different request.")
        return None if found is None else str(found.token)

    def _check_precondition(self, conn: Connection, request: TransferRequest, now: float) -> None:
        if request.precondition != NO_PRECONDITION:
            record = living(self._keys.get(conn, request.bucket, request.key), now)
            if not request.precondition.holds(record.etag if record else None, exists=record is not None):
                raise PreconditionFailed(f"The precondition does not hold for {request.key!r} in {request.bucket}.")

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


def _is_plain(new: NewTransfer) -> bool:
    return new.idempotency_key is None and new.request.precondition == NO_PRECONDITION


def _same_movement(older: TransferRequest, newer: TransferRequest) -> bool:
    """Whether the spool of the older request serves the newer one."""
    return (older.url, older.target, older.seen_generation) == (newer.url, newer.target, newer.seen_generation)


def _unknown() -> TransferNotFound:
    return TransferNotFound("No transfer has this token, or its record has been cleaned up.")
