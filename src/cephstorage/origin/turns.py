"""Whose turn it is at an origin: at most so many requests at a time, and so many begun per second.

Who has to wait stands in a line of bounded length for a bounded time; then the stored copy, another origin or a
503 has to do.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from cephstorage.domain.errors import OriginBusy

PATIENCE = 10.0
"""Seconds in the line."""
LONGEST_LINE = 1024


class Turns:
    """The turns at one origin. None: no limit. All on one event loop."""

    def __init__(
        self, name: str, concurrency: int | None, rate: float | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._concurrency = concurrency
        self._pause = 1.0 / rate if rate else 0.0
        self._clock = clock
        self._line: deque[asyncio.Future[None]] = deque()
        self._next_at = 0.0
        self.running = 0

    @property
    def waiting(self) -> int:
        """How many stand in the line."""
        return len(self._line)

    def free(self) -> bool:
        """Whether a turn would come at once."""
        return not self._full and self._next_at <= self._clock()

    @property
    def _full(self) -> bool:
        return self._concurrency is not None and self.running >= self._concurrency

    async def take(self, patience: float = PATIENCE) -> None:
        """Wait for a turn; ``give_back`` ends it. Raises OriginBusy after ``patience`` seconds, or at once."""
        until = self._clock() + patience
        if self._full:
            await self._stand_in_line(patience)
        else:
            self.running += 1
        try:
            await self._keep_rate(until)
        except BaseException:
            self.give_back()
            raise

    def give_back(self) -> None:
        """The turn is over: the next in the line has it."""
        while self._line:
            first = self._line.popleft()
            if not first.done():
                first.set_result(None)
                return
        self.running -= 1

    async def _stand_in_line(self, patience: float) -> None:
        if len(self._line) >= LONGEST_LINE or patience <= 0:
            raise self._busy(PATIENCE)
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(mine)
        try:
            await asyncio.wait({mine}, timeout=patience)
        except BaseException:
            self._leave(mine)
            raise
        if not mine.done():
            self._leave(mine)
            raise self._busy(PATIENCE)

    def _leave(self, mine: "asyncio.Future[None]") -> None:
        """Wait no more. A turn that has come meanwhile is for the next one."""
        if mine.done():
            self.give_back()
        else:
            self._line.remove(mine)

    async def _keep_rate(self, until: float) -> None:
        """Begin no sooner than the rate lets, each request a moment of its own."""
        now = self._clock()
        begin = max(now, self._next_at)
        if begin > until:
            raise self._busy(begin - now)
        self._next_at = begin + self._pause
        if begin > now:
            await asyncio.sleep(begin - now)

    def _busy(self, wait: float) -> OriginBusy:
        return OriginBusy(
            f"{self._name} gets no more requests at a time, or per second, than this mirror's limits allow; "
            "those under way leave no room.",
            retry_after=wait,
        )
