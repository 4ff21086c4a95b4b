"""Purges by selection: copies of a mirror are removed, marked, refreshed, or only dropped from the edges.

A walk over the bucket's keys, some at a time. After each step the edges are told of what it changed, so that
what is gone from the store is gone from everywhere before the walk goes on.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from cephstorage.domain.errors import InvalidKey
from cephstorage.domain.jobs import ItemError, Job, JobKind, Step, added
from cephstorage.domain.mirrors import Mirror, read_target
from cephstorage.domain.records import ListQuery, Record
from cephstorage.domain.variants import variant_prefix
from cephstorage.ports.index import KeyIndex
from cephstorage.services.jobs import Note, Work
from cephstorage.services.mirrors import Mirrors
from cephstorage.services.purges import Purges
from cephstorage.services.visits import Outcome, Pace, Visited, Visitor, abreast

PAGE = 100
"""Keys in one transaction: a bucket is locked for as long as they take."""
REFRESHED = 32
END = ""
"""The place behind the last key."""


@dataclass(frozen=True, slots=True)
class Found:
    """The copies among some keys that were looked at; ``place``: where the walk goes on behind them."""

    records: tuple[Record, ...]
    seen: int
    place: str


async def walk(keys: KeyIndex, job: Job, size: int = PAGE) -> AsyncIterator[Found]:
    """The copies that a job means, from its place on, some keys at a time."""
    chosen, bucket = job.request.selection, job.request.bucket
    if job.place == END:
        return
    if chosen.key is not None:
        record = await keys.get(bucket, chosen.key)
        page = await keys.listing(bucket, ListQuery(vfolder=None, prefix=variant_prefix(chosen.key)))
        seen = (*((record,) if record is not None else ()), *page.keys)
        yield Found(tuple(each for each in seen if chosen.holds(each)), len(seen), END)
        return
    query = ListQuery(vfolder=None, prefix=chosen.prefix, limit=size, cursor=job.place)
    while True:
        page = await keys.listing(bucket, query)
        held = tuple(record for record in page.keys if chosen.holds(record))
        yield Found(held, len(page.keys), page.cursor or END)
        if page.cursor is None:
            return
        query = replace(query, cursor=page.cursor)


@dataclass(slots=True)
class Copies:
    """The works of purges. ``removed`` is called when bytes may be removed from the store."""

    keys: KeyIndex
    mirrors: Mirrors
    purges: Purges
    visitor: Visitor
    removed: Callable[[], None]

    def works(self) -> Mapping[JobKind, Work]:
        """By kind."""
        return {
            JobKind.PURGE: lambda job, note: self._change(
                job, note, lambda found, counts: Step(found.place, counts, removed=found.records)
            ),
            JobKind.SOFT: lambda job, note: self._change(
                job, note, lambda found, counts: Step(found.place, counts, marked=found.records)
            ),
            JobKind.EDGES: lambda job, note: self._change(
                job, note, lambda found, counts: Step(found.place, counts, forgotten=found.records)
            ),
            JobKind.REFRESH: self.refresh,
        }

    async def _change(self, job: Job, note: Note, step: Callable[[Found, Mapping[str, int]], Step]) -> None:
        async for found in walk(self.keys, job):
            await note(step(found, {"seen": found.seen}))
            if found.records:
                self.removed()
                await self.purges.settle_job(job.id)

    async def refresh(self, job: Job, note: Note) -> None:
        """Mark copies and visit them, so that the origin confirms or replaces each; an origin that fails leaves it marked."""
        mirror, pace, place = self.mirrors.require(job.request.mirror), Pace(job.request.rate), job.place
        async for found in walk(self.keys, job, REFRESHED):
            if found.records:
                await note(Step(place, marked=found.records))
                await self.purges.settle_job(job.id)
            visits = await visit_all(self.visitor, mirror, found.records, job.request.concurrency, pace)
            place = found.place
            counts, errors = told(found.records, visits)
            await note(Step(place, added({"seen": found.seen}, counts), errors))


async def visit_all(
    visitor: Visitor, mirror: Mirror, records: Sequence[Record], most: int, pace: Pace
) -> list[Visited]:
    """Visit what the records were copied from, at most so many at a time."""

    async def one(record: Record) -> Visited:
        await pace.turn()
        return await visit_copy(visitor, mirror, record)

    return await abreast(one, records, most)


async def visit_copy(visitor: Visitor, mirror: Mirror, record: Record) -> Visited:
    """Visit what a record was copied from, if the mirror leads there today."""
    target = record.origin.target if record.origin is not None else ""
    if "#" in target:  # a variant: who asks for it next will have it confirmed
        return Visited(Outcome.UNSTORED)
    path, _, query = target.partition("?")
    try:
        read, _ = read_target(path, query, mirror)
    except InvalidKey as error:
        return Visited(Outcome.FAILED, code=error.code, msg=error.msg)
    if read.key != record.key:
        msg = "The mirror's rules of today lead no request to this copy."
        return Visited(Outcome.FAILED, code="not_addressed", msg=msg)
    return await visitor.visit(mirror, target)


def told(records: Sequence[Record], visits: Sequence[Visited]) -> tuple[dict[str, int], tuple[ItemError, ...]]:
    """What visits came to, as counts and errors. A copy whose origin has another answer now has failed to be confirmed."""
    counts: dict[str, int] = {}
    errors = []
    for record, visited in zip(records, visits, strict=True):
        counts = added(counts, {visited.outcome.value: 1})
        if visited.size:
            counts = added(counts, {"bytes": visited.size})
        if visited.outcome in {Outcome.FAILED, Outcome.UNSTORED}:
            errors.append(ItemError(record.key, visited.code, visited.msg))
    return counts, tuple(errors)
