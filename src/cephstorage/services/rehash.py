"""Stored bytes are read and hashed again. What differs is read twice: a fault on the way must not cost a copy."""

import asyncio
import hashlib
from dataclasses import dataclass
from functools import partial

from cephstorage.domain.errors import StoredBytesMissing
from cephstorage.domain.records import Record
from cephstorage.ports.index import KeyIndex
from cephstorage.ports.store import ObjectReader, Store, StoredObject
from cephstorage.services.visits import Pace

MISSING = StoredBytesMissing.code
DAMAGED = "stored_bytes_damaged"
MEANING = {
    MISSING: "The store does not hold this copy any more.",
    DAMAGED: "The stored bytes don't have the md5 or the length of the copy.",
}
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Rehash:
    """Reads what lies in the store, at the pace that it is given (bytes a second)."""

    keys: KeyIndex
    store: Store

    async def fault(self, record: Record, pace: Pace) -> str | None:
        """Why a copy is bad; None when it is good, or has been replaced since. Raises StoreUnavailable."""
        try:
            good = await self._is_whole(record, pace) or await self._is_whole(record, pace)
        except StoredBytesMissing:
            now = await self.keys.get(record.bucket, record.key)
            return MISSING if now is not None and now.store_version == record.store_version else None
        return None if good else DAMAGED

    async def md5(self, found: StoredObject, pace: Pace) -> str:
        """The md5 of a version. Raises StoredBytesMissing, StoreUnavailable."""
        reader = await self.store.open(found.bucket, found.key, found.store_version)
        try:
            md5 = await _md5(reader, found.size, pace)
        finally:
            await reader.close()
        if md5 is None:
            raise StoredBytesMissing(f"The store holds less of {found.key!r} in {found.bucket} than it says.")
        return md5

    async def _is_whole(self, record: Record, pace: Pace) -> bool:
        """Whether the stored bytes are those of the record. Raises StoredBytesMissing, StoreUnavailable."""
        reader = await self.store.open(record.bucket, record.key, record.store_version)
        try:
            return reader.size == record.size and await _md5(reader, record.size, pace) == record.md5
        finally:
            await reader.close()


async def _md5(reader: ObjectReader, size: int, pace: Pace) -> str | None:
    """The md5 of so many bytes; None when there are fewer."""
    digest, position = hashlib.md5(usedforsecurity=False), 0
    while position < size:
        most = min(_PIECE, size - position)
        await pace.turn(most)
        piece = await reader.read(position, most)
        if not piece:
            return None
        await asyncio.to_thread(partial(digest.update, piece))
        position += len(piece)
    return digest.hexdigest()
