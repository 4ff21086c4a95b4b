"""The port ``Store``: every promise of ``cephstorage.ports.store``, for every adapter."""

import asyncio
import hashlib
import itertools
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cephstorage.domain.consistency import Seen, identity_of
from cephstorage.domain.errors import StoredBytesMissing, StoreUnavailable
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import attempt_of
from cephstorage.ports.store import ObjectReader, Store, StoredObject
from tests.conformance.store.conftest import BUCKET, OTHER
from tests.harness.content import MIB, Content
from tests.harness.names import NASTY_KEYS

METADATA = {"content_type": "text/plain; charset=utf-8", "etag": '"é\\"', "target": "/a?b=%2F", "timetag": "5.25"}
CUSTOM = (("big", "x" * 2000), ("color", "deep blue"), ("md5", "mine"))
_numbers = itertools.count()


def planned(store: Store, body: bytes, key: str = "k", bucket: BucketName = BUCKET, **more: str) -> StoredObject:
    """A version that nobody has committed yet."""
    version = store.plan_version(f"transfer{next(_numbers)}", 1)
    return StoredObject(bucket, key, version, len(body), hashlib.md5(body).hexdigest(), more)


def spooled(folder: Path, body: bytes) -> Path:
    """A spool file with these bytes."""
    part = folder / f"{next(_numbers)}.part"
    part.write_bytes(body)
    return part


def pass_a_tick(folder: Path) -> None:
    """Let the clock that stamps files move on: it may stand still for some milliseconds."""
    stamp = folder / "stamp"
    stamp.touch()
    before = stamp.stat().st_mtime_ns
    while stamp.stat().st_mtime_ns == before:
        stamp.touch()


async def put(store: Store, folder: Path, body: bytes, key: str = "k", **more: str) -> StoredObject:
    """Commit a version, later than any other."""
    pass_a_tick(folder)
    version = planned(store, body, key, **more)
    return replace(version, store_version=await store.commit(spooled(folder, body), version))


async def opened(store: Store, version: StoredObject) -> ObjectReader:
    return await store.open(version.bucket, version.key, version.store_version)


async def content(store: Store, version: StoredObject) -> bytes:
    """All bytes of a version, through a reader of its own."""
    reader = await opened(store, version)
    body = await read_whole(reader)
    await reader.close()
    return body


async def read_whole(reader: ObjectReader) -> bytes:
    body = b""
    while piece := await reader.read(len(body), MIB):
        body += piece
    return body


async def listed(store: Store, bucket: BucketName = BUCKET) -> list[StoredObject]:
    found = [version async for version in store.objects(bucket)]
    return sorted(found, key=lambda version: (version.key, version.store_version))


async def attempts(store: Store) -> list[StoredObject]:
    """What is listed, named by its attempts: as it was planned."""
    return [replace(found, store_version=attempt_of(found.store_version)) for found in await listed(store)]


@pytest.mark.parametrize("key", NASTY_KEYS.values(), ids=NASTY_KEYS)
async def test_a_nasty_key_lives_its_whole_life(store: Store, tmp_path: Path, key: str) -> None:
    body = key.encode() * 3
    version = await put(store, tmp_path, body, key)
    reader = await opened(store, version)
    assert reader.size == len(body)
    assert await reader.read(0, MIB) == body
    assert reader.read_now(0, MIB) in (None, body)
    await reader.close()
    assert await listed(store) == [version]
    await store.delete(BUCKET, key, version.store_version)
    assert await listed(store) == []
    with pytest.raises(StoredBytesMissing):
        await opened(store, version)


async def test_all_nasty_keys_live_side_by_side(store: Store, tmp_path: Path) -> None:
    versions = [await put(store, tmp_path, key.encode(), key) for key in NASTY_KEYS.values()]
    assert [await content(store, version) for version in versions] == [key.encode() for key in NASTY_KEYS.values()]
    assert {version.key for version in await listed(store)} == set(NASTY_KEYS.values())


async def test_nothing_is_readable_before_the_commit(store: Store, tmp_path: Path) -> None:
    version = planned(store, b"bytes")
    part = spooled(tmp_path, b"bytes")
    assert not await store.holds(version)
    assert await listed(store) == []
    with pytest.raises(StoredBytesMissing):
        await opened(store, version)
    await store.commit(part, version)
    assert await store.holds(version)
    assert await content(store, version) == b"bytes"


