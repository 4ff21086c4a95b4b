"""What other clients have deleted in followed buckets, looked for where the store does not tell of deletions.

Their marks stand in the store's listing: a page of it takes one request, and one question to the index. A bucket is
looked through again when nine times as long has gone by as it took: so it costs a tenth of what reconciliations may.
"""

from dataclasses import dataclass

from cephstorage.domain.consistency import Policy
from cephstorage.domain.errors import NotSupported
from cephstorage.domain.walks import Stage
from cephstorage.ports.index import BucketIndex
from cephstorage.ports.store import Store, StoredPage
from cephstorage.services.consistency import Consistency
from cephstorage.services.visits import Pace, abreast
from cephstorage.services.walks import Course

MOST_KEYS = 100_000
"""Larger buckets would keep the others waiting; their deletions are the reconciliation's."""
_LEAST_REST = 5.0
_LATER = 600.0
"""Seconds until it is seen whether a large bucket is still one."""
_AT_ONCE = 8
_COST = 2
"""Requests to the store that a look at a deleted key takes: its versions, and the one that was visible."""


@dataclass(slots=True)
class ForeignDeletions:
    """The work of walks that look for marks of deletion. ``repeats``: followed buckets are looked through again."""

    buckets: BucketIndex
    store: Store
    consistency: Consistency
    pace: Pace
    repeats: bool

    async def __call__(self, course: Course) -> None:
        """Go on with a walk to its end, and say when the next one is due."""
        course.keys = (await self.buckets.get(course.bucket)).keyamount
        if course.keys <= MOST_KEYS and self._follows:
            await self._read_store(course)
        course.rest = await self._rest(course)

    @property
    def _follows(self) -> bool:
        return self.consistency.bounds.policy is Policy.ADOPT

    async def _read_store(self, course: Course) -> None:
        place = course.place
        while True:
            page = await self.store.page(course.bucket, place)
            await self.pace.turn(page.cost)
            await abreast(lambda key: self._look_at(course, key), await self._deleted(course, page), _AT_ONCE)
            if page.place is None:
                return
            place = page.place
            await course.reach(Stage.OBJECTS, place)

    async def _rest(self, course: Course) -> float | None:
        """Seconds between the end of this walk and the next one; None: there is none."""
        if not self.repeats or not self._follows:
            return None
        try:
            following = await self.store.notifications().following(course.bucket)
        except NotSupported:
            return None
        if following is None or following.removals:
            return None
        return _LATER if course.keys > MOST_KEYS else _LEAST_REST

    async def _deleted(self, course: Course, page: StoredPage) -> list[str]:
        """The keys of a page that are visible here, and hidden from the store's clients."""
        hidden = [seen.key for seen in page.versions if seen.marker and seen.newest]
        known = await self.consistency.index.known(course.bucket, hidden) if hidden else {}
        course.counts["objects"] += sum(not seen.marker for seen in page.versions)
        return [key for key in hidden if known[key].record is not None]

    async def _look_at(self, course: Course, key: str) -> None:
        await self.pace.turn(_COST)
        course.counts["looked"] += 1
        await course.look(key, self._check(course, key))

    async def _check(self, course: Course, key: str) -> str:
        return (await self.consistency.check(course.bucket, key, hinted=True, mend=False)).action
