"""Series: sums by name and minute, to which many processes add."""

import asyncio
from collections.abc import Callable

from cephstorage.index import SqlIndex


async def test_sums_add_up(index: SqlIndex) -> None:
    await index.series.add({})
    await index.series.add({("m/a", 7): 1.5, ("m/b", 7): 2})
    await index.series.add({("m/a", 7): 2, ("m/a", 8): 1})
    assert await index.series.read("m/", 0, 100, 1) == [("m/a", 7, 3.5), ("m/a", 8, 1), ("m/b", 7, 2)]


async def test_a_period_is_read_in_points(index: SqlIndex) -> None:
    await index.series.add({("m/a", minute): 1 for minute in range(20)} | {("m0", 5): 9, ("l/z", 5): 9})
    assert await index.series.read("m/", 3, 13, 5) == [("m/a", 0, 2), ("m/a", 5, 5), ("m/a", 10, 3)]


async def test_old_minutes_are_forgotten(index: SqlIndex) -> None:
    await index.series.add({(f"m/{name}", minute): 1 for name in range(600) for minute in (1, 2)})
    assert await index.series.forget(2) == 600
    assert await index.series.forget(2) == 0
    assert len(await index.series.read("m/", 0, 100, 1)) == 600


async def test_many_processes_lose_nothing(index: SqlIndex, factory: Callable[[], SqlIndex]) -> None:
    others = [factory() for _ in range(3)]
    for other in others:
        await other.open()
    try:
        everybody = [index, *others]
        sums = [{(f"m/{name}", 1): 1.0 for name in range(start, start + 20)} for start in range(10)]
        await asyncio.gather(*(each.series.add(some) for some in sums for each in everybody))
    finally:
        for other in others:
            await other.close()
    rows = await index.series.read("m/", 0, 100, 1)
    assert sum(value for _, _, value in rows) == 4 * 10 * 20
