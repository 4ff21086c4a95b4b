"""What nobody names is removed from the store: after its grace, each on its own, orphans by their age."""

import time
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import pytest

from cephstorage.domain.errors import StoreUnavailable
from cephstorage.domain.names import BucketName
from cephstorage.index import SqliteIndex
from cephstorage.store.disk import DiskStore
from cephstorage.transfer.parts import Parts
from cephstorage.transfer.sweeper import Sweeper
from tests.unit.transfer.conftest import BUCKET

FIRST, SECOND, THIRD = "a.1#x", "b.1", "c.1#y"


class Noting(DiskStore):
    """A disk store that notes what it is told to remove, and refuses some of it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.deleted: list[str] = []
        self.abandoned: list[tuple[str | None, frozenset[str], float]] = []
        self.refuses: set[str] = set()

    async def delete(self, bucket: BucketName, key: str, store_version: str) -> None:
        if store_version in self.refuses:
            raise StoreUnavailable("not now")
        self.deleted.append(store_version)

    def tentative(self, store_version: str) -> bool:
        return "#" not in store_version

    async def abandon(self, bucket: BucketName, keep: Collection[str], before: float, key: str | None = None) -> int:
        self.abandoned.append((key, frozenset(keep), before))
        return 0


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[SqliteIndex]:
    made = SqliteIndex(tmp_path / "index")
    await made.open()
    await made.buckets.create(BUCKET, time.time())
    yield made
    await made.close()


@pytest.fixture
def store(tmp_path: Path) -> Noting:
    return Noting(tmp_path / "objects")


def sweeper(index: SqliteIndex, store: Noting, **settings: float) -> Sweeper:
    unused: Any = None
    parts = Parts(index.transfers, index.landing, store, unused, unused, unused, lambda: 1000.0)
    return Sweeper(parts, **settings)


async def queued(index: SqliteIndex) -> list[str]:
    return [removal.store_version for removal in await index.landing.removals(100)]


async def test_without_a_grace_everything_goes_at_once(index: SqliteIndex, store: Noting) -> None:
    for version in (FIRST, SECOND, THIRD):
        await index.landing.remove(BUCKET, "k", version)
    await sweeper(index, store).remove_unnamed_bytes()
    assert sorted(store.deleted) == [FIRST, SECOND, THIRD]
    assert await queued(index) == []


async def test_each_version_has_its_grace(index: SqliteIndex, store: Noting, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    sweeping = sweeper(index, store, removal_grace=60.0)
    seen = []
    for moment, version in (
        (0.0, FIRST),
        (30.0, SECOND),
        (59.0, None),
        (61.0, None),
        (89.0, THIRD),
        (91.0, None),
        (150.0, None),
    ):
        now = moment
        if version is not None:
            await index.landing.remove(BUCKET, "k", version)
        await sweeping.remove_unnamed_bytes()
        seen.append(list(store.deleted))
    assert seen == [[], [], [], [FIRST], [FIRST], [FIRST, SECOND], [FIRST, SECOND, THIRD]]


async def test_what_the_store_refuses_stays_and_holds_up_nothing(index: SqliteIndex, store: Noting) -> None:
    for version in (FIRST, SECOND, THIRD):
        await index.landing.remove(BUCKET, "k", version)
    store.refuses = {FIRST}
    with pytest.raises(StoreUnavailable):
        await sweeper(index, store).remove_unnamed_bytes()
    assert await queued(index) == [FIRST]
    store.refuses = set()
    await sweeper(index, store).remove_unnamed_bytes()
    assert await queued(index) == []


async def test_one_that_is_refused_for_ever_holds_up_no_other(index: SqliteIndex, store: Noting) -> None:
    store.refuses = {FIRST}
    for version in (FIRST, *(f"v{number}#x" for number in range(30))):
        await index.landing.remove(BUCKET, "k", version)
    with pytest.raises(StoreUnavailable):
        await sweeper(index, store).remove_unnamed_bytes()
    assert await queued(index) == [FIRST]


async def test_a_store_that_refuses_everything_is_not_asked_for_the_rest(index: SqliteIndex, store: Noting) -> None:
    versions = [f"v{number}#x" for number in range(30)]
    store.refuses = set(versions[:8])
    for version in versions:
        await index.landing.remove(BUCKET, "k", version)
    with pytest.raises(StoreUnavailable):
        await sweeper(index, store).remove_unnamed_bytes()
    assert (await queued(index), store.deleted) == (versions, [])


async def test_many_that_are_refused_for_ever_hold_up_the_others_for_one_round(
    index: SqliteIndex, store: Noting
) -> None:
    """As objects that another user of the gateway owns, or has locked."""
    versions = [f"v{number}#x" for number in range(30)]
    store.refuses = set(versions[:8])
    for version in versions:
        await index.landing.remove(BUCKET, "k", version)
    sweeping = sweeper(index, store)
    with pytest.raises(StoreUnavailable):
        await sweeping.remove_unnamed_bytes()
    await sweeping.remove_unnamed_bytes()
    assert sorted(store.deleted) == sorted(versions[8:])
    with pytest.raises(StoreUnavailable):  # they are not forgotten
        await sweeping.remove_unnamed_bytes()
    store.refuses = set()
    for _ in range(2):  # behind them there is nothing, and then they are the first again
        await sweeping.remove_unnamed_bytes()
    assert await queued(index) == []


async def test_with_an_attempt_goes_what_was_begun_for_its_key(index: SqliteIndex, store: Noting) -> None:
    for version in (FIRST, SECOND):
        await index.landing.remove(BUCKET, "k", version)
    sweeping = sweeper(index, store)
    await sweeping.remove_unnamed_bytes()
    assert store.abandoned == [("k", frozenset(), 1000.0)]


async def test_orphans_go_by_their_age_in_every_bucket(index: SqliteIndex, store: Noting) -> None:
    await index.buckets.create(BucketName("bob", "b"), time.time())
    await sweeper(index, store, abandon_after=600.0).abandon_orphans()
    assert store.abandoned == [(None, frozenset(), 400.0)] * 2
