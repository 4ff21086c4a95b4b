"""Changes made in other processes: noticed within a moment by one counter in the database."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from cephstorage.domain.errors import CephStorageError
from cephstorage.ports.tables import SettingsTable
from cephstorage.services.rounds import Rounds

log = structlog.get_logger()
_EVERY = 0.2


class ChangeWatch:
    """Refreshes what processes know by heart (mirrors, tokens, the signing key)."""

    def __init__(self, settings: SettingsTable, refreshes: Sequence[Callable[[], Awaitable[None]]]) -> None:
        self._settings = settings
        self._refreshes = refreshes
        self._version = -1
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load everything, then keep watching."""
        await self.look()
        self._task = asyncio.create_task(self._for_ever())

    async def stop(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def look(self) -> None:
        """Refresh if anything changed since the last look. What can't be refreshed keeps nothing else from it."""
        version = await self._settings.version()
        if version != self._version:
            faults = [fault for refresh in self._refreshes if (fault := await _fault_of(refresh)) is not None]
            if faults:
                raise faults[0]
            self._version = version

    async def _for_ever(self) -> None:
        rounds = Rounds("watch_failed", "watch_crashed")
        while True:
            await asyncio.sleep(_EVERY)
            with rounds.guarded():
                await self.look()


async def _fault_of(refresh: Callable[[], Awaitable[None]]) -> CephStorageError | None:
    try:
        await refresh()
    except CephStorageError as error:
        return error
    return None
