"""Leased rows: the check that every write of an owner makes, claims, and the ways to give a row back.

A transfer may be written by the owner with its fence while it is in progress, and by nobody else. A
plan never leaves a row silently: its version may be in the store already, so that it is queued for
removal (``drop_plan``) unless it was published.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Table, bindparam, case, delete, not_, select, true, update
from sqlalchemy.sql.dml import ReturningUpdate
from sqlalchemy.sql.elements import ColumnElement

from cephstorage.domain.errors import CephStorageError, LeaseLost, Unavailable
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import attempt_of
from cephstorage.domain.serialise import from_json, to_json
from cephstorage.domain.transfers import Claims, Kind, Lease, Phase, Plan, SourceFacts, State, Transfer
from cephstorage.index.removals import RemovalStatements
from cephstorage.index.rows import transfer_of
from cephstorage.index.schema import Schema
from cephstorage.index.tables.columns import served, word
from cephstorage.index.webhooks import EventStatements

_NOTHING_HELD = {"reserved_size": 0, "reserved_keys": 0}
_FREE: dict[str, Any] = {"owner": None, "lease_until": 0.0, **_NOTHING_HELD}


def holder(lease: Lease) -> dict[str, Any]:
    """A lease as the values of the conditions that check it."""
    return {"of_id": lease.transfer_id, "by_owner": lease.owner, "at_fence": lease.fence}


class LeaseStatements:
    """Statements over rows that somebody holds or is to hold."""

    def __init__(self, schema: Schema, removals: RemovalStatements, events: EventStatements) -> None:
        self._removals = removals
        self._events = events
        transfers, landing = schema.transfers, schema.landing_leases
        c = transfers.c
        self._running = c.state == word(State.INPROGRESS)
        mine = (
            (c.id == bindparam("of_id"))
            & (c.owner == bindparam("by_owner"))
            & (c.fence == bindparam("at_fence"))
            & self._running
        )
        self._mine = select(transfers).where(mine).with_for_update()
        self._write = update(transfers).where(mine)
        self._release = self._write.values(**_FREE, due_at=c.not_before)
        self._by_id = update(transfers).where(c.id == bindparam("of_id"))
        self._drop = delete(transfers).where(c.id == bindparam("of_id"))
        self._free_key = delete(landing).where(landing.c.transfer_id == bindparam("of_id"), _key_is(landing.c))
        of_requests = served(c.kind)
        kinds = {Claims.ALL: true(), Claims.SERVED: of_requests, Claims.BACKGROUND: not_(of_requests)}
        self._claims = {claims: self._claim_of(transfers, condition) for claims, condition in kinds.items()}
        self._owners = select(c.owner).where(c.owner.is_not(None)).distinct()
        self._expire = (
            update(transfers)
            .where(c.owner == bindparam("by_owner"), c.owner.is_not(None))
            .values(**_FREE, due_at=c.not_before)
        )

    def _claim_of(self, transfers: Table, kinds: ColumnElement[bool]) -> ReturningUpdate[Any]:
        """The claim of what has been due for longest among some kinds."""
        c = transfers.c
        # SKIP LOCKED lets claims of a database server pass each other; SQLite has one writer and leaves it out.
        next_due = (
            select(c.id)
            .where(self._running, c.due_at <= bindparam("now"), kinds)
            .order_by(c.due_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        return (
            update(transfers)
            .where(c.id == next_due.scalar_subquery())
            .values(
                owner=bindparam("new_owner"),
                fence=c.fence + 1,
                lease_until=bindparam("until"),
                due_at=bindparam("until"),
                updated_at=bindparam("now"),
                **_NOTHING_HELD,
                phase=case((c.phase == word(Phase.QUEUED), word(Phase.FETCHING)), else_=c.phase),
            )
            .returning(*c)
        )

    def held(self, conn: Connection, lease: Lease) -> Row[Any]:
        """The row, if the lease is good. Raises LeaseLost."""
        row = conn.execute(self._mine, holder(lease)).first()
        if row is None:
            raise _lost(lease)
        return row

    def write(self, conn: Connection, lease: Lease, values: dict[str, Any]) -> None:
        """Change the row. Raises LeaseLost."""
        if not self.try_write(conn, lease, values):
            raise _lost(lease)

    def try_write(self, conn: Connection, lease: Lease, values: dict[str, Any]) -> bool:
        """Change the row; False when the lease is lost."""
        return conn.execute(self._write, {**holder(lease), **values}).rowcount == 1

    def overwrite(self, conn: Connection, transfer_id: str, values: dict[str, Any]) -> None:
        """Change a row whose right to be changed was checked before."""
        conn.execute(self._by_id, {"of_id": transfer_id, **values})

    def claim(
        self, conn: Connection, owner: str, now: float, lease_until: float, claims: Claims = Claims.ALL
    ) -> Transfer | None:
        """See ``TransferLedger.claim``."""
        row = conn.execute(self._claims[claims], {"new_owner": owner, "now": now, "until": lease_until}).first()
        return None if row is None else transfer_of(row)

    def renew(
        self, conn: Connection, leases: Sequence[tuple[Lease, int, int | None]], now: float, lease_until: float
    ) -> list[Lease]:
        """See ``TransferLedger.renew``. The landing lease lives as long as the row's."""
        until = {"updated_at": now, "lease_until": lease_until, "due_at": lease_until}
        return [
            lease
            for lease, done, total in sorted(leases, key=lambda each: each[0].transfer_id)  # all lock in one order
            if not self.try_write(conn, lease, {**until, "bytes_done": done, "bytes_total": total})
        ]

    def set_phase(self, conn: Connection, lease: Lease, phase: Phase, now: float, source: SourceFacts | None) -> None:
        """See ``TransferLedger.set_phase``."""
        values: dict[str, Any] = {"phase": phase.value, "updated_at": now}
        if source is not None:
            values["source"] = to_json(source)
        self.write(conn, lease, values)

    def requeue(self, conn: Connection, lease: Lease, now: float, not_before: float, error: CephStorageError) -> None:
        """See ``TransferLedger.requeue``.

        An upload keeps its plan: its spool is verified, and nothing but the plan knows what it holds. A copy has nothing
        else. Every other kind keeps it when a part of ours failed: whoever is next stores the same bytes under it.
        """
        row = self.held(conn, lease)
        again: dict[str, Any] = {}
        if row.kind not in {Kind.UPLOAD, Kind.COPY} and (row.plan is None or not isinstance(error, Unavailable)):
            self.drop_plan(conn, row)
            again = {"phase": Phase.QUEUED.value, "plan": None}
        self.free_key(conn, row)
        values = {**_FREE, **again, "not_before": not_before, "due_at": not_before, "updated_at": now}
        values |= {"attempts": row.attempts + 1, "error_code": error.code, "error_msg": text(error.msg)}
        self.overwrite(conn, row.id, values)

    def release(self, conn: Connection, lease: Lease, now: float) -> None:
        """See ``TransferLedger.release``."""
        conn.execute(self._release, {**holder(lease), "updated_at": now})

    def discard(self, conn: Connection, lease: Lease) -> None:
        """See ``TransferLedger.discard``."""
        row = conn.execute(self._mine, holder(lease)).first()
        if row is not None:
            self.drop_plan(conn, row)
            self.free_key(conn, row)
            self.drop(conn, row.id)

    def owners(self, conn: Connection) -> list[str]:
        """See ``TransferLedger.owners``."""
        return list(conn.scalars(self._owners))

    def expire_owner(self, conn: Connection, owner: str, now: float) -> int:
        """See ``TransferLedger.expire_owner``."""
        return conn.execute(self._expire, {"by_owner": owner, "updated_at": now}).rowcount

    def end(self, conn: Connection, row: Row[Any], now: float, error: CephStorageError) -> None:
        """End a row as failed, whoever holds it. The fence rises, so that a holder finds its lease lost."""
        self.drop_plan(conn, row)
        self.free_key(conn, row)
        values: dict[str, Any] = {**_FREE, "state": State.FAIL.value, "phase": Phase.ENDED.value, "plan": None}
        values |= {"updated_at": now, "ended_at": now, "fence": row.fence + 1}
        values |= {"error_code": error.code, "error_msg": text(error.msg)}
        self.overwrite(conn, row.id, values)
        self._events.failed(conn, row, error.code, now)

    def drop(self, conn: Connection, transfer_id: str) -> None:
        """Delete a row."""
        conn.execute(self._drop, {"of_id": transfer_id})

    def free_key(self, conn: Connection, row: Row[Any]) -> None:
        """Give up the key's landing lease, if this transfer has it."""
        conn.execute(self._free_key, {"of_id": row.id, "in_bucket": row.bucket, "of_key": row.key})

    def drop_plan(self, conn: Connection, row: Row[Any], *, unless: str | None = None) -> None:
        """Queue what the row had planned to store for removal, except when ``unless`` is of the same attempt."""
        version = from_json(Plan, row.plan).store_version if row.plan is not None else None
        if version is not None and (unless is None or attempt_of(version) != attempt_of(unless)):
            self._removals.queue(conn, BucketName.parse(row.bucket), row.key, version)


def _key_is(columns: Any) -> Any:
    return (columns.bucket == bindparam("in_bucket")) & (columns.key == bindparam("of_key"))


def _lost(lease: Lease) -> LeaseLost:
    return LeaseLost(f"The transfer {lease.transfer_id} is no longer {lease.owner}'s, or has ended.")


def text(message: str) -> str:
    """A message as any text column takes it: code points that are no characters become question marks."""
    return message.encode("utf-8", "replace").decode()
