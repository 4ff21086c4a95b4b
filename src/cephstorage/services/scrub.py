"""Scrub: every stored byte is read and hashed again, slowly, and what is damaged is brought anew or reported."""

from dataclasses import dataclass

from cephstorage.domain.records import ListQuery, Record
from cephstorage.domain.walks import Stage, mends_on
from cephstorage.ports.consistency import WalkTable
from cephstorage.ports.index import BucketIndex, KeyIndex
from cephstorage.services.consistency import Consistency
from cephstorage.services.visits import Pace
from cephstorage.services.walks import Course

_DAY = 86400.0
_SLOWEST = 65536.0
"""Bytes a second, however little there is."""
_RECORDS = 20


@dataclass(slots=True)
class Scrub:
    """The work of scrubs. ``percent`` of all that buckets hold is read a day."""

    keys: KeyIndex
    buckets: BucketIndex
    table: WalkTable
    consistency: Consistency
    percent: float

    @property
    def interval(self) -> float:
        """Seconds that a round takes."""
        return _DAY * 100 / self.percent

    async def __call__(self, course: Course) -> None:
        """Go on with a walk to its end."""
        await self.consistency.require(course.bucket)
        course.keys = (await self.buckets.get(course.bucket)).keyamount
        rate = max(_SLOWEST, await self.table.stored_bytes() * self.percent / 100 / _DAY)
        pace, query = Pace(rate), ListQuery(vfolder=None, limit=_RECORDS, cursor=course.place)
        while True:
            page = await self.keys.listing(course.bucket, query)
            for record in page.keys:
                course.counts["records"] += 1
                await course.look(record.key, self._read(course, record, pace))
            if page.cursor is None:
                return
            query = ListQuery(vfolder=None, limit=_RECORDS, cursor=page.cursor)
            await course.reach(Stage.RECORDS, page.cursor)

    async def _read(self, course: Course, record: Record, pace: Pace) -> str:
        """Read the bytes of a record; what was done about them."""
        fault = await self.consistency.rehash.fault(record, pace)
        course.counts["bytes"] += record.size
        if fault is None:
            await self.consistency.sound(record)
            return ""
        return await self.consistency.damaged(record, fault, mend=mends_on(course.counts, course.keys))
