"""A store is exchanged under work: what began on the old one ends there, and then the old one is closed."""

import asyncio
from pathlib import Path

import pytest

from cephstorage.domain.errors import StoredBytesMissing, StoreFull, StoreUnavailable
from cephstorage.domain.names import BucketName
from cephstorage.ports.store import Note, StoredObject
from cephstorage.store.disk import DiskStore
from cephstorage.store.live import LiveStore

BUCKET = BucketName("alice", "photos")


class Watched(DiskStore):
    """A disk store whose commits wait to be let go, and that counts how often it was closed."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.begun, self.go, self.closed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.closings = 0

    async def commit(self, part: Path, planned: StoredObject, note: Note | None = None) -> str:
        self.begun.set()
        await self.go.wait()
        assert self.closings == 0
        return await super().commit(part, planned, note)

    async def close(self) -> None:
        self.closings += 1
        self.closed.set()


def planned(version: str = "t.1") -> StoredObject:
    return StoredObject(BUCKET, "k", version, 4, "0" * 32)


@pytest.fixture
def part(tmp_path: Path) -> Path:
    file = tmp_path / "part"
    file.write_bytes(b"body")
    return file


async def test_a_commit_ends_where_it_began(tmp_path: Path, part: Path) -> None:
    old, new, live = Watched(tmp_path / "old"), Watched(tmp_path / "new"), LiveStore()
    await old.create_bucket(BUCKET)
    live.use(old)
    committing = asyncio.create_task(live.commit(part, planned()))
    await old.begun.wait()
    live.use(new)
    assert await live.holds(planned()) is None
    old.go.set()
    assert await committing == "t.1"
    await old.closed.wait()
    assert await old.holds(planned()) == "t.1"
    assert await new.holds(planned()) is None
    await live.close()
    assert (old.closings, new.closings) == (1, 1)


async def test_an_opened_version_keeps_its_store_open(tmp_path: Path, part: Path) -> None:
    old, new, live = Watched(tmp_path / "old"), Watched(tmp_path / "new"), LiveStore()
    await old.create_bucket(BUCKET)
    old.go.set()
    live.use(old)
    await live.commit(part, planned())
    reader = await live.open(BUCKET, "k", "t.1")
    live.use(new)
    with pytest.raises(StoredBytesMissing):
        await live.open(BUCKET, "k", "t.1")
    assert await reader.read(0, 10) == b"body"
    assert not old.closed.is_set()
    await reader.close()
    await reader.close()
    await old.closed.wait()
    assert old.closings == 1
    await live.close()


async def test_closing_closes_all_that_is_left(tmp_path: Path, part: Path) -> None:
    old, new, live = Watched(tmp_path / "old"), Watched(tmp_path / "new"), LiveStore()
    live.use(old)
    abandoned = asyncio.create_task(live.commit(part, planned()))
    await old.begun.wait()
    live.use(new)
    await live.close()
    assert (old.closings, new.closings) == (1, 1)
    abandoned.cancel()
    await asyncio.gather(abandoned, return_exceptions=True)
    assert (old.closings, new.closings) == (1, 1)


async def test_without_a_store_everything_says_what_is_missing(tmp_path: Path, part: Path) -> None:
    live = LiveStore()
    live.lack("Set ceph_gateway.")
    for attempt in (
        live.create_bucket(BUCKET), live.delete_bucket(BUCKET), live.commit(part, planned()), live.holds(planned()),
        live.open(BUCKET, "k", "t.1"), live.delete(BUCKET, "k", "t.1"), live.abandon(BUCKET, (), 0.0), live.check(),
        anext(aiter(live.objects(BUCKET))),
    ):  # fmt: skip
        with pytest.raises(StoreUnavailable, match="Set ceph_gateway"):
            await attempt
    for look in (lambda: live.plan_version("t", 1), lambda: live.place(BUCKET, "k", "t.1")):
        with pytest.raises(StoreUnavailable, match="Set ceph_gateway"):
            look()
    live.use(DiskStore(tmp_path / "there"))
    await live.check()
    live.lack("Gone.")
    with pytest.raises(StoreUnavailable, match="Gone"):
        await live.check()


class Full(DiskStore):
    """A disk store that has room or not, as the test says."""

    full = True

    async def commit(self, part: Path, planned: StoredObject, note: Note | None = None) -> str:
        if self.full:
            raise StoreFull("The quota is used up.", retry_after=60)
        return await super().commit(part, planned, note)


async def test_a_full_store_is_not_well_until_it_takes_something_again(tmp_path: Path, part: Path) -> None:
    store, live = Full(tmp_path), LiveStore()
    live.use(store)
    await live.create_bucket(BUCKET)
    await live.check()
    with pytest.raises(StoreFull):
        await live.commit(part, planned())
    with pytest.raises(StoreFull, match="quota"):
        await live.check()
    store.full = False
    await live.commit(part, planned())
    await live.check()
    store.full = True
    with pytest.raises(StoreFull):
        await live.commit(part, planned("t.2"))
    live.use(DiskStore(tmp_path / "other"))
    await live.check()