async def test_whoever_looks_while_a_commit_runs_sees_nothing_or_the_whole(store: Store, tmp_path: Path) -> None:
    body = Content(1, 3 * MIB).read()
    version = planned(store, body)
    committing = asyncio.create_task(store.commit(spooled(tmp_path, body), version))
    looks = 0
    while not committing.done() or looks == 0:
        looks += 1
        assert await attempts(store) in ([], [version])
        try:
            assert await content(store, version) == body
        except StoredBytesMissing:
            continue
    await committing
    assert await content(store, version) == body


async def test_a_commit_may_be_repeated_with_and_without_the_part_file(store: Store, tmp_path: Path) -> None:
    version = await put(store, tmp_path, b"once")
    await store.commit(spooled(tmp_path, b"once"), version)
    await store.commit(tmp_path / "gone.part", version)
    assert await content(store, version) == b"once"
    assert await listed(store) == [version]


async def test_concurrent_commits_of_one_version_end_in_one_whole_version(store: Store, tmp_path: Path) -> None:
    body = Content(2, MIB).read()
    version = planned(store, body)
    await asyncio.gather(*(store.commit(spooled(tmp_path, body), version) for _ in range(4)))
    assert await content(store, version) == body
    assert await attempts(store) == [version]


async def test_versions_of_a_key_live_side_by_side_and_delete_removes_one(store: Store, tmp_path: Path) -> None:
    bodies = [b"first", b"second, longer", b"third"]
    first, second, third = [await put(store, tmp_path, body) for body in bodies]
    await store.delete(BUCKET, "k", second.store_version)
    assert await content(store, first) == bodies[0]
    assert await content(store, third) == bodies[2]
    assert not await store.holds(second)
    assert set(map(str, await listed(store))) == {str(first), str(third)}


async def test_the_version_names_of_attempts_differ(store: Store) -> None:
    names = {store.plan_version(transfer, fence) for transfer in ("a", "b", "a1") for fence in (1, 2, 11)}
    assert len(names) == 9


async def test_delete_of_what_is_not_there_is_fine_and_touches_nothing_else(store: Store, tmp_path: Path) -> None:
    version = await put(store, tmp_path, b"stays")
    await store.delete(BUCKET, "k", store.plan_version("other", 1))
    await store.delete(BUCKET, "another key", version.store_version)
    await store.delete(OTHER, "k", version.store_version)
    assert await content(store, version) == b"stays"
    await store.delete(BUCKET, "k", version.store_version)
    await store.delete(BUCKET, "k", version.store_version)
    assert not await store.holds(version)


async def test_a_deleted_version_may_be_committed_again(store: Store, tmp_path: Path) -> None:
    version = await put(store, tmp_path, b"again")
    await store.delete(BUCKET, "k", version.store_version)
    version = replace(version, store_version=await store.commit(spooled(tmp_path, b"again"), version))
    assert await content(store, version) == b"again"


async def test_an_opened_reader_keeps_its_bytes_while_the_key_is_replaced_and_deleted(
    store: Store, tmp_path: Path
) -> None:
    body = Content(3, 2 * MIB).read()
    old = await put(store, tmp_path, body)
    reader = await opened(store, old)
    head = await reader.read(0, MIB)
    await put(store, tmp_path, Content(4, 2 * MIB).read())
    await store.delete(BUCKET, "k", old.store_version)
    assert head + await reader.read(MIB, 2 * MIB) == body
    assert reader.size == len(body)
    await reader.close()


async def test_a_reader_may_be_closed_twice(store: Store, tmp_path: Path) -> None:
    reader = await opened(store, await put(store, tmp_path, b"x"))
    await reader.close()
    await reader.close()


async def test_holds_is_true_for_exactly_the_whole_version(store: Store, tmp_path: Path) -> None:
    version = await put(store, tmp_path, b"12345")
    assert await store.holds(version)
    other_sizes = [StoredObject(BUCKET, "k", version.store_version, size, version.md5) for size in (0, 4, 6)]
    assert not any([await store.holds(other) for other in other_sizes])
    assert not await store.holds(planned(store, b"12345"))
    assert not await store.holds(StoredObject(BUCKET, "j", version.store_version, 5, version.md5))
    assert not await store.holds(StoredObject(OTHER, "k", version.store_version, 5, version.md5))


