"""Purges: the edges forget what was replaced, deleted, or asked to be forgotten.

    change ──(same transaction)──> outbox row ──┬─ the process that made the change tells every edge at once
                                                └─ what it could not tell, any process tells later

A caller who deletes or overwrites a key has the answer when every edge that can be reached has been told.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from cephstorage.domain.errors import CephStorageError, EdgeUnreachable, InvalidKey
from cephstorage.domain.mirrors import Mirror, edge_targets, read_target
from cephstorage.domain.names import BucketName
from cephstorage.domain.purging import GRACE, after_round, owed
from cephstorage.ports.edge import EdgeCaches
from cephstorage.ports.index import KeyIndex, Purge, PurgeOutbox
from cephstorage.services.mirrors import Mirrors

log = structlog.get_logger()

_EVERY = 1.0
_SILENCE = 2.0
_ROWS = 64


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

    def start(self) -> None:
        """Begin to deliver what is due, this process's rows and what others left."""
        self._task = asyncio.create_task(self._for_ever())

    async def stop(self) -> None:
        """Stop between two rounds; what is not told yet stays in the outbox."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
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

    async def ask(self, mirror: Mirror, written: str) -> Purged:
        """Have the edges forget a target of a mirror although nothing changed. Raises InvalidKey."""
        path, _, query = written.partition("?")
        target, _ = read_target(path, query, mirror)
        if target.key is None:
            raise InvalidKey("No key stands for this address, so no edge keeps anything of it.")
        record = await self._keys.get(mirror.bucket, target.key)
        await self._outbox.add(mirror.bucket, target.key, record.size if record is not None else 0, self._clock())
        return Purged(mirror.host, target.canonical, target.key, await self.settle(mirror.bucket, target.key))

    async def _for_ever(self) -> None:
        said = ""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._due.wait(), _EVERY)
            ahead = GRACE if self._due.is_set() else 0.0
            self._due.clear()
            try:
                await self._deliver(self._clock() + ahead)
                said = ""
            except CephStorageError as error:
                if error.msg != said:
                    log.warning("purges_not_read", code=error.code, msg=error.msg)
                said = error.msg

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
        answers = await asyncio.gather(*(self._tell(edge, row) for edge in edges))
        failed = [edge for edge, told in zip(edges, answers, strict=True) if not told]
        again = after_round(row.created_at, row.attempts, self._clock(), failed)
        if again is None:
            await self._outbox.done([row.id])
        else:
            await self._outbox.again(row, again.not_before, again.edges)
        return failed

    async def _tell(self, edge: str, row: Purge) -> bool:
        """Whether the edge has forgotten the key. One that has just been silent is not waited for again."""
        if self._silent.get(edge, 0.0) > self._clock():
            return False
        try:
            for mirror in self._mirrors.all(str(row.bucket)):
                for target in edge_targets(row.key):
                    await self._caches.forget(edge, mirror.host, target, row.size)
        except EdgeUnreachable as error:
            self._silent[edge] = self._clock() + _SILENCE
            log.warning("edge_not_told", edge=edge, key=row.key, bucket=str(row.bucket), msg=error.msg)
            return False
        return True
