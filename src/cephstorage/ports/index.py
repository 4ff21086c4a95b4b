"""The index: the SQL metadata. Each port is one topic; each method is one transaction.

What a method returns has been committed. All raise DatabaseUnavailable when the database fails.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cephstorage.domain.access import AccessToken
from cephstorage.domain.deletions import Deletion, DeletionWish
from cephstorage.domain.errors import CephStorageError
from cephstorage.domain.jobs import Item, Job, QueuedItem, Step
from cephstorage.domain.mirrors import Mirror
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import Bucket, FolderUsage, ListQuery, OriginFacts, Page, Record
from cephstorage.domain.transfers import Claims, Lease, Phase, Plan, SourceFacts, Transfer, TransferRequest


class KeyIndex(Protocol):
    """Visible records."""

    async def get(self, bucket: BucketName, key: str) -> Record | None:
        """The visible version of a key."""
        ...

    async def listing(self, bucket: BucketName, query: ListQuery) -> Page:
        """One page in byte order: sub-folders first, then keys, ``limit`` entries in all.

        A filter looks at a bounded number of keys: a page that ends there has a cursor, whatever it holds.
        Raises BucketNotFound and InvalidCursor.
        """
        ...

    async def md5s(self, bucket: BucketName, keys: Sequence[str]) -> Mapping[str, str]:
        """The md5 of those keys that are there."""
        ...

    async def usage(self, bucket: BucketName, vfolder: str, limit: int, cursor: str | None) -> FolderUsage | None:
        """What a folder holds, and a page of what its direct sub-folders hold; None when there is no such folder.

        Raises BucketNotFound and InvalidCursor.
        """
        ...

    async def delete(self, bucket: BucketName, key: str, now: float) -> None:
        """Make a key invisible, take it from the usage and queue its bytes for removal, at once.

        Raises KeyNotFound, BucketNotFound.
        """
        ...

    async def touch(
        self, bucket: BucketName, key: str, generation: int, now: float, origin: OriginFacts | None = None
    ) -> None:
        """Note that the origin confirmed this version now. Another generation is left alone.

        ``origin``: what is remembered of its answer from now on.
        """
        ...

    async def invalidate(self, bucket: BucketName, key: str, now: float) -> bool:
        """Have a mirror's copy confirmed by its origin before it is used again; edges forget it. False: there is none."""
        ...


class BucketIndex(Protocol):
    """Tenants' buckets and their usage."""

    async def create(self, bucket: BucketName, now: float) -> bool:
        """Create tenant and bucket; False when the bucket was there."""
        ...

    async def get(self, bucket: BucketName) -> Bucket:
        """Raises BucketNotFound."""
        ...

    async def of_tenant(self, username: str) -> Sequence[Bucket]:
        """The tenant's buckets by name."""
        ...

    async def delete(self, bucket: BucketName) -> None:
        """Delete an empty bucket. Raises BucketNotFound, BucketNotEmpty (keys, transfers, mirrors)."""
        ...


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
    must be decided again.
    """

    lease: Lease | None
    owner: str | None = None
    left_over: Transfer | None = None


@dataclass(frozen=True, slots=True)
class Removal:
    """Bytes that no record names any more, to be removed from the store."""

    id: int
    bucket: BucketName
    key: str
    store_version: str


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
        """Insert an upload whose bytes are spooled and verified, already in phase storing. Raises BucketNotFound."""
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


class LandingIndex(Protocol):
    """The publisher's transactions. Nothing else makes a record visible."""

    async def plan(self, lease: Lease, plan: Plan, now: float) -> int | None:
        """Write what is about to be stored and take the key's landing lease for this transfer.

        The generation that the record will have (a higher one, should the key be deleted meanwhile); None
        when another live transfer is landing on the key: try again shortly. Raises LeaseLost,
        BucketNotFound, PreconditionFailed.
        """
        ...

    async def note_version(self, lease: Lease, store_version: str) -> None:
        """Keep a fuller name of the version that is being stored, of the same attempt. Raises LeaseLost."""
        ...

    async def publish(self, lease: Lease, now: float, store_version: str | None = None) -> Record:
        """Record with generation + 1, usage, progress success, old bytes queued for removal: one transaction.

        ``store_version`` is the planned version's name as the store gave it; None: as it was planned. Raises
        LeaseLost, BucketNotFound, PreconditionFailed.
        """
        ...

    async def published(self, bucket: BucketName, key: str, store_version: str) -> Record | None:
        """The visible record, if it names the attempt of this version."""
        ...

    async def disown(self, bucket: BucketName, key: str, store_version: str) -> None:
        """Have a version removed that an attempt stored without publishing it.

        Nothing happens when a record or the plan of a transfer in progress names the same attempt: somebody
        else took it over.
        """
        ...

    async def remove(self, bucket: BucketName, key: str, store_version: str) -> None:
        """Have something removed from the store in its time, whoever names it."""
        ...

    async def removals(self, limit: int) -> Sequence[Removal]:
        """Bytes to remove, oldest first."""
        ...

    async def newest_removal(self) -> int:
        """The highest number that is in the queue of removals; 0 when it is empty."""
        ...

    async def removed(self, ids: Sequence[int]) -> None:
        """Note that these bytes are gone."""
        ...

    async def buckets(self) -> Sequence[BucketName]:
        """Every bucket that may have something in the store."""
        ...

    async def planned_versions(self) -> Sequence[str]:
        """The versions that transfers in progress are storing, by their fullest names."""
        ...


