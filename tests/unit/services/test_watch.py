"""The watch: one thing that can't be refreshed keeps nothing else from it, and is tried again until it works."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cephstorage.domain.errors import SettingUntenable
from cephstorage.index import SqliteIndex
from cephstorage.services.watch import ChangeWatch


class Known:
    """Something known by heart, whose refresh fails as it is told."""

    def __init__(self) -> None:
        self.refreshes = 0
        self.error: Exception | None = None
        self.tried, self.refreshed = asyncio.Event(), asyncio.Event()

    async def refresh(self) -> None:
        self.tried.set()
        if self.error is not None:
            raise self.error
        self.refreshes += 1
        self.refreshed.set()


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[SqliteIndex]:
    opened = SqliteIndex(tmp_path / "index.db")
    await opened.open()
    yield opened
    await opened.close()


async def test_what_fails_is_tried_again_and_the_rest_goes_on(index: SqliteIndex) -> None:
    failing, fine = Known(), Known()
    watch = ChangeWatch(index.settings, [failing.refresh, fine.refresh])
    failing.error = SettingUntenable("Not yet.")
    with pytest.raises(SettingUntenable):
        await watch.look()
    assert fine.refreshes == 1
    failing.error = None
    await watch.look()
    assert failing.refreshes == 1
    await watch.look()
    assert failing.refreshes == 1


@pytest.mark.parametrize("error", [SettingUntenable("Not yet."), OSError(28, "No space"), KeyError("defect")])
async def test_the_watch_outlives_what_it_meets(index: SqliteIndex, error: Exception) -> None:
    known = Known()
    watch = ChangeWatch(index.settings, [known.refresh])
    await watch.start()
    known.error = error
    known.tried.clear()
    known.refreshed.clear()
    await index.settings.put("a", "b")
    await asyncio.wait_for(known.tried.wait(), 60)
    known.error = None
    await asyncio.wait_for(known.refreshed.wait(), 60)
    await watch.stop()
