"""A store that tries again what may pass: wrapped around a store that is reached over a network.

Only moments are bridged here (a gateway that restarts, a connection that breaks, 503 SlowDown). A commit
is left to the landing: that can wait longer, and has to know when one was tried again.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import TypeVar

from cephstorage.domain.errors import StoreMisconfigured, StoreUnavailable
from cephstorage.domain.names import BucketName
from cephstorage.domain.transfers import RetryPolicy
from cephstorage.ports.store import ObjectReader, Store, StoredObject

T = TypeVar("T")
MOMENT = RetryPolicy(attempts=4, base=0.1, cap=1.0)


class PatientStore:
    """Implements ``cephstorage.ports.store.Store``. Everything but a commit may be asked twice, and is."""

    def __init__(self, store: Store, policy: RetryPolicy = MOMENT, chance: Callable[[], float] = random.random) -> None:
        self._store = store
        self._policy = policy
        self._chance = chance
        self.plan_version = store.plan_version
        self.place = store.place
        self.published = store.published
        self.strays = store.strays
        self.tentative = store.tentative
        self.commit = store.commit
        self.check = store.check
        self.close = store.close

    async def patiently(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Try until it works, will not work, or took too many tries."""
        tries = 0
        while True:
            tries += 1
            try:
                return await operation()
            except StoreMisconfigured:
                raise
            except StoreUnavailable as error:
                delay = self._policy.delay(tries, self._chance())
                if delay is None:
                    raise
                await asyncio.sleep(min(max(delay, error.retry_after or 0.0), self._policy.cap))

    async def create_bucket(self, bucket: BucketName) -> None:
        """See ``Store``."""
        await self.patiently(lambda: self._store.create_bucket(bucket))

    async def delete_bucket(self, bucket: BucketName) -> None:
        """See ``Store``."""
        await self.patiently(lambda: self._store.delete_bucket(bucket))

    async def holds(self, planned: StoredObject) -> str | None:
        """See ``Store``."""
        return await self.patiently(lambda: self._store.holds(planned))

    async def open(self, bucket: BucketName, key: str, store_version: str) -> "PatientReader":
        """See ``Store``. The reader is patient, too."""
        return PatientReader(await self.patiently(lambda: self._store.open(bucket, key, store_version)), self)

    async def delete(self, bucket: BucketName, key: str, store_version: str) -> None:
        """See ``Store``."""
        await self.patiently(lambda: self._store.delete(bucket, key, store_version))

    async def abandon(self, bucket: BucketName, keep: Collection[str], before: float, key: str | None = None) -> int:
        """See ``Store``."""
        return await self.patiently(lambda: self._store.abandon(bucket, keep, before, key))

    def objects(self, bucket: BucketName) -> AsyncIterator[StoredObject]:
        """See ``Store``. A listing that breaks is begun again by whoever reads it."""
        return self._store.objects(bucket)


class PatientReader:
    """An opened version whose reads are tried again: each names its place."""

    def __init__(self, reader: ObjectReader, store: PatientStore) -> None:
        self._reader = reader
        self._store = store
        self.size = reader.size
        self.read_now = reader.read_now
        self.file = reader.file
        self.close = reader.close

    async def read(self, position: int, size: int) -> bytes:
        """See ``ObjectReader``."""
        return await self._store.patiently(lambda: self._reader.read(position, size))
