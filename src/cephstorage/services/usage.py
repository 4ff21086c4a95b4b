"""Usage of mirrors: counted in memory, added to the database every few seconds, where all processes' counts meet.

A process that is killed takes the counts of a few seconds with it; one that stops writes them down. While the
database is away, counts wait in memory: their number is bounded by mirrors, figures and minutes.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from cephstorage.domain.errors import CephStorageError
from cephstorage.domain.usage import KEPT, MINUTE, Figures, Period, series_name, summary
from cephstorage.ports.tables import SeriesTable
from cephstorage.services.rounds import Rounds

log = structlog.get_logger()

_EVERY = 2.0
_FORGET_EVERY = 1800
"""Rounds between two looks at what is too old."""
_MOST_WAITING = 100_000


@dataclass(frozen=True, slots=True)
class Use:
    """What a mirror did in a period: all of it, and by points (epoch seconds)."""

    period: Period
    total: Mapping[str, Any]
    points: tuple[tuple[int, Mapping[str, Any]], ...]


class Usage(Collector):
    """The figures of one process, and how to read those of all."""

    def __init__(self, table: SeriesTable, clock: Callable[[], float]) -> None:
        self._table = table
        self._clock = clock
        self._waiting: dict[tuple[str, int], float] = defaultdict(float)
        self._totals: dict[tuple[str, str], float] = defaultdict(float)
        self._task: asyncio.Task[None] | None = None

    def count(self, mirror: str, figures: Figures) -> None:
        """Add to the present minute."""
        minute = int(self._clock() // MINUTE)
        for figure, amount in figures.items():
            self._totals[mirror, figure] += amount
            self._waiting[series_name(mirror, figure), minute] += amount

    def collect(self) -> Iterator[CounterMetricFamily]:
        """The figures since this process began, for ``/metrics``."""
        family = CounterMetricFamily(
            "cephstorage_mirror", "What mirrors did, by figure (see the usage of a mirror)", labels=["mirror", "figure"]
        )
        for (mirror, figure), value in self._totals.items():
            family.add_metric([mirror, figure], value)
        yield family

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._for_ever())

    async def stop(self) -> None:
        """Write what was counted last."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            await self.write()
        except CephStorageError as error:
            log.warning("usage_lost", code=error.code, msg=error.msg)

    async def write(self) -> None:
        """Add what was counted to the database. Raises DatabaseUnavailable; then nothing is lost."""
        sums, self._waiting = self._waiting, defaultdict(float)
        if not sums:
            return
        try:
            await self._table.add(sums)
        except BaseException:
            for name, value in sums.items():
                if len(self._waiting) < _MOST_WAITING:
                    self._waiting[name] += value
            raise

    async def _for_ever(self) -> None:
        rounds, done = Rounds("usage_not_written", "usage_crashed"), 0
        while True:
            await asyncio.sleep(_EVERY)
            with rounds.guarded():
                await self.write()
                if done % _FORGET_EVERY == 0:
                    await self._table.forget(int((self._clock() - KEPT) // MINUTE))
                done += 1

    async def of(self, mirror: str, period: Period) -> Use:
        """What a mirror did in a period, as far as every process has written it."""
        prefix = series_name(mirror, "")
        rows = await self._table.read(prefix, period.since, period.until, period.step)
        total: Figures = defaultdict(float)
        points: dict[int, Figures] = defaultdict(dict)
        for name, point, value in rows:
            figure = name.removeprefix(prefix)
            total[figure] += value
            points[point][figure] = value
        shown = tuple((point * MINUTE, summary(figures)) for point, figures in sorted(points.items()))
        return Use(period, summary(total), shown)