async def test_what_the_stores_own_clients_see_of_a_key(store: Store, tmp_path: Path) -> None:
    assert not await store.untouched(BucketName("nobody", "nothing"), "k"), "without a bucket nothing can be said"
    await put(store, tmp_path, b"other", "key")
    assert await store.untouched(BUCKET, "k")
    first = await put(store, tmp_path, b"first")
    assert not await store.untouched(BUCKET, "k")
    assert await store.is_newest(BUCKET, "k", first.store_version)
    await store.delete(BUCKET, "k", first.store_version)
    assert await store.untouched(BUCKET, "k")
    assert not await store.is_newest(BUCKET, "k", first.store_version)


async def test_the_current_version_of_a_key_is_the_one_stored_last(store: Store, tmp_path: Path) -> None:
    assert await store.current(BUCKET, "k") is None
    await put(store, tmp_path, b"other", "k2")
    assert await store.current(BUCKET, "k") is None
    first = await put(store, tmp_path, b"first", **METADATA)
    assert await store.current(BUCKET, "k") == first
    second = await put(store, tmp_path, b"second", **METADATA)
    assert await store.current(BUCKET, "k") == second
    await store.delete(BUCKET, "k", second.store_version)
    assert await store.current(BUCKET, "k") == first
    assert await store.current(OTHER, "k") is None


async def test_objects_gives_all_that_a_record_needs(store: Store, tmp_path: Path) -> None:
    await store.create_bucket(OTHER)
    small = await put(store, tmp_path, b"a", "small", **METADATA)
    empty = await put(store, tmp_path, b"", "empty")
    elsewhere = replace(planned(store, b"c", "elsewhere", OTHER, **METADATA), custom=CUSTOM)
    elsewhere = replace(elsewhere, store_version=await store.commit(spooled(tmp_path, b"c"), elsewhere))
    assert await listed(store) == [empty, small]
    assert await listed(store, OTHER) == [elsewhere]


async def test_objects_of_an_empty_or_missing_bucket_are_none(store: Store) -> None:
    assert await listed(store) == []
    assert await listed(store, BucketName("nobody", "nothing")) == []


async def test_objects_bears_that_versions_come_and_go_meanwhile(store: Store, tmp_path: Path) -> None:
    steady = [await put(store, tmp_path, b"s", f"steady {number}") for number in range(10)]
    doomed = [await put(store, tmp_path, b"d", "doomed") for _ in range(30)]
    found = []
    async for version in store.objects(BUCKET):
        found.append(version)
        if doomed:
            gone = doomed.pop()
            await store.delete(BUCKET, gone.key, gone.store_version)
    assert set(map(str, steady)) <= set(map(str, found))


async def test_the_latest_of_some_versions_is_the_one_that_was_stored_last(store: Store, tmp_path: Path) -> None:
    one, two, three = [(await put(store, tmp_path, body)).store_version for body in (b"1", b"22", b"333")]
    await put(store, tmp_path, b"another key's", "k2")
    assert await store.latest(BUCKET, "k", [one, two, three]) == three
    assert await store.latest(BUCKET, "k", [two, one]) == two
    await store.delete(BUCKET, "k", two)
    assert await store.latest(BUCKET, "k", [two, one]) == one
    assert await store.latest(BUCKET, "k", [two]) is None
    assert await store.latest(BUCKET, "nothing", [one]) is None


async def test_the_buckets_that_are_there_are_known(store: Store) -> None:
    await store.create_bucket(OTHER)
    await store.create_bucket(BUCKET)
    there = await store.buckets()
    assert [bucket for bucket in there if bucket in {BUCKET, OTHER}] == [BUCKET, OTHER]
    await store.delete_bucket(OTHER)
    assert OTHER not in await store.buckets()


