"""``TransferLedger`` in SQL: which statement each operation runs, and how hard its commit must be.

What a caller is told for good is durable. What the next heartbeat or claim would write again anyway is
relaxed. A fence that a power failure takes back has stored nothing: ``plan`` is durable and comes first.
"""

from collections.abc import Sequence

from cephstorage.domain.errors import CephStorageError
from cephstorage.domain.names import BucketName
from cephstorage.domain.transfers import Claims, Lease, Phase, Plan, SourceFacts, Transfer
from cephstorage.index.leases import LeaseStatements
from cephstorage.index.runner import Runner
from cephstorage.index.transfers import TransferStatements
from cephstorage.ports.ledger import FillSlot, NewTransfer

_FORGET_AT_ONCE = 1000


class SqlTransferLedger:
    """``TransferLedger`` in SQL."""

    def __init__(self, db: Runner, statements: TransferStatements, leases: LeaseStatements) -> None:
        self._db = db
        self._sql = statements
        self._leases = leases

    async def create(self, transfers: Sequence[NewTransfer], now: float) -> list[str]:
        """Insert queued transfers; one token each. Raises BucketNotFound, PreconditionFailed, IdempotencyMismatch."""
        return await self._db.write(self._sql.create, transfers, now)

    async def begin_fill(self, new: NewTransfer, owner: str, now: float, lease_until: float) -> FillSlot:
        """Take the single fill slot of the key. Raises BucketNotFound."""
        return await self._db.write_relaxed(self._sql.begin_fill, new, owner, now, lease_until)

    async def begin_upload(self, new: NewTransfer, plan: Plan, owner: str, now: float, lease_until: float) -> Lease:
        """Insert an upload in phase storing. Raises BucketNotFound, PreconditionFailed."""
        return await self._db.write(self._sql.begin_upload, new, plan, owner, now, lease_until)

    async def expect_upload(
        self, new: NewTransfer, size: int, wish: int, owner: str, now: float, lease_until: float
    ) -> tuple[Lease, int]:
        """Insert an upload whose body is to come. Raises BucketNotFound, QuotaExceeded."""
        return await self._db.write_relaxed(self._sql.expect_upload, new, size, wish, owner, now, lease_until)

    async def reserve(self, lease: Lease, size: int, wish: int, now: float) -> int:
        """Reserve room for an object. Raises LeaseLost, QuotaExceeded."""
        return await self._db.write_relaxed(self._sql.reserve, lease, size, wish, now)

    async def bounded(self, bucket: BucketName) -> bool:
        """Whether a quota bounds the bucket."""
        return await self._db.read_one(self._sql.bounded, bucket)

    async def claim(self, owner: str, now: float, lease_until: float, claims: Claims = Claims.ALL) -> Transfer | None:
        """Take the transfer that has been due for longest."""
        return await self._db.write_relaxed(self._leases.claim, owner, now, lease_until, claims)

    async def renew(
        self, leases: Sequence[tuple[Lease, int, int | None]], now: float, lease_until: float
    ) -> list[Lease]:
        """Extend leases; return those that were lost."""
        return await self._db.write_relaxed(self._leases.renew, leases, now, lease_until)

    async def set_phase(self, lease: Lease, phase: Phase, now: float, source: SourceFacts | None = None) -> None:
        """Note the phase. Raises LeaseLost."""
        await self._db.write_relaxed(self._leases.set_phase, lease, phase, now, source)

    async def requeue(self, lease: Lease, now: float, not_before: float, error: CephStorageError) -> None:
        """Give the transfer back for another attempt. Raises LeaseLost."""
        await self._db.write_relaxed(self._leases.requeue, lease, now, not_before, error)

    async def release(self, lease: Lease, now: float) -> None:
        """Give the transfer back untouched. A lost lease is fine."""
        await self._db.write_relaxed(self._leases.release, lease, now)

    async def fail(self, lease: Lease, now: float, error: CephStorageError) -> None:
        """End the transfer as failed. Raises LeaseLost."""
        await self._db.write(self._sql.fail, lease, now, error)

    async def discard(self, lease: Lease) -> None:
        """Drop the row. A lost lease is fine."""
        await self._db.write_relaxed(self._leases.discard, lease)

    async def cancel(self, token: str, now: float) -> Transfer:
        """End a transfer as cancelled. Raises TransferNotFound, TransferEnded."""
        return await self._db.write(self._sql.cancel, token, now)

    async def get(self, token: str) -> Transfer:
        """Raises TransferNotFound."""
        return await self._db.read_one(self._sql.get, token)

    async def fill_owner(self, bucket: BucketName, key: str, now: float) -> str | None:
        """Who fills this key now, by a live lease."""
        return await self._db.read_one(self._sql.fill_owner, bucket, key, now)

    async def fill(self, bucket: BucketName, key: str, now: float) -> Transfer | None:
        """The fill of this key that runs now."""
        return await self._db.read_one(self._sql.fill, bucket, key, now)

    async def owners(self) -> Sequence[str]:
        """Everybody who holds a lease."""
        return await self._db.read_one(self._leases.owners)

    async def expire_owner(self, owner: str, now: float) -> int:
        """End the leases of a dead owner; return how many."""
        return await self._db.write_relaxed(self._leases.expire_owner, owner, now)

    async def spooled_ids(self) -> Sequence[str]:
        """Ids of the transfers in progress."""
        return await self._db.read_one(self._sql.spooled_ids)

    async def forget_ended(self, before: float) -> int:
        """Delete old progress records, some at a time so that no other write waits long; return how many."""
        total = 0
        while count := await self._db.write_relaxed(self._sql.forget_ended, before, _FORGET_AT_ONCE):
            total += count
        return total
