"""The lives of keys: buckets' settings, and the work in the background that follows from them, at a bounded rate."""

import asyncio
import time
from collections.abc import Callable

import structlog

from cephstorage.domain.lifecycle import Lifecycle
from cephstorage.domain.names import BucketName
from cephstorage.ports.lifecycles import Lifecycles as LifecycleTable
from cephstorage.ports.lifecycles import Trash
from cephstorage.services.rounds import Rounds
from cephstorage.waking import woken

log = structlog.get_logger()

_ROUND = 1.0
_STEP = 500


class Lifecycles:
    """``rate``: keys a second at most, of each kind of work; ``works``: whether this process does the work.

    ``on_deleted`` is told when keys went: bytes are to be removed, edges to be told.
    """

    def __init__(
        self, table: LifecycleTable, trash: Trash, clock: Callable[[], float], *, rate: float, works: bool
    ) -> None:
        self._table = table
        self._trash = trash
        self._clock = clock
        self._pause = _STEP / rate
        self._works = works
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.on_deleted: Callable[[], None] = lambda: None

    async def get(self, bucket: BucketName) -> Lifecycle:
        """A bucket's settings. Raises BucketNotFound."""
        return await self._table.get(bucket)

    async def put(self, bucket: BucketName, lifecycle: Lifecycle) -> None:
        """Replace a bucket's settings. New keys live by them at once, older ones as the work comes to them."""
        await self._table.put(bucket, lifecycle)
        self.wake()

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    def start(self) -> None:
        """Begin to work, if that is this process's task."""
        if self._works:
            self._task = asyncio.create_task(self._for_ever())

    async def stop(self) -> None:
        """Stop between two steps."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _for_ever(self) -> None:
        rounds = Rounds("lifecycle_failed", "lifecycle_crashed")
        while True:
            busy = False
            with rounds.guarded():
                # Shielded: whoever stops this process does not cut a step off its outcome.
                busy = await asyncio.shield(self._one_step())
            if not busy:
                await woken(self._wake, _ROUND)
                self._wake.clear()

    async def _one_step(self) -> bool:
        """Do what is due, and rest as long as the rate wants; False when there was nothing."""
        began, now = time.monotonic(), self._clock()
        behind = await self._table.apply(_STEP, now)
        expired, trashed = await self._table.sweep(_STEP, now), await self._trash.sweep(_STEP, now)
        if expired or trashed:
            self.on_deleted()
            log.info("lives_ended", expired_keys=expired, trashed_versions=trashed)
        if behind or expired or trashed:
            await asyncio.sleep(max(0.0, self._pause - (time.monotonic() - began)))
        return bool(behind or expired or trashed)
