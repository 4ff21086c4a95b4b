"""Records as they were last seen, for the time when the database does not answer.

The database is asked each time. Only when it fails, or is silent for longer than a reader should wait,
does the record that was last seen stand in: mirrors and published URLs of known keys go on. It may have
been replaced or deleted meanwhile by another process; this one's own changes are known.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from cephstorage.domain.errors import DatabaseUnavailable
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import FolderUsage, ListQuery, OriginFacts, Page, Record, living
from cephstorage.ports.index import KeyIndex

_MOST = 50_000
_PATIENCE = 2.0


class LastKnownKeys:
    """``KeyIndex`` over another one. ``most``: records remembered; ``patience``: seconds that a known one is waited for."""

    def __init__(
        self,
        keys: KeyIndex,
        *,
        most: int = _MOST,
        patience: float = _PATIENCE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self.clock = clock
        self._most = most
        self._patience = patience
        self._records: OrderedDict[tuple[BucketName, str], Record] = OrderedDict()
        self._deletes = 0

    async def get(self, bucket: BucketName, key: str) -> Record | None:
        """The visible version of a key, or the last one that was seen of it; none whose time is over."""
        return living(await self._last_known(bucket, key), self.clock())

    async def _last_known(self, bucket: BucketName, key: str) -> Record | None:
        name = (bucket, key)
        known, deletes = self._records.get(name), self._deletes
        try:
            async with asyncio.timeout(self._patience if known is not None else None):
                record = await self._keys.get(bucket, key)
        except (DatabaseUnavailable, TimeoutError):
            if known is None:
                raise
            return replace(known, current=False)
        if deletes == self._deletes:  # else it may be what was just deleted here
            self._note(name, record)
        return record

    def _note(self, name: tuple[BucketName, str], record: Record | None) -> None:
        if record is None:
            self._records.pop(name, None)
            return
        self._records[name] = record
        self._records.move_to_end(name)
        if len(self._records) > self._most:
            self._records.popitem(last=False)

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
        self._deletes += 1
        self._records.pop((bucket, key), None)

    def gone(self, bucket: BucketName, keys: Sequence[str]) -> None:
        """Forget keys that were deleted here."""
        self._deletes += 1
        for key in keys:
            self._records.pop((bucket, key), None)

    async def touch(
        self, bucket: BucketName, key: str, generation: int, now: float, origin: OriginFacts | None = None
    ) -> None:
        """Note that the origin confirmed this version."""
        await self._keys.touch(bucket, key, generation, now, origin)

    async def invalidate(self, bucket: BucketName, key: str, now: float) -> bool:
        """Have a mirror's copy confirmed before it is used again."""
        return await self._keys.invalidate(bucket, key, now)