async def test_buckets_are_made_and_removed_idempotently(store: Store, tmp_path: Path) -> None:
    await store.create_bucket(OTHER)
    await store.create_bucket(OTHER)
    version = planned(store, b"x", bucket=OTHER)
    await store.commit(spooled(tmp_path, b"x"), version)
    await store.create_bucket(OTHER)
    assert await content(store, version) == b"x"
    await store.delete(OTHER, "k", version.store_version)
    await store.delete_bucket(OTHER)
    await store.delete_bucket(OTHER)
    await store.delete_bucket(BucketName("nobody", "nothing"))
    await store.create_bucket(OTHER)
    assert await listed(store, OTHER) == []


async def test_an_empty_object(store: Store, tmp_path: Path) -> None:
    version = await put(store, tmp_path, b"")
    reader = await opened(store, version)
    assert reader.size == 0
    assert await reader.read(0, MIB) == b""
    assert reader.read_now(0, MIB) in (None, b"")
    await reader.close()
    assert await store.holds(version)


async def test_a_big_object_is_read_anywhere(store: Store, tmp_path: Path) -> None:
    big = Content(5, 5 * MIB + 3)
    version = await put(store, tmp_path, big.read())
    reader = await opened(store, version)
    for start, size in [(0, 10), (MIB - 1, 2 * MIB), (big.size - 5, 100), (big.size, 10), (big.size + 9, 10)]:
        wanted = big.read(start, min(big.size, start + size))
        assert await reader.read(start, size) == wanted
        assert reader.read_now(start, size) in (None, wanted)
    assert await read_whole(reader) == big.read()
    await reader.close()


async def test_the_file_of_a_reader_has_the_same_bytes(store: Store, tmp_path: Path) -> None:
    big = Content(6, 5 * MIB)
    reader = await opened(store, await put(store, tmp_path, big.read()))
    fd = reader.file()
    if fd is None:
        assert await read_whole(reader) == big.read()
    else:
        assert os.fstat(fd).st_size == big.size
        assert os.pread(fd, big.size, 0) == big.read()
    await reader.close()


async def test_a_part_file_whose_bytes_are_gone_is_an_error_and_leaves_nothing(store: Store, tmp_path: Path) -> None:
    version = planned(store, b"never")
    with pytest.raises(StoreUnavailable):
        await store.commit(tmp_path / "gone.part", version)
    assert not await store.holds(version)
    assert await listed(store) == []


async def test_a_healthy_store_says_so_in_one_line(store: Store) -> None:
    said = await store.check()
    assert said
    assert "\n" not in said


async def pages(store: Store) -> list[Seen]:
    """Everything that the pages of a listing show, each taken up from its place alone."""
    seen, place = list[Seen](), None
    while True:
        page = await store.page(BUCKET, place)
        seen += page.versions
        if page.place is None:
            return seen
        place = page.place


async def test_pages_show_every_version_and_a_look_at_a_key_all_of_its(store: Store, tmp_path: Path) -> None:
    assert await pages(store) == []
    assert await store.versions(BUCKET, "k") == []
    assert await store.versions(OTHER, "k") == []
    first = await put(store, tmp_path, b"first", **METADATA, generation="1")
    second = await put(store, tmp_path, b"the second", generation="2")
    others = [await put(store, tmp_path, b"x", key) for key in ("k2", "a/b", "ü")]
    listed = await pages(store)
    expected = {(each.key, identity_of(each.store_version), each.size) for each in (first, second, *others)}
    assert {(each.key, each.identity, each.size) for each in listed} == expected
    assert not any(each.marker for each in listed)
    assert {each.etag for each in listed if each.key == "k"} <= {first.md5, second.md5, ""}
    newest, older = await store.versions(BUCKET, "k")
    assert (newest.store_version, older.store_version) == (second.store_version, first.store_version)
    assert (newest.mirrored, older.mirrored, newest.foreign, older.foreign) == (False, True, False, False)
    assert abs(time.time() - newest.written_at) < 60
    await store.delete(BUCKET, "k", second.store_version)
    (left,) = await store.versions(BUCKET, "k")
    assert left == replace(older, newest=left.newest)


async def test_what_is_hidden_is_still_there(store: Store, tmp_path: Path) -> None:
    version = await put(store, tmp_path, b"hidden")
    await store.hide(BUCKET, "k")
    assert [each.store_version for each in await store.versions(BUCKET, "k") if not each.marker] == [
        version.store_version
    ]
    assert await content(store, version) == b"hidden"
