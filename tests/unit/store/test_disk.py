"""The disk store's own affairs: two file systems, full and closed disks, permissions, what a crash leaves."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cephstorage.domain.errors import StoreUnavailable
from cephstorage.domain.names import BucketName
from cephstorage.ports.store import StoredObject
from cephstorage.store.disk import DiskStore
from tests.harness.content import MIB, Content

ROOT = Path(__file__).parents[3]
BUCKET = BucketName("alice", "photos")
MEMORY = Path("/dev/shm")


def planned(body: bytes, store: DiskStore, fence: int = 1) -> StoredObject:
    return StoredObject(BUCKET, "k", store.plan_version("transfer", fence), len(body), "0" * 32)


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system."""
    if not MEMORY.is_dir() or MEMORY.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("this machine has one file system only")
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture
def generous_umask() -> Iterator[None]:
    """What the process would give to others if nobody took care."""
    before = os.umask(0)
    yield
    os.umask(before)


def work(verb: str, *paths: Path) -> dict[str, Any]:
    """What a process of its own saw."""
    command = [sys.executable, "-m", "tests.unit.store.disk_worker", verb, *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


async def test_a_spool_on_another_file_system_is_copied(tmp_path: Path, elsewhere: Path) -> None:
    body = Content(1, 3 * MIB + 1)
    store, part = DiskStore(tmp_path / "objects"), elsewhere / "a.part"
    part.write_bytes(body.read())
    version = planned(body.read(), store)
    await store.create_bucket(BUCKET)
    await store.commit(part, version)
    assert not part.exists()
    reader = await store.open(BUCKET, "k", version.store_version)
    assert await reader.read(0, body.size) == body.read()
    await reader.close()
    assert len(files_below(tmp_path / "objects")) == 2


@pytest.mark.usefixtures("generous_umask")
async def test_files_and_folders_are_the_owners_alone(tmp_path: Path, elsewhere: Path) -> None:
    store = DiskStore(tmp_path / "deep" / "objects")
    await store.create_bucket(BUCKET)
    for folder, fence in ((tmp_path, 1), (elsewhere, 2)):
        part = folder / "a.part"
        part.touch(mode=0o600)
        part.write_bytes(b"secret")
        await store.commit(part, planned(b"secret", store, fence))
    made = list((tmp_path / "deep").rglob("*"))
    assert len(files_below(tmp_path / "deep")) == 4
    assert {mode(path) for path in made if path.is_file()} == {0o600}
    assert {mode(path) for path in [tmp_path / "deep", *made] if path.is_dir()} == {0o700}


def test_no_room_for_the_copy_of_a_spool(tmp_path: Path, elsewhere: Path) -> None:
    part = elsewhere / "a.part"
    part.write_bytes(Content(2, 64 * 1024).read())
    check_full(work("full", tmp_path, part))


def test_no_room_for_the_side_file(tmp_path: Path) -> None:
    part = tmp_path / "a.part"
    part.write_bytes(b"small")
    check_full(work("full", tmp_path, part))


def check_full(seen: dict[str, Any]) -> None:
    """Nothing half, no copy left behind, a retry that works, and nothing left after the delete."""
    assert seen == {
        "first": "storage_full",
        "half": [[], None],
        "open": "stored_bytes_missing",
        "copies": [],
        "second": None,
        "after": [[True], "a.1"],
        "left": [],
    }


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    (tmp_path / "given.part").write_bytes(b"x")
    folder.chmod(0o555)
    seen = work("unwritable", folder)
    assert seen == dict.fromkeys(("create_bucket", "commit", "check"), "store_unavailable")


async def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "objects").touch()
    store = DiskStore(tmp_path / "objects")
    (tmp_path / "a.part").write_bytes(b"x")
    with pytest.raises(StoreUnavailable):
        await store.create_bucket(BUCKET)
    with pytest.raises(StoreUnavailable):
        await store.commit(tmp_path / "a.part", planned(b"x", store))
    with pytest.raises(StoreUnavailable):
        await store.check()
    with pytest.raises(StoreUnavailable):
        await store.open(BUCKET, "k", "v.1")
    assert (tmp_path / "a.part").read_bytes() == b"x"