@dataclass(frozen=True, slots=True)
class Purge:
    """A key whose bytes edges may still have. ``size`` is that of the version that was replaced or deleted.

    ``remaining`` are the edges still to be told; None stands for all of them.
    """

    id: int
    bucket: BucketName
    key: str
    size: int
    created_at: float
    attempts: int = 0
    remaining: tuple[str, ...] | None = None


class PurgeOutbox(Protocol):
    """What the edges have to forget. Publishing over a version and deleting one write rows, for mirrors' buckets."""

    async def add(self, bucket: BucketName, key: str, size: int, now: float) -> None:
        """Have the edges forget a key although nothing changed."""
        ...

    async def due(self, now: float, limit: int) -> Sequence[Purge]:
        """Rows whose time has come, longest due first. A new row is first left to the process that wrote it."""
        ...

    async def of_key(self, bucket: BucketName, key: str) -> Sequence[Purge]:
        """The rows of one key, due or not, oldest first."""
        ...

    async def untold(self, job: str, limit: int) -> Sequence[Purge]:
        """Rows of a job that no edge has been told of yet, oldest first."""
        ...

    async def owed(self, job: str) -> Sequence[tuple[tuple[str, ...] | None, int]]:
        """How many rows of a job still owe which edges: None stands for all, an empty tuple for none any more."""
        ...

    async def again(self, purge: Purge, not_before: float, remaining: Sequence[str]) -> None:
        """Come back to a row from ``not_before`` on; attempts + 1."""
        ...

    async def done(self, ids: Sequence[int]) -> None:
        """Drop rows; missing ones are fine."""
        ...


@dataclass(frozen=True, slots=True)
class JobLease:
    """Proof that ``owner`` may carry a job on. A higher fence elsewhere makes it void."""

    job: str
    owner: str
    fence: int


class JobTable(Protocol):
    """The durable rows of jobs over mirrors, and the lists they work off."""

    async def create(self, job: Job, items: Sequence[Item], until: float) -> None:
        """Insert a job with its list, numbered from 1; its owner has it until then. Raises BucketNotFound."""
        ...

    async def claim(self, owner: str, now: float, until: float) -> Job | None:
        """Take the job in progress that has been due for longest. Its fence rises."""
        ...

    async def renew(self, leases: Sequence[JobLease], now: float, until: float) -> Sequence[JobLease]:
        """Extend leases; return those that were lost."""
        ...

    async def step(self, lease: JobLease, step: Step, now: float) -> Job:
        """Do what a step says and note it, at once; the job as it is now.

        Copies that have changed since they were seen, and keys that are no mirror's copies, are left alone. Items
        beyond the request's ``most`` are counted as dropped. Raises LeaseLost, BucketNotFound.
        """
        ...

    async def finish(self, lease: JobLease, now: float, error: CephStorageError | None = None) -> None:
        """End a job: well, or with an error; its list is gone. Raises LeaseLost."""
        ...

    async def put_off(self, lease: JobLease, now: float, until: float) -> None:
        """Give a job back; anybody may claim it from ``until`` on. A lost lease is fine."""
        ...

    async def cancel(self, job: str, now: float) -> Job:
        """End a job as cancelled, whoever runs it. Raises JobNotFound, JobEnded."""
        ...

    async def get(self, job: str) -> Job:
        """Raises JobNotFound."""
        ...

    async def of_mirror(self, host: str) -> Sequence[Job]:
        """The jobs of a mirror, newest first, at most 200."""
        ...

    async def items(self, job: str, after: int, limit: int) -> Sequence[QueuedItem]:
        """Items on the list behind a number, in order."""
        ...

    async def owners(self) -> Sequence[str]:
        """Everybody who runs a job."""
        ...

    async def expire_owner(self, owner: str, now: float) -> int:
        """End the leases of an owner that is known to be dead; return how many."""
        ...

    async def forget_ended(self, before: float) -> int:
        """Delete jobs that ended before a moment; return how many."""
        ...


