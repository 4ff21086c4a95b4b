"""The index: the SQL metadata. Each port is one topic; each method is one transaction.

What a method returns has been committed. All raise DatabaseUnavailable when the database fails.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cephstorage.domain.names import BucketName
from cephstorage.domain.records import Bucket, FolderUsage, ListQuery, OriginFacts, Page, Record
from cephstorage.domain.transfers import Lease, Plan


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

    async def md5s(self, bucket: BucketName, keys: Sequence[str], now: float) -> Mapping[str, str]:
        """The md5 of those keys that are there and have not ended."""
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
class Removal:
    """Bytes that no record names any more, to be removed from the store."""

    id: int
    bucket: BucketName
    key: str
    store_version: str


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

    async def removals(self, limit: int, after: int = 0) -> Sequence[Removal]:
        """Bytes to remove, oldest first, from behind the number ``after`` on."""
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

    async def visible(self, bucket: BucketName, keys: Sequence[str]) -> Mapping[str, Record]:
        """The visible records of those keys that are there."""
        ...

    async def adopt(self, bucket: BucketName, records: Sequence[Record]) -> Adopted:
        """Take over records, usage included. Never removes bytes. Raises BucketNotFound.

        A record of generation 0 has none yet: it becomes visible where nothing is, under the one at which new keys begin.
        """
        ...

    async def prefer(self, record: Record, visible: Record) -> bool:
        """Make a record visible in place of ``visible``; False when that is not what is visible any more."""
        ...


class Database(Protocol):
    """The database as a whole."""

    async def check(self) -> str:
        """One line about its health and version for ``doctor``."""
        ...

    async def usage_drift(self) -> Sequence[str]:
        """Buckets whose usage differs from the sum over their records; empty when all is well."""
        ...
