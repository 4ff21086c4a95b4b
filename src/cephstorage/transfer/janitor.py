"""Housekeeping around transfers: dead owners, orphaned spools, bytes that no record names, old progress.

Every step is idempotent and may run in several processes at once. The store has a task of its own, so that
one that hangs holds up nothing else.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from cephstorage.domain.errors import CephStorageError
from cephstorage.transfer.engine import TransferEngine
from cephstorage.transfer.parts import Parts
from cephstorage.transfer.sweeper import Sweeper
from cephstorage.waking import woken

log = structlog.get_logger()

_ROUND = 1.0
_PAUSE = 0.1
_SWEEP_EVERY = 30.0
_FORGET_EVERY = 3600.0
_ABANDON_EVERY = 3600.0


@dataclass(slots=True)
class Janitor:
    """Runs rounds until stopped. ``retention`` is how many seconds an ended transfer's record stays."""

    parts: Parts
    engine: TransferEngine
    retention: float
    sweeper: Sweeper
    for_all: bool = True
    """Whether it also does what one process does for all: removals and old records. False where workers do."""
    _tasks: "list[asyncio.Task[None]]" = field(default_factory=list)
    _failing: set[str] = field(default_factory=set)

    async def start(self) -> None:
        """Clean up after processes that died, then go on in the background."""
        await self._guarded(self.bury_dead_owners)
        await self._guarded(self.sweep_spools)
        self._tasks = [asyncio.create_task(self._for_ever())]
        if self.for_all:
            self._tasks.append(asyncio.create_task(self._tend_store()))

    async def stop(self) -> None:
        """Stop between two steps."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _for_ever(self) -> None:
        """Look after dead owners all the time, and after the rest now and then."""
        next_sweep = next_forget = 0.0
        while True:
            await asyncio.sleep(_ROUND)
            await self._guarded(self.bury_dead_owners)
            now = time.monotonic()
            if now >= next_sweep:
                next_sweep = now + _SWEEP_EVERY
                await self._guarded(self.sweep_spools)
            if self.for_all and now >= next_forget:
                next_forget = now + _FORGET_EVERY
                await self._guarded(self.forget_ended)

    async def _tend_store(self) -> None:
        """Remove bytes soon after landings; look for orphans as often as their age allows, at most hourly."""
        next_look = 0.0
        while True:
            await asyncio.sleep(_PAUSE)
            await woken(self.engine.landed, _ROUND - _PAUSE)
            self.engine.landed.clear()
            await self._guarded(self.sweeper.remove_unnamed_bytes)
            if (now := time.monotonic()) >= next_look:
                next_look = now + min(_ABANDON_EVERY, self.sweeper.abandon_after)
                await self._guarded(self.sweeper.abandon_orphans)

    async def _guarded(self, step: Callable[[], Awaitable[None]]) -> None:
        """Run a step; what fails again and again is said once."""
        name = getattr(step, "__name__", "?")
        try:
            await step()
            self._failing.discard(name)
        except (CephStorageError, OSError) as error:
            if name not in self._failing:
                log.warning("housekeeping_failed", step=name, error=str(error))
            self._failing.add(name)

    async def bury_dead_owners(self) -> None:
        """End the leases of processes of this machine that are gone, so that others resume their transfers now."""
        owners = await self.parts.ledger.owners()
        for owner in self.parts.presence.dead(owners):
            ended = await self.parts.ledger.expire_owner(owner, self.parts.clock())
            self.parts.presence.forget(owner)
            log.info("dead_owner_buried", owner=owner, transfers=ended)
            self.engine.wake()
        self.parts.presence.tidy(owners)

    async def sweep_spools(self) -> None:
        """Remove part files that belong to no transfer and no living process."""
        keep = set(await self.parts.ledger.spooled_ids())
        removed = await asyncio.to_thread(self.parts.spools.sweep, keep)
        if removed:
            log.info("spool_orphans_removed", count=len(removed))

    async def forget_ended(self) -> None:
        """Delete progress records past their retention."""
        await self.parts.ledger.forget_ended(self.parts.clock() - self.retention)
