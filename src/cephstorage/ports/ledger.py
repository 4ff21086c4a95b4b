"""The ledger of transfers: their durable rows, who may act for them, and deletions of many keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cephstorage.domain.deletions import Deletion, DeletionWish
from cephstorage.domain.errors import CephStorageError
from cephstorage.domain.names import BucketName
from cephstorage.domain.transfers import Claims, Lease, Phase, Plan, SourceFacts, Transfer, TransferRequest


@dataclass(frozen=True, slots=True)
class NewTransfer:
    """A transfer to be made, with names already drawn. ``fingerprint`` of equal requests is equal."""

    id: str
    token: str
    request: TransferRequest
    fingerprint: str | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class FillSlot:
    """What came of asking for the single fill of a key.

    ``lease``: it is ours; ``left_over`` is then the row of a dead owner's fill that is taken over. Else
    ``owner`` fills it already, or (``owner`` None) the key has moved on from ``seen_generation`` and
    must be decided again. ``bounded``: a quota bounds the bucket, so that room is to be reserved.
    """

    lease: Lease | None
    owner: str | None = None
    left_over: Transfer | None = None
    bounded: bool = False


class TransferLedger(Protocol):
    """The durable rows of transfers: creation, claims, leases, the end."""

    async def create(self, transfers: Sequence[NewTransfer], now: float) -> list[str]:
        """Insert queued transfers, all or none, durably; return one token each.

        A request with the fingerprint of one that is in progress, or with a known idempotency key,
        makes nothing new: the older token stands in its place. Raises BucketNotFound,
        PreconditionFailed, IdempotencyMismatch.
        """
        ...

    async def begin_fill(self, new: NewTransfer, owner: str, now: float, lease_until: float) -> FillSlot:
        """Take the single fill slot of the key, if it is free and its generation is still ``seen_generation``."""
        ...

    async def begin_upload(self, new: NewTransfer, plan: Plan, owner: str, now: float, lease_until: float) -> Lease:
        """Insert an upload whose bytes are spooled and verified, already in phase storing.

        Where a quota bounds the bucket, its room is reserved with it. Raises BucketNotFound, PreconditionFailed,
        QuotaExceeded.
        """
        ...

    async def expect_upload(
        self, new: NewTransfer, size: int, wish: int, owner: str, now: float, lease_until: float
    ) -> tuple[Lease, int]:
        """Insert an upload whose body is to come, with room reserved in quotas; see ``reserve``.

        Only for buckets that are bounded: elsewhere an upload has nothing to note before its body is whole.
        Raises BucketNotFound, QuotaExceeded.
        """
        ...

    async def reserve(self, lease: Lease, size: int, wish: int, now: float) -> int:
        """Reserve room in the quotas of the bucket and its tenant for an object of ``size`` bytes at its key.

        Of a larger object, ``wish``, as much as fits: the size that the room is enough for. It replaces what the
        transfer had reserved, and ends with its lease. Raises LeaseLost, QuotaExceeded.
        """
        ...

    async def bounded(self, bucket: BucketName) -> bool:
        """Whether the bucket or its tenant has a quota; False also when there is no such bucket."""
        ...

    async def claim(self, owner: str, now: float, lease_until: float, claims: Claims = Claims.ALL) -> Transfer | None:
        """Take the next transfer that is due, that nobody holds and whose kind is among ``claims``.

        Its fence rises; a queued one is fetching now.
        """
        ...

    async def renew(
        self, leases: Sequence[tuple[Lease, int, int | None]], now: float, lease_until: float
    ) -> list[Lease]:
        """Extend leases and note (bytes_done, bytes_total); return those that were lost."""
        ...

    async def set_phase(self, lease: Lease, phase: Phase, now: float, source: SourceFacts | None = None) -> None:
        """Note the phase (and what the source said). Raises LeaseLost."""
        ...

    async def requeue(self, lease: Lease, now: float, not_before: float, error: CephStorageError) -> None:
        """Give the transfer back to be tried again from ``not_before`` on; attempts + 1. Raises LeaseLost.

        A plan stays when one of our own parts failed (Unavailable): what is spooled is still right.
        """
        ...

    async def release(self, lease: Lease, now: float) -> None:
        """Give the transfer back untouched (orderly stop): anybody may claim it at once."""
        ...

    async def fail(self, lease: Lease, now: float, error: CephStorageError) -> None:
        """End the transfer as failed. Raises LeaseLost."""
        ...

    async def discard(self, lease: Lease) -> None:
        """Drop the row of a fill that turned out to have nothing to land. A lost lease is fine."""
        ...

    async def cancel(self, token: str, now: float) -> Transfer:
        """End a transfer as cancelled, whoever holds it. Raises TransferNotFound, TransferEnded."""
        ...

    async def get(self, token: str) -> Transfer:
        """Raises TransferNotFound."""
        ...

    async def fill_owner(self, bucket: BucketName, key: str, now: float) -> str | None:
        """Who fills this key now, by a live lease."""
        ...

    async def fill(self, bucket: BucketName, key: str, now: float) -> Transfer | None:
        """The fill of this key that runs now, by a live lease, as it was noted last."""
        ...

    async def owners(self) -> Sequence[str]:
        """Everybody who holds a lease."""
        ...

    async def expire_owner(self, owner: str, now: float) -> int:
        """End the leases of an owner that is known to be dead; return how many."""
        ...

    async def spooled_ids(self) -> Sequence[str]:
        """Ids of the transfers in progress: their spool files are to be kept."""
        ...

    async def forget_ended(self, before: float) -> int:
        """Delete progress records that ended before a moment; return how many."""
        ...


@dataclass(frozen=True, slots=True)
class DeletionStep:
    """What a step has come to: the deletion as it is now, and the keys that the step has deleted."""

    deletion: Deletion
    keys: tuple[str, ...]


class Deletions(Protocol):
    """Deletions of many keys, worked off in steps by whoever comes."""

    async def create(self, name: str, bucket: BucketName, wish: DeletionWish, now: float) -> Deletion:
        """Note durably that versions which are there now be deleted. Raises BucketNotFound."""
        ...

    async def step(self, most: int, pause: float, now: float) -> DeletionStep | None:
        """Look at the next ``most`` keys of the deletion that has been due for longest; it is due again after a pause.

        None when none is due.
        """
        ...

    async def cancel(self, bucket: BucketName, name: str, now: float) -> Deletion:
        """End a deletion of this bucket. Raises JobNotFound, JobEnded."""
        ...

    async def get(self, name: str) -> Deletion:
        """Raises JobNotFound."""
        ...

    async def of_bucket(self, bucket: BucketName) -> Sequence[Deletion]:
        """The newest deletions of a bucket, at most 200."""
        ...

    async def forget_ended(self, before: float) -> int:
        """Delete the records of those that ended before a moment; return how many."""
        ...
