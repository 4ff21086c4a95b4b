"""A store that can be exchanged while the service runs: another gateway, other credentials.

What is under way ends on the store it began with, opened versions included; the store that was replaced
is closed when the last of it has ended. Until there is one, every use says what is missing.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cephstorage.domain.consistency import Seen
from cephstorage.domain.errors import StoreFull, StoreUnavailable
from cephstorage.domain.names import BucketName
from cephstorage.lending import Lent
from cephstorage.ports.notifications import Notifications
from cephstorage.ports.store import Note, ObjectReader, Place, Store, StoredObject, StoredPage, StoredVersion

_FULL_FOR = 60.0
"""Seconds for which a refusal for lack of room is remembered."""


class _LentReader:
    """A version opened on a store that stays open as long as this."""

    def __init__(self, reader: ObjectReader, give_back: Callable[[], None]) -> None:
        self._reader = reader
        self._give_back: Callable[[], None] | None = give_back
        self.size = reader.size
        self.read_now = reader.read_now
        self.read = reader.read
        self.file = reader.file

    async def close(self) -> None:
        """Release the version, then the store."""
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            try:
                await self._reader.close()
            finally:
                give_back()


class LiveStore:
    """Implements ``cephstorage.ports.store.Store`` by whichever store it was given last."""

    def __init__(self) -> None:
        self._held: Lent[Store] | None = None
        self._retired: list[Lent[Store]] = []
        self._lack = "The object store is not configured."
        self._full: tuple[StoreFull, float] | None = None

    def use(self, store: Store) -> None:
        """Use this store from now on."""
        self._retire()
        self._held = Lent(store, store.close)
        self._full = None

    def lack(self, why: str) -> None:
        """Have no store for now, and say why to whoever asks."""
        self._retire()
        self._lack = why

    def _retire(self) -> None:
        held, self._held = self._held, None
        self._retired = [old for old in self._retired if not old.closed]
        if held is not None:
            self._retired.append(held)
            held.retire()

    async def close(self) -> None:
        """Close every store that is not closed yet; nobody uses them any more."""
        self._retire()
        closing = [held.close() for held in self._retired]
        self._retired = []
        await asyncio.gather(*closing, return_exceptions=True)

    def _current(self) -> Lent[Store]:
        if self._held is None:
            raise StoreUnavailable(self._lack, retry_after=30)
        return self._held

    @contextmanager
    def _in_use(self) -> Iterator[Store]:
        held = self._current()
        held.take()
        try:
            yield held.thing
        finally:
            held.give_back()

    async def create_bucket(self, bucket: BucketName) -> None:
        """See ``Store``."""
        with self._in_use() as store:
            await store.create_bucket(bucket)

    async def delete_bucket(self, bucket: BucketName) -> None:
        """See ``Store``."""
        with self._in_use() as store:
            await store.delete_bucket(bucket)

    def plan_version(self, transfer_id: str, fence: int) -> str:
        """See ``Store``."""
        return self._current().thing.plan_version(transfer_id, fence)

    async def commit(self, part: Path, planned: StoredObject, note: Note | None = None) -> str:
        """See ``Store``."""
        with self._in_use() as store, self._room_seen():
            return await store.commit(part, planned, note)

    async def copy(self, source: StoredVersion, planned: StoredObject, note: Note | None = None) -> str:
        """See ``Store``."""
        with self._in_use() as store, self._room_seen():
            return await store.copy(source, planned, note)

    @contextmanager
    def _room_seen(self) -> Iterator[None]:
        """Remember whether there was room for what was stored."""
        try:
            yield
        except StoreFull as error:
            self._full = (error, time.monotonic())
            raise
        self._full = None

    async def holds(self, planned: StoredObject) -> str | None:
        """See ``Store``."""
        with self._in_use() as store:
            return await store.holds(planned)

    async def current(self, bucket: BucketName, key: str) -> StoredObject | None:
        """See ``Store``."""
        with self._in_use() as store:
            return await store.current(bucket, key)

    async def untouched(self, bucket: BucketName, key: str) -> bool:
        """See ``Store``."""
        with self._in_use() as store:
            return await store.untouched(bucket, key)

    async def is_newest(self, bucket: BucketName, key: str, store_version: str) -> bool:
        """See ``Store``."""
        with self._in_use() as store:
            return await store.is_newest(bucket, key, store_version)

    async def open(self, bucket: BucketName, key: str, store_version: str) -> ObjectReader:
        """See ``Store``."""
        held = self._current()
        held.take()
        try:
            reader = await held.thing.open(bucket, key, store_version)
        except BaseException:
            held.give_back()
            raise
        return _LentReader(reader, held.give_back)

    def place(self, bucket: BucketName, key: str, store_version: str) -> Place | None:
        """See ``Store``."""
        return self._current().thing.place(bucket, key, store_version)

    def published(self, bucket: BucketName, key: str, store_version: str, expires_in: int) -> str | None:
        """See ``Store``."""
        return self._held.thing.published(bucket, key, store_version, expires_in) if self._held is not None else None

    async def delete(self, bucket: BucketName, key: str, store_version: str) -> None:
        """See ``Store``."""
        with self._in_use() as store:
            await store.delete(bucket, key, store_version)

    def strays(self, store_version: str) -> str | None:
        """See ``Store``."""
        return self._current().thing.strays(store_version)

    def tentative(self, store_version: str) -> bool:
        """See ``Store``."""
        return self._current().thing.tentative(store_version)

    async def abandon(self, bucket: BucketName, keep: Collection[str], before: float, key: str | None = None) -> int:
        """See ``Store``."""
        with self._in_use() as store:
            return await store.abandon(bucket, keep, before, key)

    async def objects(self, bucket: BucketName) -> AsyncIterator[StoredObject]:
        """See ``Store``."""
        with self._in_use() as store:
            async for found in store.objects(bucket):
                yield found

    async def page(self, bucket: BucketName, place: str | None) -> StoredPage:
        """See ``Store``."""
        with self._in_use() as store:
            return await store.page(bucket, place)

    async def versions(self, bucket: BucketName, key: str) -> Sequence[Seen]:
        """See ``Store``."""
        with self._in_use() as store:
            return await store.versions(bucket, key)

    async def hide(self, bucket: BucketName, key: str) -> None:
        """See ``Store``."""
        with self._in_use() as store:
            await store.hide(bucket, key)

    async def buckets(self) -> Sequence[BucketName]:
        """See ``Store``."""
        with self._in_use() as store:
            return await store.buckets()

    async def latest(self, bucket: BucketName, key: str, among: Collection[str]) -> str | None:
        """See ``Store``."""
        with self._in_use() as store:
            return await store.latest(bucket, key, among)

    def notifications(self) -> Notifications:
        """See ``Store``."""
        return self._current().thing.notifications()

    async def check(self) -> str:
        """See ``Store``. A store that had no room a moment ago, and took nothing since, is not well either."""
        with self._in_use() as store:
            said = await store.check()
        if self._full is not None and time.monotonic() - self._full[1] < _FULL_FOR:
            raise StoreFull(self._full[0].msg, retry_after=self._full[0].retry_after)
        return said
