"""Records remembered between requests, for as long as nothing at all was committed to the database.

``PRAGMA data_version`` changes with every commit of any other connection, in this process or another,
and costs about a microsecond. So a store hit needs no thread and no query, and still no reader ever
gets a record that was replaced before the request began.
"""

import time
from collections.abc import Callable, Mapping, Sequence

from cephstorage.domain.names import BucketName
from cephstorage.domain.records import FolderUsage, ListQuery, OriginFacts, Page, Record, living
from cephstorage.ports.index import KeyIndex

_MOST = 50_000


class RememberedKeys:
    """``KeyIndex`` over another one. ``version`` tells, cheaply, whether the database has changed."""

    def __init__(self, keys: KeyIndex, version: Callable[[], int], clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self.clock = clock
        self._version = version
        self._seen = -1
        self._records: dict[tuple[BucketName, str], Record | None] = {}

    async def get(self, bucket: BucketName, key: str) -> Record | None:
        """The visible version of a key. That there is none is remembered, too: a crowd asks for what is being filled."""
        version, name = self._version(), (bucket, key)
        if version != self._seen or len(self._records) >= _MOST:
            self._records.clear()
            self._seen = version
        if name in self._records:
            record = self._records[name]
        else:
            record = await self._keys.get(bucket, key)
            if self._version() == version == self._seen:
                self._records[name] = record
        return living(record, self.clock())

    async def listing(self, bucket: BucketName, query: ListQuery) -> Page:
        """One page in byte order."""
        return await self._keys.listing(bucket, query)

    async def md5s(self, bucket: BucketName, keys: Sequence[str], now: float) -> Mapping[str, str]:
        """The md5 of those keys that are there."""
        return await self._keys.md5s(bucket, keys, now)

    async def usage(self, bucket: BucketName, vfolder: str, limit: int, cursor: str | None) -> FolderUsage | None:
        """What a folder holds."""
        return await self._keys.usage(bucket, vfolder, limit, cursor)

    async def delete(self, bucket: BucketName, key: str, now: float) -> None:
        """Make a key invisible."""
        await self._keys.delete(bucket, key, now)

    async def touch(
        self, bucket: BucketName, key: str, generation: int, now: float, origin: OriginFacts | None = None
    ) -> None:
        """Note that the origin confirmed this version."""
        await self._keys.touch(bucket, key, generation, now, origin)

    async def invalidate(self, bucket: BucketName, key: str, now: float) -> bool:
        """Have a mirror's copy confirmed before it is used again."""
        return await self._keys.invalidate(bucket, key, now)