async def test_what_a_crash_leaves_is_no_object_and_goes_with_the_version(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "objects")
    await store.create_bucket(BUCKET)
    (tmp_path / "a.part").write_bytes(b"whole")
    whole, crashed = planned(b"whole", store, 1), planned(b"whole", store, 2)
    await store.commit(tmp_path / "a.part", whole)
    [path] = [path for path in files_below(tmp_path / "objects") if path.suffix != ".json"]
    half = path.with_name(path.name.removesuffix(whole.store_version) + crashed.store_version)
    half.with_name(f"{half.name}.json").write_bytes(b'{"key": "k", "si')  # killed while writing what goes first
    half.with_name(f".{half.name}.tmp").write_bytes(b"who")  # and while copying from another file system
    assert [found async for found in store.objects(BUCKET)] == [whole]
    assert not await store.holds(crashed)
    for version in (crashed, whole):
        await store.delete(BUCKET, "k", version.store_version)
    await store.delete_bucket(BUCKET)
    assert files_below(tmp_path / "objects") == []
    assert not (tmp_path / "objects" / str(BUCKET)).exists()


async def test_nothing_is_stored_where_the_bucket_is_missing(tmp_path: Path) -> None:
    """A disk that is not mounted: what lay below its mount point would be hidden as soon as it is."""
    store, part = DiskStore(tmp_path / "objects"), tmp_path / "part"
    await store.create_bucket(BUCKET)
    (tmp_path / "objects").rename(tmp_path / "disk")
    (tmp_path / "objects").mkdir()
    part.write_bytes(b"whole")
    with pytest.raises(StoreUnavailable, match="mounted"):
        await store.commit(part, planned(b"whole", store))
    assert part.read_bytes() == b"whole"
    assert files_below(tmp_path / "objects") == []
    (tmp_path / "objects").rmdir()
    (tmp_path / "disk").rename(tmp_path / "objects")
    await store.commit(part, planned(b"whole", store))
    assert [found.md5 async for found in store.objects(BUCKET)] == [planned(b"whole", store).md5]


async def test_half_a_side_file_hides_no_other_object(tmp_path: Path) -> None:
    store, part = DiskStore(tmp_path / "objects"), tmp_path / "part"
    await store.create_bucket(BUCKET)
    for key in ("whole", "half"):
        part.write_bytes(b"bytes")
        await store.commit(part, StoredObject(BUCKET, key, "v.1", 5, "0" * 32))
    [half] = [path for path in tmp_path.rglob("*.json") if '"half"' in path.read_text()]
    half.with_suffix("").unlink()
    half.write_bytes(half.read_bytes()[:7])
    assert [found.key async for found in store.objects(BUCKET)] == ["whole"]
    await store.delete(BUCKET, "half", "v.1")
    assert not half.exists()


async def test_files_of_somebody_else_are_passed_over(tmp_path: Path) -> None:
    """What a backup, an editor or a file manager leaves: a listing goes on behind it."""
    store, part = DiskStore(tmp_path / "objects"), tmp_path / "part"
    part.write_bytes(b"ours")
    await store.create_bucket(BUCKET)
    await store.commit(part, planned(b"ours", store))
    bucket = tmp_path / "objects" / str(BUCKET)
    (bucket / ".DS_Store").write_bytes(b"")
    (bucket / "zz").write_bytes(b"")
    seen, place = [], None
    while (page := await store.page(BUCKET, place)).place is not None:
        place = page.place
        seen += page.versions
    assert [each.key for each in seen] == ["k"]
    assert [each.key async for each in store.objects(BUCKET)] == ["k"]
    assert await store.buckets() == [BUCKET]
