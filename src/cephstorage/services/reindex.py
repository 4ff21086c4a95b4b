"""The index, rebuilt from the store alone: for when the database is lost.

    every bucket of ours ──> every version in it ──> the record that is written on it ──> adopted, some at a time

Of a key's versions the newest generation is taken. Two of one generation are attempts of which only one was
published: the later one is it, because the key was still the earlier one's when that gave up. What the store does
not know comes back from nowhere: tokens, mirrors, settings, progress. What was on its way out may come back: a key
deleted in the last moments, a write that failed at its very end, as long as their bytes wait for their removal.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from cephstorage.domain.errors import BucketNotFound
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import Record
from cephstorage.ports.index import Adopted, Adoption, BucketIndex
from cephstorage.ports.store import Store, StoredObject
from cephstorage.transfer.description import record_of

_BATCH = 200


@dataclass(slots=True)
class Rebuilt:
    """What was found in a bucket. ``unreadable``: versions on which too little is written for a record."""

    bucket: BucketName
    added: int = 0
    known: int = 0
    older: int = 0
    unreadable: int = 0

    @property
    def seen(self) -> int:
        """Versions looked at."""
        return self.added + self.known + self.older + self.unreadable


Tell = Callable[[Rebuilt], None]


@dataclass(frozen=True, slots=True)
class Reindex:
    """Rebuilds buckets. Doing it again, or beside a running service, is harmless: what is visible already stays."""

    store: Store
    buckets: BucketIndex
    adoption: Adoption
    clock: Callable[[], float]

    async def run(self, wanted: Collection[BucketName], tell: Tell) -> list[Rebuilt]:
        """Rebuild these buckets, or (none named) all that the store has. ``tell`` hears of progress.

        Raises BucketNotFound before anything is done, if the store lacks one of them; StoreUnavailable,
        DatabaseUnavailable: what was done until then stays.
        """
        there = await self.store.buckets()
        for missing in sorted(set(wanted) - set(there), key=str):
            raise BucketNotFound(f"The store has no bucket {missing}.")
        return [await self._bucket(bucket, tell) for bucket in sorted(wanted or there, key=str)]

    async def _bucket(self, bucket: BucketName, tell: Tell) -> Rebuilt:
        await self.buckets.create(bucket, self.clock())
        rebuilt, batch = Rebuilt(bucket), list[Record]()
        async for found in self.store.objects(bucket):
            batch += self._read(found, rebuilt)
            if len(batch) == _BATCH:
                await self._adopt(batch, rebuilt)
                tell(rebuilt)
                batch = []
        await self._adopt(batch, rebuilt)
        tell(rebuilt)
        return rebuilt

    def _read(self, found: StoredObject, rebuilt: Rebuilt) -> list[Record]:
        record = record_of(found)
        if record is None:
            rebuilt.unreadable += 1
            return []
        return [record]

    async def _adopt(self, records: list[Record], rebuilt: Rebuilt) -> None:
        adopted = await self.adoption.adopt(rebuilt.bucket, records) if records else Adopted()
        rebuilt.added += adopted.added
        rebuilt.known += adopted.known
        rebuilt.older += adopted.older
        for found, visible in adopted.contested:
            rebuilt.older += 1
            latest = await self.store.latest(found.bucket, found.key, [found.store_version, visible.store_version])
            if latest == found.store_version:
                await self.adoption.prefer(found, visible)