@dataclass(frozen=True, slots=True)
class Adopted:
    """What became of records that were found in the store.

    ``added`` are visible now, in place of an older generation or none; ``known`` were visible before; ``older`` have a
    newer one before them, or are being stored or removed. ``contested`` are pairs, found and visible, of one generation:
    two attempts at the same version, of which one was never published.
    """

    added: int = 0
    known: int = 0
    older: int = 0
    contested: tuple[tuple[Record, Record], ...] = ()


class Adoption(Protocol):
    """Makes records of what is in the store visible. Only for when the index lacks them."""

    async def adopt(self, bucket: BucketName, records: Sequence[Record]) -> Adopted:
        """Take over records, usage included. Never removes bytes. Raises BucketNotFound."""
        ...

    async def prefer(self, record: Record, visible: Record) -> bool:
        """Make a record visible in place of ``visible``; False when that is not what is visible any more."""
        ...


class MirrorTable(Protocol):
    """Mirrors by host."""

    async def put(self, mirror: Mirror) -> None:
        """Create or replace. Raises BucketNotFound."""
        ...

    async def delete(self, host: str) -> None:
        """Raises MirrorNotFound."""
        ...

    async def all(self) -> Sequence[Mirror]:
        """Every mirror by host."""
        ...


class TokenTable(Protocol):
    """Access tokens, known only by the SHA-256 of their secret."""

    async def put(self, token: AccessToken, secret_hash: str) -> None:
        """Create or replace by id."""
        ...

    async def by_hash(self, secret_hash: str) -> AccessToken | None:
        """The token with this secret, expired ones included."""
        ...

    async def by_hashes(self, secret_hashes: Collection[str]) -> Mapping[str, AccessToken]:
        """Those of several that are there, by hash."""
        ...

    async def delete(self, token_id: str) -> None:
        """Raises AccessTokenNotFound."""
        ...

    async def all(self) -> Sequence[AccessToken]:
        """Every token, oldest first."""
        ...


class SettingsTable(Protocol):
    """Small named values that all processes share, and the counter that tells when any changed."""

    async def version(self) -> int:
        """Grows with every change of mirrors, tokens or settings, in whatever process."""
        ...

    async def get(self, name: str) -> str | None:
        """A value, or None."""
        ...

    async def put(self, name: str, value: str, *, only_if_absent: bool = False) -> str:
        """Set a value; return the one that stands afterwards."""
        ...

    async def all(self) -> Mapping[str, str]:
        """Every value by name."""
        ...

    async def change(self, values: Mapping[str, str | None], seen_version: int) -> bool:
        """Set several values at once, or remove them (None). False, and nothing done, when ``version`` has moved on."""
        ...


class SeriesTable(Protocol):
    """Sums by name and epoch minute, to which every process adds."""

    async def add(self, sums: Mapping[tuple[str, int], float]) -> None:
        """Add to sums; all or none."""
        ...

    async def read(self, prefix: str, since: int, until: int, step: int) -> Sequence[tuple[str, int, float]]:
        """Sums of the names that begin so, over points of ``step`` minutes: name, first minute, sum, in this order.

        A point begins at a multiple of ``step``.
        """
        ...

    async def forget(self, before: int) -> int:
        """Delete sums of minutes before one; return how many."""
        ...


class Database(Protocol):
    """The database as a whole."""

    async def check(self) -> str:
        """One line about its health and version for ``doctor``."""
        ...

    async def usage_drift(self) -> Sequence[str]:
        """Buckets whose usage differs from the sum over their records; empty when all is well."""
        ...
