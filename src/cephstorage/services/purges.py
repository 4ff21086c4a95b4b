"""Purges: the edges forget what was replaced, deleted, or asked to be forgotten.

    change ──(same transaction)──> outbox row ──┬─ the process that made the change tells every edge at once
                                                └─ what it could not tell, any process tells later

A caller who deletes or overwrites a key has the answer when every edge that can be reached has been told.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from cephstorage.domain.errors import CephStorageError, EdgeUnreachable, InvalidKey
from cephstorage.domain.jobs import Job
from cephstorage.domain.mirrors import Mirror, Target, edge_targets, read_target
from cephstorage.domain.names import BucketName
from cephstorage.domain.purging import FOLLOW_UPS, GRACE, after_round, owed
from cephstorage.domain.records import ListQuery
from cephstorage.ports.edge import EdgeCaches
from cephstorage.ports.index import KeyIndex
from cephstorage.ports.purges import Purge, PurgeOutbox
from cephstorage.services.mirrors import Mirrors
from cephstorage.services.rounds import Rounds
from cephstorage.waking import woken

log = structlog.get_logger()

_EVERY = 1.0
_SILENCE = 2.0
_ROWS = 64
_ABREAST = 16
_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Told:
    """Which edges have forgotten, and which will be told later because they did not answer."""

    edges: tuple[str, ...] = ()
    later: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Purged:
    """What was asked to be forgotten, as it was understood."""

    mirror: str
    target: str
    key: str
    told: Told


@dataclass(frozen=True, slots=True)
class EdgeReport:
    """How many keys of a job an edge was told to forget, is still to be told, and could not be told (it will be)."""

    edge: str
    told: int
    pending: int
    unreachable: int


class Purges:
    """Tells the edges. ``edges`` gives the base URLs of all of them, as configured now."""

    def __init__(
        self,
        outbox: PurgeOutbox,
        keys: KeyIndex,
        mirrors: Mirrors,
        caches: EdgeCaches,
        edges: Callable[[], Sequence[str]],
        clock: Callable[[], float],
    ) -> None:
        self._outbox = outbox
        self._keys = keys
        self._mirrors = mirrors
        self._caches = caches
        self._edges = edges
        self._clock = clock
        self._silent: dict[str, float] = {}
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._walks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to deliver what is due, this process's rows and what others left."""
        self._task = asyncio.create_task(self._for_ever())

    async def stop(self) -> None:
        """Stop between two rounds; what is not told yet stays in the outbox."""
        tasks = [*self._walks, *([self._task] if self._task is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._caches.close()

    def wake(self) -> None:
        """Rows may have been written by this process: tell the edges now."""
        self._due.set()

    async def settle(self, bucket: BucketName, key: str) -> Told:
        """Tell the edges what they have to forget of a key, if anything, before the caller gets his answer."""
        if not self._edges() or not self._mirrors.all(str(bucket)):
            return Told()
        rows = [row for row in await self._outbox.of_key(bucket, key) if row.remaining != ()]
        failed = {edge for row in rows for edge in await self._round(row)}
        return Told(tuple(edge for edge in self._edges() if edge not in failed), tuple(sorted(failed)))

    async def settle_job(self, job: str) -> None:
        """Tell the edges of what a job has changed so far."""
        if not self._edges():
            return
        while rows := await self._outbox.untold(job, _ROWS):
            await asyncio.gather(*(self._round(row) for row in rows))

    async def report(self, job: Job) -> tuple[EdgeReport, ...]:
        """How far each edge has been told of what a job has changed."""
        total = sum(job.counts.get(name, 0) for name in ("removed", "marked", "forgotten"))
        edges = self._edges()
        if not edges or not total:
            return ()
        owed_by = await self._outbox.owed(job.id)
        pending = sum(count for remaining, count in owed_by if remaining is None)
        missing = {edge: sum(count for left, count in owed_by if left and edge in left) for edge in edges}
        return tuple(
            EdgeReport(edge, max(0, total - pending - missing[edge]), pending, missing[edge]) for edge in edges
        )

    async def kept(self, mirror: Mirror, target: str) -> Mapping[str, bool | None]:
        """Which edges serve a canonical target without asking; None for those that do not answer."""

        async def one(edge: str) -> bool | None:
            try:
                return await self._caches.holds(edge, mirror.host, target)
            except EdgeUnreachable:
                return None

        edges = self._edges()
        return dict(zip(edges, await asyncio.gather(*(one(edge) for edge in edges)), strict=True))

    async def ask(self, mirror: Mirror, written: str) -> Purged:
        """Have the edges forget a target of a mirror although nothing changed. Raises InvalidKey."""
        target, key = _read(mirror, written)
        record = await self._keys.get(mirror.bucket, key)
        await self._outbox.add(mirror.bucket, key, record.size if record is not None else 0, self._clock())
        return Purged(mirror.host, target.canonical, key, await self.settle(mirror.bucket, key))

    def key_of(self, mirror: Mirror, written: str) -> str:
        """The key that a target of a mirror leads to. Raises InvalidKey."""
        return _read(mirror, written)[1]

    async def forget_mirror(self, mirror: Mirror) -> None:
        """Have the edges forget all that a mirror has, which was replaced or deleted.

        Its caller waits for a moment; a large bucket takes longer. A second round follows for what processes have
        answered that did not know of the change yet. This process has to live that long: nothing of it is in the outbox.
        """
        if not self._edges():
            return
        walk = self._keep(self._walk(mirror))
        self._keep(self._walk_again(mirror, walk))
        await asyncio.wait({walk}, timeout=_PATIENCE)

    def _keep(self, work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._walks.add(task)
        task.add_done_callback(self._walks.discard)
        return task

    async def _walk_again(self, mirror: Mirror, first: "asyncio.Task[None]") -> None:
        await asyncio.wait({first})
        await asyncio.sleep(FOLLOW_UPS[0])
        await self._walk(mirror)

    async def _walk(self, mirror: Mirror) -> None:
        """Tell every edge of every key that the mirror's bucket has."""
        query: ListQuery | None = ListQuery(vfolder=None)
        try:
            while query is not None:
                page = await self._keys.listing(mirror.bucket, query)
                for start in range(0, len(page.keys), _ABREAST):
                    some = page.keys[start : start + _ABREAST]
                    told = (
                        self._forget(edge, [mirror], each.key, each.size) for each in some for edge in self._edges()
                    )
                    await asyncio.gather(*told)
                query = replace(query, cursor=page.cursor) if page.cursor is not None else None
        except CephStorageError as error:
            log.warning("mirror_not_forgotten", mirror=mirror.host, code=error.code, msg=error.msg)

    async def _for_ever(self) -> None:
        rounds = Rounds("purges_not_read", "purges_crashed")
        while True:
            await woken(self._due, _EVERY)
            ahead = GRACE if self._due.is_set() else 0.0
            self._due.clear()
            with rounds.guarded():
                await self._deliver(self._clock() + ahead)

    async def _deliver(self, until: float) -> None:
        """Go through what is due. Without edges there is nothing to tell."""
        while rows := await self._outbox.due(until, _ROWS):
            if self._edges():
                await asyncio.gather(*(self._round(row) for row in rows))
            else:
                await self._outbox.done([row.id for row in rows])

    async def _round(self, row: Purge) -> list[str]:
        """Tell the edges that this row still owes; return those that did not answer."""
        edges = owed(self._edges(), row.remaining)
        mirrors = self._mirrors.all(str(row.bucket))
        answers = await asyncio.gather(*(self._forget(edge, mirrors, row.key, row.size) for edge in edges))
        failed = [edge for edge, told in zip(edges, answers, strict=True) if not told]
        again = after_round(row.created_at, row.attempts, self._clock(), failed)
        if again is None:
            await self._outbox.done([row.id])
        else:
            await self._outbox.again(row, again.not_before, again.edges)
        return failed

    async def _forget(self, edge: str, mirrors: Sequence[Mirror], key: str, size: int) -> bool:
        """Whether the edge has forgotten the key. One that has just been silent is not waited for again."""
        if self._silent.get(edge, 0.0) > self._clock():
            return False
        try:
            for mirror in mirrors:
                for target in edge_targets(key):
                    await self._caches.forget(edge, mirror.host, target, size)
        except EdgeUnreachable as error:
            self._silent[edge] = self._clock() + _SILENCE
            log.warning("edge_not_told", edge=edge, key=key, msg=error.msg)
            return False
        return True


def _read(mirror: Mirror, written: str) -> tuple[Target, str]:
    path, _, query = written.partition("?")
    target, _ = read_target(path, query, mirror)
    if target.key is None:
        raise InvalidKey("No key stands for this address, so no edge keeps anything of it.")
    return target, target.key
