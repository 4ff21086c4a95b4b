"""Warm-up: what a list, a sitemap, a ``Packages`` index or a folder names is brought before anybody asks for it.

The list lies in the database. An item that is an index is read through the mirror itself and puts what it
names on the list; all others are visits, so that a warm-up and clients share every fill.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from cephstorage.domain.errors import CephStorageError, InvalidInput, LeaseLost, Unavailable
from cephstorage.domain.indexes import MOST_BYTES, mirror_target, reader_of
from cephstorage.domain.jobs import Item, ItemError, ItemKind, Job, QueuedItem, Step, added
from cephstorage.domain.mirrors import Mirror
from cephstorage.ports.jobs import JobTable
from cephstorage.services.jobs import Note
from cephstorage.services.mirrors import Mirrors
from cephstorage.services.visits import Outcome, Pace, Visitor

_AT_ONCE = 200
_IN_ONE_STEP = 1000


def listed(mirror: Mirror, lines: Sequence[str]) -> tuple[Item, ...]:
    """The items of a list of URLs or paths; empty lines and ``#`` remarks are left out. Raises InvalidInput."""
    wanted = (line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
    targets = dict.fromkeys(target_of(mirror, line) for line in wanted)
    return tuple(Item(ItemKind.OBJECT, target) for target in targets)


def target_of(mirror: Mirror, url: str) -> str:
    """The target of a URL or path at the mirror. Raises InvalidInput when it is another host's."""
    try:
        target = mirror_target(mirror, url)
    except ValueError:
        target = None
    if target is None:
        raise InvalidInput(f"{url[:200]!r} lies neither on {mirror.host} nor on its origin, and is no path.")
    return target


@dataclass(slots=True)
class _Ended:
    """What came of one item."""

    number: int
    counts: dict[str, int] = field(default_factory=dict)
    errors: tuple[ItemError, ...] = ()
    found: tuple[Item, ...] = ()


@dataclass(slots=True)
class Warming:
    """The work of warm-ups."""

    table: JobTable
    mirrors: Mirrors
    visitor: Visitor

    async def __call__(self, job: Job, note: Note) -> None:
        """Work the list off, as many items at a time and a second as the request allows."""
        mirror, pace = self.mirrors.require(job.request.mirror), Pace(job.request.rate)
        running: set[asyncio.Task[_Ended]] = set()
        waiting: list[QueuedItem] = []
        last = 0
        try:
            while True:
                if not waiting:
                    waiting = list(await self.table.items(job.id, last, _AT_ONCE))
                while waiting and len(running) < job.request.concurrency:
                    queued = waiting.pop(0)
                    last = queued.number
                    await pace.turn()
                    running.add(asyncio.create_task(self._item(mirror, job, queued)))
                if not running:
                    return
                ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                await self._note(note, [task.result() for task in ended])
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _note(self, note: Note, ended: Sequence[_Ended]) -> None:
        """Note what items came to. A long index goes onto the list in several steps, its own item last."""
        counts: dict[str, int] = {}
        for each in ended:
            for start in range(0, len(each.found), _IN_ONE_STEP):
                await note(Step(found=each.found[start : start + _IN_ONE_STEP]))
            counts = added(counts, each.counts)
        errors = tuple(error for each in ended for error in each.errors)
        await note(Step(None, counts, errors, done=tuple(each.number for each in ended)))

    async def _item(self, mirror: Mirror, job: Job, queued: QueuedItem) -> _Ended:
        """Bring one item. Raises Unavailable: the job waits for our own parts."""
        item = queued.item
        if item.kind is not ItemKind.OBJECT:
            return await self._index(mirror, job, queued)
        try:
            visited = await self.visitor.visit(mirror, item.target)
        except (Unavailable, LeaseLost):
            raise
        except CephStorageError as error:
            return _failed(queued, error.code, error.msg)
        if visited.outcome in {Outcome.FAILED, Outcome.UNSTORED}:
            return _failed(queued, visited.code, visited.msg, visited.outcome)
        counts = {"done": 1, visited.outcome.value: 1, "bytes": visited.size}
        return _Ended(queued.number, {name: count for name, count in counts.items() if count})

    async def _index(self, mirror: Mirror, job: Job, queued: QueuedItem) -> _Ended:
        item = queued.item
        reader = reader_of(item, mirror, job.request.most)
        try:
            await self.visitor.read(mirror, item.target, reader.feed, MOST_BYTES[item.kind])
            found = reader.close()
        except (Unavailable, LeaseLost):
            raise
        except CephStorageError as error:
            return _failed(queued, error.code, error.msg)
        return _Ended(queued.number, {"done": 1, "indexes": 1}, found=found)


def _failed(queued: QueuedItem, code: str, msg: str, outcome: Outcome = Outcome.FAILED) -> _Ended:
    error = ItemError(queued.item.target, code, msg)
    return _Ended(queued.number, {"done": 1, outcome.value: 1}, (error,))
