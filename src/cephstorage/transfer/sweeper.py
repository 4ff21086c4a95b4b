"""What nobody names in the store any more is removed: replaced and never published versions, orphaned uploads.

Its steps may run in several processes at once, and wait for a slow store without holding up anybody else.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from cephstorage.ports.index import Removal
from cephstorage.transfer.parts import Parts

log = structlog.get_logger()

_REMOVALS = 200
_AT_A_TIME = 8


@dataclass(slots=True)
class Sweeper:
    """Times in seconds.

    ``removal_grace``: how long a version stays after it was unnamed, for those who are reading it by parts
    where an opened version does not keep its bytes. ``abandon_after``: age from which an upload to the store
    that no transfer names is given up; its process died between beginning and noting it.
    """

    parts: Parts
    removal_grace: float = 0.0
    abandon_after: float = 86400.0
    _seen: deque[tuple[float, int]] = field(default_factory=deque)
    _behind: int = 0

    async def remove_unnamed_bytes(self) -> None:
        """Remove the versions whose grace is over."""
        last = await self._last_due(time.monotonic())
        while removals := await self._due(last):
            refused: list[BaseException] = []
            for start in range(0, len(removals), _AT_A_TIME):
                refused += await self._remove(removals[start : start + _AT_A_TIME])
            if refused:
                raise refused[0]

    async def _due(self, last: int) -> list[Removal]:
        """The oldest up to number ``last``, from behind those that were refused all together in the round before."""
        found = await self.parts.landing.removals(_REMOVALS, self._behind)
        if not (due := [removal for removal in found if removal.id <= last]):
            self._behind = 0
        return due

    async def _last_due(self, now: float) -> int:
        """The highest number in the queue that had been given a grace ago, as far as this process has seen."""
        self._seen.append((now, await self.parts.landing.newest_removal()))
        due = 0
        while self._seen and self._seen[0][0] <= now - self.removal_grace:
            due = self._seen.popleft()[1]
        if due:
            self._seen.appendleft((now - self.removal_grace, due))
        return due

    async def _remove(self, removals: Sequence[Removal]) -> list[BaseException]:
        """Remove some at a time; those that the store refuses stay in the queue, for the reasons returned.

        Raises the reason when it refuses all of them: then it is the store that is not well, as far as one can tell. If it
        is well, it is these that it refuses for ever, and the next round has the others.
        """
        results = await asyncio.gather(*map(self._remove_one, removals), return_exceptions=True)
        await self.parts.landing.removed([each.id for each, error in zip(removals, results, strict=True) if not error])
        refused = [error for error in results if error is not None]
        if len(refused) == len(removals):
            self._behind = removals[-1].id
            raise refused[0]
        return refused

    async def _remove_one(self, removal: Removal) -> None:
        """Remove a version; of an attempt also what was begun for it without its being told."""
        store, before = self.parts.store, self.parts.clock() - self.removal_grace
        await store.delete(removal.bucket, removal.key, removal.store_version)
        if store.tentative(removal.store_version):
            named = await self.parts.landing.planned_versions()
            await store.abandon(removal.bucket, named, before, removal.key)

    async def abandon_orphans(self) -> None:
        """Give up uploads to the store that were begun long ago and that no transfer names."""
        before = self.parts.clock() - self.abandon_after
        for bucket in await self.parts.landing.buckets():
            named = await self.parts.landing.planned_versions()
            if count := await self.parts.store.abandon(bucket, named, before):
                log.info("orphaned_uploads_aborted", bucket=str(bucket), count=count)
