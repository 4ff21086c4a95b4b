"""Which of a key's versions the rebuilt index shows."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cephstorage.domain.errors import BucketNotFound
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import key_validators
from cephstorage.domain.transfers import Kind, Plan, TransferRequest
from cephstorage.index import SqlIndex, index_at
from cephstorage.ports.store import StoredObject
from cephstorage.services.reindex import Rebuilt, Reindex
from cephstorage.store.disk import DiskStore
from cephstorage.transfer.description import planned_object

BUCKET = BucketName("alice", "photos")


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[SqlIndex]:
    """An index that has been lost: empty."""
    opened = index_at("", tmp_path / "cephstorage.db")
    await opened.open()
    yield opened
    assert await opened.usage_drift() == []
    await opened.close()


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "objects")


async def rebuild(store: DiskStore, index: SqlIndex) -> list[Rebuilt]:
    return await Reindex(store, index.buckets, index.adoption, lambda: 1000.0).run((), lambda _: None)


async def put(store: DiskStore, folder: Path, version: str, generation: int, body: bytes) -> StoredObject:
    """Store a version of the key ``k``, now."""
    digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
    plan = Plan(len(body), digest, "text/plain", 5.0, key_validators(digest, 5.0), version, "upload")
    planned = planned_object(TransferRequest(Kind.UPLOAD, BUCKET, "k"), plan, generation)
    part = folder / "part"
    part.write_bytes(body)
    await store.create_bucket(BUCKET)
    await store.commit(part, planned)
    return planned


@pytest.mark.parametrize("names", [("a.1", "b.1"), ("b.1", "a.1"), ("x.1", "0.1")])
async def test_of_two_attempts_at_one_generation_the_later_one_was_published(
    names: tuple[str, str], store: DiskStore, index: SqlIndex, tmp_path: Path
) -> None:
    """The first one gave up while it held the key's landing, so that the second could begin."""
    for number, name in enumerate(names):
        await put(store, tmp_path, name, 6, b"x" * (number + 1))
    assert await rebuild(store, index) == [Rebuilt(BUCKET, added=1, older=1)]
    record = await index.keys.get(BUCKET, "k")
    assert record is not None
    assert (record.store_version, record.size) == (names[1], 2)


async def test_versions_that_nobody_described_are_counted_and_left_alone(
    store: DiskStore, index: SqlIndex, tmp_path: Path
) -> None:
    planned = await put(store, tmp_path, "a.1", 1, b"x")
    place = store.place(BUCKET, "k", "a.1").path
    side = place.with_name(f"{place.name}.json")
    side.write_text(side.read_text().replace("timetag", "nothing"))
    assert await rebuild(store, index) == [Rebuilt(BUCKET, unreadable=1)]
    assert await index.keys.get(BUCKET, "k") is None
    assert await store.holds(planned) == "a.1"


async def test_a_bucket_without_objects_comes_back_empty(store: DiskStore, index: SqlIndex) -> None:
    await store.create_bucket(BUCKET)
    assert await rebuild(store, index) == [Rebuilt(BUCKET)]
    assert (await index.buckets.get(BUCKET)).keyamount == 0


@pytest.mark.parametrize("damage", [b"", b"\xff{", b"[]", b"{}", b'"k"'])
async def test_a_description_that_the_disk_has_damaged_costs_its_own_key_alone(
    damage: bytes, store: DiskStore, index: SqlIndex, tmp_path: Path
) -> None:
    await put(store, tmp_path, "a.1", 1, b"x")
    (side_file,) = (tmp_path / "objects").rglob("*.json")
    beside = side_file.with_name(side_file.name.replace("a.1", "b.1"))
    beside.with_suffix("").write_bytes(b"x")
    beside.write_bytes(damage)
    assert await rebuild(store, index) == [Rebuilt(BUCKET, added=1, unreadable=1)]
    assert [each.store_version for each in await store.versions(BUCKET, "k")] == ["a.1"]
    current = await store.current(BUCKET, "k")
    assert current is not None
    assert current.store_version == "a.1"


async def test_a_bucket_that_the_store_lacks_is_not_made(store: DiskStore, index: SqlIndex) -> None:
    """A name that was mistyped, or another store than that of the buckets."""
    await store.create_bucket(BUCKET)
    reindex = Reindex(store, index.buckets, index.adoption, lambda: 1000.0)
    with pytest.raises(BucketNotFound, match="alice___fotos"):
        await reindex.run([BUCKET, BucketName("alice", "fotos")], lambda _: None)
    assert await index.buckets.of_tenant("alice") == []
