"""What an edge has served is added to the mirrors' figures, beside the edge and never in its way."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping

import structlog

from cephstorage.domain.errors import CephStorageError
from cephstorage.domain.usage import series_name
from cephstorage.edge.access_log import AccessLog, sums_of
from cephstorage.waking import woken

log = structlog.get_logger()

_EVERY = 1.0


class UsageCounting:
    """Counts one log. ``mirrors`` gives the hosts that are mirrors now; ``add`` keeps sums by name and minute.

    While ``add`` fails the lines wait where they are, on the disk.
    """

    def __init__(
        self,
        access_log: AccessLog,
        mirrors: Callable[[], Awaitable[Collection[str]]],
        add: Callable[[Mapping[tuple[str, int], float]], Awaitable[None]],
    ) -> None:
        self._log = access_log
        self._mirrors = mirrors
        self._add = add
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Count what is written by now, and no more: nginx has ended."""
        self._ending.set()

    async def for_ever(self) -> None:
        """Count until told to end, or cancelled."""
        said = ""
        try:
            while True:
                last = self._ending.is_set()
                try:
                    while await self.round():
                        pass
                    said = ""
                except (CephStorageError, OSError) as error:
                    if str(error) != said:
                        log.warning("edge_usage_not_counted", error=str(error))
                    said = str(error)
                if last:
                    return
                await woken(self._ending, _EVERY)
        finally:
            self._log.close()

    async def round(self) -> bool:
        """Count some lines; False when there are no more. Raises OSError, DatabaseUnavailable: then they are counted later."""
        mirrors = await self._mirrors()
        lines = await asyncio.to_thread(self._log.lines)
        if not lines:
            return False
        sums = await asyncio.to_thread(sums_of, lines, mirrors)
        try:
            await self._add(
                {
                    (series_name(host, figure), minute): value
                    for (host, minute), figures in sums.items()
                    for figure, value in figures.items()
                }
            )
        except CephStorageError:
            self._log.back()
            raise
        await asyncio.to_thread(self._log.note)
        return True
