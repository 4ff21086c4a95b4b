"""A store that tries again what may pass: wrapped around a store that is reached over a network.

Only moments are bridged here (a gateway that restarts, a connection that breaks, 503 SlowDown). A commit
is left to the landing: that can wait longer, and has to know when one was tried again.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from typing import TypeVar

from cephstorage.domain.consistency import Seen
from cephstorage.domain.errors import StoreMisconfigured, StoreUnavailable
from cephstorage.domain.names import BucketName
from cephstorage.domain.transfers import RetryPolicy
from cephstorage.ports.store import ObjectReader, Store, StoredObject, StoredPage

T = TypeVar("T")
Read = Callable[[], Awaitable[bytes]]
MOMENT = RetryPolicy(attempts=4, base=0.1, cap=1.0)
READING = RetryPolicy(attempts=8, base=0.2, cap=3.0)
"""For a body that is under way: its reader would rather wait than begin again."""
_LONG = 20.0
"""Seconds after which nothing is tried again: who hangs that long is not back in a moment."""


class PatientStore:
    """Implements ``cephstorage.ports.store.Store``. Everything but a commit and a copy may be asked twice, and is."""

    def __init__(
        self,
        store: Store,
        policy: RetryPolicy = MOMENT,
        reading: RetryPolicy = READING,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._policy = policy
        self._reading = reading
        self._chance = chance
        self.plan_version = store.plan_version
        self.place = store.place
        self.published = store.published
        self.strays = store.strays
        self.tentative = store.tentative
        self.commit = store.commit
        self.copy = store.copy
        self.check = store.check
        self.notifications = store.notifications
        self.close = store.close

    async def patiently(self, operation: Callable[[], Awaitable[T]], policy: RetryPolicy | None = None) -> T:
        """Try until it works, will not work, or took too many tries or too long."""
        policy = policy or self._policy
        tries, begun = 0, time.monotonic()
        while True:
            tries += 1
            try:
                return await operation()
            except StoreMisconfigured:
                raise
            except StoreUnavailable as error:
                delay = policy.delay(tries, self._chance())
                if delay is None or time.monotonic() - begun > _LONG:
                    raise
                await asyncio.sleep(min(max(delay, error.retry_after or 0.0), policy.cap))

    async def create_bucket(self, bucket: BucketName) -> None:
        """See ``Store``."""
        await self.patiently(lambda: self._store.create_bucket(bucket))

    async def delete_bucket(self, bucket: BucketName) -> None:
        """See ``Store``."""
        await self.patiently(lambda: self._store.delete_bucket(bucket))

    async def holds(self, planned: StoredObject) -> str | None:
        """See ``Store``."""
        return await self.patiently(lambda: self._store.holds(planned))

    async def current(self, bucket: BucketName, key: str) -> StoredObject | None:
        """See ``Store``."""
        return await self.patiently(lambda: self._store.current(bucket, key))

    async def untouched(self, bucket: BucketName, key: str) -> bool:
        """See ``Store``."""
        return await self.patiently(lambda: self._store.untouched(bucket, key))

    async def is_newest(self, bucket: BucketName, key: str, store_version: str) -> bool:
        """See ``Store``."""
        return await self.patiently(lambda: self._store.is_newest(bucket, key, store_version))

    async def open(self, bucket: BucketName, key: str, store_version: str) -> "PatientReader":
        """See ``Store``. The reader is patient, too."""
        reader = await self.patiently(lambda: self._store.open(bucket, key, store_version))
        return PatientReader(reader, lambda read: self.patiently(read, self._reading))

    async def delete(self, bucket: BucketName, key: str, store_version: str) -> None:
        """See ``Store``."""
        await self.patiently(lambda: self._store.delete(bucket, key, store_version))

    async def abandon(self, bucket: BucketName, keep: Collection[str], before: float, key: str | None = None) -> int:
        """See ``Store``."""
        return await self.patiently(lambda: self._store.abandon(bucket, keep, before, key))

    async def page(self, bucket: BucketName, place: str | None) -> StoredPage:
        """See ``Store``."""
        return await self.patiently(lambda: self._store.page(bucket, place))

    async def versions(self, bucket: BucketName, key: str) -> Sequence[Seen]:
        """See ``Store``."""
        return await self.patiently(lambda: self._store.versions(bucket, key))

    async def hide(self, bucket: BucketName, key: str) -> None:
        """See ``Store``."""
        await self.patiently(lambda: self._store.hide(bucket, key))

    async def buckets(self) -> Sequence[BucketName]:
        """See ``Store``."""
        return await self.patiently(self._store.buckets)

    async def latest(self, bucket: BucketName, key: str, among: Collection[str]) -> str | None:
        """See ``Store``."""
        return await self.patiently(lambda: self._store.latest(bucket, key, among))

    def objects(self, bucket: BucketName) -> AsyncIterator[StoredObject]:
        """See ``Store``. A listing that breaks is begun again by whoever reads it."""
        return self._store.objects(bucket)


class PatientReader:
    """An opened version whose reads are tried again: each names its place."""

    def __init__(self, reader: ObjectReader, patiently: Callable[[Read], Awaitable[bytes]]) -> None:
        self._reader = reader
        self._patiently = patiently
        self.size = reader.size
        self.read_now = reader.read_now
        self.file = reader.file
        self.close = reader.close

    async def read(self, position: int, size: int) -> bytes:
        """See ``ObjectReader``."""
        return await self._patiently(lambda: self._reader.read(position, size))
