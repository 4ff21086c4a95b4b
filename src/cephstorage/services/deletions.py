"""Deletions of many keys in the background: asked for, worked off at a bounded rate, followed, cancelled."""

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence

import structlog

from cephstorage.domain.deletions import Deletion, DeletionWish
from cephstorage.domain.errors import JobNotFound
from cephstorage.domain.names import BucketName
from cephstorage.ports.index import BucketIndex
from cephstorage.ports.ledger import Deletions as DeletionTable
from cephstorage.services.rounds import Rounds
from cephstorage.waking import woken

log = structlog.get_logger()

_ROUND = 1.0
_STEP = 500
_FORGET_EVERY = 3600.0


class Deletions:
    """``rate``: keys a second at most, over all deletions; ``works``: whether this process works them off.

    ``on_deleted`` is told after each step that deleted something: bytes are to be removed, edges to be told.
    """

    def __init__(
        self,
        table: DeletionTable,
        buckets: BucketIndex,
        clock: Callable[[], float],
        *,
        rate: float,
        retention: float,
        works: bool,
    ) -> None:
        self._table = table
        self._buckets = buckets
        self._clock = clock
        self._rate = rate
        self._retention = retention
        self._works = works
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._next_forget = 0.0
        self.on_deleted: Callable[[], None] = lambda: None

    async def create(self, bucket: BucketName, wish: DeletionWish) -> Deletion:
        """Note a deletion of what is there now; it is durable. Raises BucketNotFound."""
        deletion = await self._table.create(uuid.uuid4().hex, bucket, wish, self._clock())
        self._wake.set()
        return deletion

    async def get(self, bucket: BucketName, name: str) -> Deletion:
        """Raises JobNotFound."""
        deletion = await self._table.get(name)
        if deletion.bucket != bucket:
            raise JobNotFound("No deletion has this id, or its record has been cleaned up.")
        return deletion

    async def of_bucket(self, bucket: BucketName) -> Sequence[Deletion]:
        """A bucket's deletions, newest first. Raises BucketNotFound."""
        await self._buckets.get(bucket)
        return await self._table.of_bucket(bucket)

    async def cancel(self, bucket: BucketName, name: str) -> Deletion:
        """Stop a deletion; what it has deleted stays deleted. Raises JobNotFound, JobEnded."""
        return await self._table.cancel(bucket, name, self._clock())

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
        rounds = Rounds("deletion_failed", "deletion_crashed")
        while True:
            busy = False
            with rounds.guarded():
                busy = await self._one_step()
                await self._forget()
            if not busy:
                await woken(self._wake, _ROUND)
                self._wake.clear()

    async def _one_step(self) -> bool:
        """Do a step, and rest as long as the rate wants; False when there was none to do."""
        pause = _STEP / self._rate
        began = time.monotonic()
        # Shielded: whoever stops this process does not cut a step off its outcome.
        step = await asyncio.shield(self._table.step(_STEP, pause, self._clock()))
        if step is None:
            return False
        if step.keys:
            self.on_deleted()
        if step.deletion.ended_at is not None:
            log.info("deletion_ended", id=step.deletion.id, bucket=str(step.deletion.bucket), keys=step.deletion.done)
        await asyncio.sleep(max(0.0, pause - (time.monotonic() - began)))
        return True

    async def _forget(self) -> None:
        if time.monotonic() >= self._next_forget:
            self._next_forget = time.monotonic() + _FORGET_EVERY
            await self._table.forget_ended(self._clock() - self._retention)
