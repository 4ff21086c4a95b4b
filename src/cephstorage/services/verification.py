"""Verification: stored copies are read and hashed again; what is damaged or missing is taken away and brought anew.

A damaged copy is removed before its origin is asked, so that nobody gets it meanwhile, even if the origin can't
give another.
"""

from collections.abc import Callable
from dataclasses import dataclass

from cephstorage.domain.jobs import ItemError, Job, Step, added
from cephstorage.domain.records import Record
from cephstorage.ports.index import KeyIndex
from cephstorage.services.copies import told, visit_all, walk
from cephstorage.services.jobs import Note
from cephstorage.services.mirrors import Mirrors
from cephstorage.services.purges import Purges
from cephstorage.services.rehash import MEANING, Rehash
from cephstorage.services.visits import Pace, Visitor, abreast

_AT_ONCE = 16


@dataclass(slots=True)
class Verification:
    """The work of verifications. ``removed`` is called when bytes may be removed from the store."""

    keys: KeyIndex
    rehash: Rehash
    mirrors: Mirrors
    purges: Purges
    visitor: Visitor
    removed: Callable[[], None]

    async def __call__(self, job: Job, note: Note) -> None:
        """Verify what the job means, and repair it if that is wished."""
        mirror = self.mirrors.require(job.request.mirror)
        pace, visits = Pace(job.request.byte_rate), Pace(job.request.rate)
        place = job.place
        async for found in walk(self.keys, job, _AT_ONCE):
            faults = await self._faults(found.records, job.request.concurrency, pace)
            bad = tuple(record for record in found.records if record.key in faults)
            counts = {"seen": found.seen, "verified": len(found.records), **_by_code(faults)}
            counts["bytes"] = sum(record.size for record in found.records)
            errors = tuple(ItemError(key, code, MEANING[code]) for key, code in faults.items())
            if bad and job.request.repair:
                await note(Step(place, removed=bad))
                self.removed()
                await self.purges.settle_job(job.id)
                repaired, more = told(bad, await visit_all(self.visitor, mirror, bad, job.request.concurrency, visits))
                done = repaired.get("fetched", 0) + repaired.get("stored", 0)
                counts = added(counts, {"repaired": done, "unrepaired": len(bad) - done})
                errors += more
            place = found.place
            await note(Step(place, {name: count for name, count in counts.items() if count}, errors))

    async def _faults(self, records: tuple[Record, ...], most: int, pace: Pace) -> dict[str, str]:
        """What is wrong, by key."""
        codes = await abreast(lambda record: self.rehash.fault(record, pace), records, most)
        return {record.key: code for record, code in zip(records, codes, strict=True) if code is not None}


def _by_code(faults: dict[str, str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for code in faults.values():
        counts = added(counts, {code.removeprefix("stored_bytes_"): 1})
    return counts
