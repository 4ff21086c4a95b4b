"""Bytes that are gone or damaged are brought anew, from where the record says that they came.

A mirror's copy is taken away and asked for again through its mirror; a key that was created from an address is created
from it once more, with the md5 that it had, by a durable transfer. What was uploaded can't be brought by anybody but
its owner: its record stays as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass

from cephstorage.domain.errors import CephStorageError, PreconditionFailed
from cephstorage.domain.findings import Done
from cephstorage.domain.records import Record
from cephstorage.ports.consistency import ConsistencyIndex
from cephstorage.services.copies import visit_copy
from cephstorage.services.keys import Keys, Order
from cephstorage.services.mirrors import Mirrors
from cephstorage.services.purges import Purges
from cephstorage.services.visits import Outcome, Visitor


@dataclass(frozen=True, slots=True)
class Mended:
    """What was undertaken, and what is to be said of it. ``over``: the record is not visible any more."""

    done: Done
    detail: str
    over: bool = False


@dataclass(slots=True)
class Repairs:
    """``removed`` is called when bytes may be removed from the store."""

    index: ConsistencyIndex
    keys: Keys
    mirrors: Mirrors
    purges: Purges
    visitor: Visitor
    removed: Callable[[], None]
    clock: Callable[[], float]

    async def mend(self, record: Record) -> Mended:
        """Bring the bytes of a record anew, if anybody can."""
        if record.origin is not None and self.mirrors.all(str(record.bucket)):
            return await self._refill(record)
        if record.origin is None and record.source.startswith(("http://", "https://")):
            return await self._refetch(record)
        return Mended(Done.NOTHING, "Restore it in the store, or delete the key, or store it again.")

    async def _refill(self, record: Record) -> Mended:
        """Take the copy away, so that nobody gets it meanwhile, and visit its mirror."""
        if not await self.index.drop(record, self.clock()):
            return Mended(Done.NOTHING, "It has been replaced meanwhile.", over=True)
        self.removed()
        await self.purges.settle(record.bucket, record.key)
        said = ""
        for mirror in self.mirrors.all(str(record.bucket)):
            visited = await visit_copy(self.visitor, mirror, record)
            if visited.outcome in {Outcome.FETCHED, Outcome.STORED}:
                return Mended(Done.REFILL, f"Fetched anew through {mirror.host}.", over=True)
            said = visited.msg or visited.code
        return Mended(Done.REFILL, f"Removed; its origin did not give another copy yet. {said}", over=True)

    async def _refetch(self, record: Record) -> Mended:
        order = Order(
            record.key,
            record.source,
            content_type=record.content_type,
            md5=record.md5,
            timetag=record.ts,
            if_match=record.etag,
            metadata=dict(record.metadata),
            expires=record.expires,
        )
        try:
            tokens = await self.keys.create(record.bucket, [order], None)
        except PreconditionFailed:
            return Mended(Done.NOTHING, "It has been replaced meanwhile.", over=True)
        except CephStorageError as error:
            return Mended(Done.NOTHING, f"Its source can't be asked again: {error.msg}")
        return Mended(Done.REFETCH, f"Fetched again from {record.source}; progress: {tokens[0]}")
