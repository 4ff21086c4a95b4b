"""Reconciliation: a bucket's index and its store are held against each other, whatever their size.

The listing of the store is read once, each page with one question to the index; only what does not agree is looked at
itself. What the listing did not show is found by sums (``domain.walks``): no row is written, and memory stays the same.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog

from cephstorage.domain.consistency import agrees, identity_of, suspicious
from cephstorage.domain.errors import StoredBytesMissing
from cephstorage.domain.records import ListQuery, Page, Record
from cephstorage.domain.walks import Stage, Sums, mends_on
from cephstorage.ports.index import BucketIndex, KeyIndex
from cephstorage.ports.store import Store, StoredPage
from cephstorage.services.consistency import Consistency
from cephstorage.services.visits import Pace, abreast
from cephstorage.services.walks import Course

log = structlog.get_logger()

_RECORDS = 1000
_AT_ONCE = 8
_COST = 3
"""Requests to the store that a look at a key takes, about."""


@dataclass(slots=True)
class Reconciliation:
    """The work of reconciliations, at the pace of so many requests to the store a second."""

    keys: KeyIndex
    buckets: BucketIndex
    store: Store
    consistency: Consistency
    pace: Pace

    async def __call__(self, course: Course) -> None:
        """Go on with a walk to its end."""
        await self.consistency.require(course.bucket)
        course.keys = (await self.buckets.get(course.bucket)).keyamount
        if course.sums is None:
            course.sums = Sums(course.keys)
        if course.stage is Stage.OBJECTS:
            await self._read_store(course, course.sums)
        if course.stage is Stage.SUMS:
            await self._add_up_records(course, course.sums)
        if course.stage is Stage.RECORDS:
            await self._look_at_records(course, course.sums)

    async def _read_store(self, course: Course, sums: Sums) -> None:
        place: str | None = course.place
        while True:
            page = await self.store.page(course.bucket, place)
            await self.pace.turn(page.cost)
            doubtful = await self._sift(course, page, sums)
            await abreast(lambda key: self._look_at(course, key), doubtful, _AT_ONCE)
            if page.place is None:
                await course.reach(Stage.SUMS, None)
                return
            place = page.place
            await course.reach(Stage.OBJECTS, place)

    async def _sift(self, course: Course, page: StoredPage, sums: Sums) -> list[str]:
        """Add up what is where the index names it; the keys that have to be looked at."""
        keys = list(dict.fromkeys(seen.key for seen in page.versions))
        known = await self.consistency.index.known(course.bucket, keys) if keys else {}
        now, graces = self.consistency.clock(), self.consistency.bounds.graces(hinted=False)
        doubtful: dict[str, None] = {}
        for seen in page.versions:
            here = known[seen.key]
            course.counts["objects"] += not seen.marker
            if here.record is not None and not seen.marker and here.names(seen) and agrees(here.record, seen):
                sums.found(seen.key, seen.identity)
            elif suspicious(here, seen, now, graces):
                doubtful[seen.key] = None
        return list(doubtful)

    async def _add_up_records(self, course: Course, sums: Sums) -> None:
        if course.place is None:
            sums.forget_recorded()
        async for page in self._pages(course):
            for record in page.keys:
                sums.recorded(record.key, identity_of(record.store_version))
            course.counts["records"] += len(page.keys)
            if page.cursor is not None:
                await course.reach(Stage.SUMS, page.cursor)
        if not sums.all_equal():
            await course.reach(Stage.RECORDS, None)

    async def _look_at_records(self, course: Course, sums: Sums) -> None:
        async for page in self._pages(course):
            doubtful = [record for record in page.keys if sums.differ(record.key)]
            await abreast(lambda record: self._ask_for(course, record), doubtful, _AT_ONCE)
            if page.cursor is not None:
                await course.reach(Stage.RECORDS, page.cursor)

    async def _pages(self, course: Course) -> AsyncIterator[Page]:
        """The bucket's records from the walk's place on."""
        cursor = course.place
        while True:
            page = await self.keys.listing(course.bucket, ListQuery(vfolder=None, limit=_RECORDS, cursor=cursor))
            yield page
            cursor = page.cursor
            if cursor is None:
                return

    async def _ask_for(self, course: Course, record: Record) -> None:
        if not await self._is_there(course, record):
            await self._look_at(course, record.key)

    async def _is_there(self, course: Course, record: Record) -> bool:
        course.counts["asked"] += 1
        await self.pace.turn()
        try:
            reader = await self.store.open(record.bucket, record.key, record.store_version)
        except StoredBytesMissing:
            return False
        await reader.close()
        return reader.size == record.size

    async def _look_at(self, course: Course, key: str) -> None:
        await self.pace.turn(_COST)
        course.counts["looked"] += 1
        mend = mends_on(course.counts, course.keys)
        if not mend and not course.counts["held_back"]:
            log.error("walk_mends_no_more", bucket=str(course.bucket), advice="see docs/truth.md", **course.counts)
        if not mend:
            course.counts["held_back"] += 1
        await course.look(key, self._check(course, key, mend=mend))

    async def _check(self, course: Course, key: str, *, mend: bool) -> str:
        return (await self.consistency.check(course.bucket, key, mend=mend)).action
