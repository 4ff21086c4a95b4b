"""Objects in parts: resumed after any break by whoever goes on, aborted when given up, never there twice."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cephstorage.domain.errors import StoreUnavailable
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import attempt_of
from cephstorage.store.ceph import CephStore
from cephstorage.store.ceph.parts import LEAST_PART, MIB, MOST_PARTS, SpoolFile, Stretch, content_md5, part_size
from tests.harness.ceph import Ceph
from tests.harness.content import Content
from tests.harness.fault_proxy import Fault, FaultProxy, s3_error
from tests.unit.store.ceph.conftest import BIG, config, planned, read, refused, spooled, uploads, versions

TIB = 1 << 40
_HEADS = 16384


@pytest.mark.parametrize(
    ("size", "part"),
    [
        (16 * MIB + 1, LEAST_PART),
        (LEAST_PART * MOST_PARTS, LEAST_PART),
        (LEAST_PART * MOST_PARTS + 1, LEAST_PART + MIB),
        (5 * TIB, 525 * MIB),
    ],
)
def test_parts_are_few_enough_and_whole_mibs(size: int, part: int) -> None:
    assert part_size(size) == part
    assert -(-size // part) <= MOST_PARTS
    assert part >= 5 * MIB  # S3 takes no smaller ones, but for the last (S3 API, "Multipart upload limits")


async def test_a_big_object_is_noted_before_its_parts_and_whole_after_them(
    store: CephStore, bucket: BucketName, tmp_path: Path
) -> None:
    noted: list[str] = []

    async def note(name: str) -> None:
        [upload] = await uploads(store, bucket)
        assert name == f"{version.store_version}#upload/{upload}"
        assert await store._s3.parts(str(bucket), "k", upload) == []
        noted.append(name)

    version = planned(store, bucket, BIG, etag='"é"')
    name = await store.commit(spooled(tmp_path, BIG), version, note)
    assert len(noted) == 1
    assert await uploads(store, bucket) == []
    [found] = [each async for each in store.objects(bucket)]
    assert (found.store_version, found.size, found.md5, found.metadata) == (name, BIG.size, BIG.md5, {"etag": '"é"'})
    assert await read(store, found) == BIG.read()


async def test_a_successor_sends_only_what_is_missing(
    store: CephStore, ceph: Ceph, proxy: FaultProxy, bucket: BucketName, tmp_path: Path
) -> None:
    """The first process dies in the middle; the next one knows the noted name and the spool, and nothing else."""
    noted: list[str] = []

    async def note(name: str) -> None:
        noted.append(name)

    version, part = planned(store, bucket, BIG), spooled(tmp_path, BIG)
    first = CephStore(config(ceph))
    second = CephStore(config(ceph, gateway=proxy.address))
    committing = asyncio.create_task(first.commit(part, version, note))
    async with asyncio.timeout(60):
        while not noted or not await store._s3.parts(str(bucket), "k", noted[0].partition("upload/")[2]):  # noqa: ASYNC110
            await asyncio.sleep(0)
    committing.cancel()
    await asyncio.gather(committing, return_exceptions=True)
    await first.close()
    there = await store._s3.parts(str(bucket), "k", noted[0].partition("upload/")[2])
    assert there
    name = await second.commit(part, replace(version, store_version=noted[0]), refused)
    await second.close()
    assert proxy.sent_up <= BIG.size - sum(each.size for each in there) + _HEADS
    assert attempt_of(name) == version.store_version
    assert await uploads(store, bucket) == []
    assert await read(store, replace(version, store_version=name)) == BIG.read()


async def test_a_part_with_other_bytes_is_sent_again(store: CephStore, bucket: BucketName, tmp_path: Path) -> None:
    other = Content(7, LEAST_PART)
    version, part = planned(store, bucket, BIG), spooled(tmp_path, BIG)
    upload = await store._s3.begin_upload(
        str(bucket), "k", {"x-amz-meta-attempt": version.store_version, "x-amz-meta-md5": BIG.md5}
    )
    wrong = tmp_path / "wrong"
    wrong.write_bytes(other.read())
    file = SpoolFile(wrong, other.size)
    await store._s3.put_part(str(bucket), "k", upload, 1, Stretch(file, 0, other.size), content_md5(other.md5))
    file.close()
    noted = replace(version, store_version=f"{version.store_version}#upload/{upload}")
    name = await store.commit(part, noted)
    assert await read(store, replace(version, store_version=name)) == BIG.read()


async def test_an_upload_that_was_aborted_meanwhile_begins_again(
    store: CephStore, bucket: BucketName, tmp_path: Path
) -> None:
    version = planned(store, bucket, BIG)
    gone = replace(version, store_version=f"{version.store_version}#upload/2~doesnotexist")
    name = await store.commit(spooled(tmp_path, BIG), gone)
    assert await versions(store, bucket) == [name]


@pytest.mark.parametrize("after", [0, 1, 400, 900, 9 * MIB, 20 * MIB])
async def test_a_commit_that_breaks_anywhere_is_taken_up_by_the_next_try(
    shaky: CephStore, store: CephStore, proxy: FaultProxy, bucket: BucketName, tmp_path: Path, after: int
) -> None:
    """The connections are cut after so many bytes, until the trouble is over."""
    version, part = planned(shaky, bucket, BIG), spooled(tmp_path, BIG)
    proxy.fault(Fault(cut_after=after, times=6))
    name = None
    for _ in range(40):
        try:
            name = await shaky.commit(part, version)
            break
        except StoreUnavailable:
            continue
    assert proxy.met > 0
    assert name is not None
    assert await versions(store, bucket) == [name]
    assert await uploads(store, bucket) == []
    assert await read(store, replace(version, store_version=name)) == BIG.read()


@pytest.mark.parametrize("after", [0, 60, 250])
async def test_an_answer_that_is_lost_leaves_no_second_version_for_long(
    shaky: CephStore, store: CephStore, proxy: FaultProxy, bucket: BucketName, tmp_path: Path, after: int
) -> None:
    """The gateway has done, or is about to do, what was asked, and nobody is told."""
    small = Content(3, 100_000)
    version, part = planned(shaky, bucket, small), spooled(tmp_path, small)
    proxy.fault(Fault(cut_after=after, direction="down", times=2))
    names = []
    for _ in range(10):
        try:
            names.append(await shaky.commit(part, version))
            break
        except StoreUnavailable:
            continue
    assert proxy.met > 0
    [name] = names
    strays = store.strays(name)
    assert strays is not None
    await store.delete(bucket, "k", strays)
    assert await versions(store, bucket) == [name]


async def test_a_note_that_fails_leaves_no_upload(store: CephStore, bucket: BucketName, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        await store.commit(spooled(tmp_path, BIG), planned(store, bucket, BIG), refused)
    assert await uploads(store, bucket) == []
    assert await versions(store, bucket) == []


async def test_what_is_given_up_leaves_nothing(
    shaky: CephStore, store: CephStore, proxy: FaultProxy, bucket: BucketName, tmp_path: Path
) -> None:
    noted: list[str] = []

    async def note(name: str) -> None:
        noted.append(name)
        proxy.fault(Fault(cut_after=9 * MIB))

    version = planned(shaky, bucket, BIG)
    with pytest.raises(StoreUnavailable):
        await shaky.commit(spooled(tmp_path, BIG), version, note)
    assert len(await uploads(store, bucket)) == 1
    await store.delete(bucket, "k", noted[0])
    assert await uploads(store, bucket) == []
    await store.delete(bucket, "k", noted[0])


async def test_a_planned_name_finds_and_removes_what_came_of_it(
    store: CephStore, bucket: BucketName, tmp_path: Path
) -> None:
    version, other = planned(store, bucket, BIG), planned(store, bucket, BIG)
    await store.commit(spooled(tmp_path, BIG), version)
    kept = await store.commit(spooled(tmp_path, BIG), other)
    await store.delete(bucket, "k", version.store_version)
    assert await versions(store, bucket) == [kept]


async def test_orphans_are_abandoned_and_what_is_named_is_not(store: CephStore, bucket: BucketName) -> None:
    named, orphan = [await store._s3.begin_upload(str(bucket), key, {}) for key in ("named", "a\x01 b/ü")]
    now = time.time()
    keep = ["a.1", f"b.2#upload/{named}", "c.3#version"]
    assert await store.abandon(bucket, keep, now - 60) == 0
    assert await store.abandon(bucket, keep, now + 60) == 1
    assert await uploads(store, bucket) == [named]
    assert orphan != named
    assert await store.abandon(bucket, [], now + 60, "name") == 0
    assert await store.abandon(bucket, [], now + 60, "named") == 1
    assert await store.abandon(BucketName("nobody", "nothing"), [], now + 60) == 0


async def test_a_slow_down_in_the_middle_is_an_error_that_passes(
    shaky: CephStore, proxy: FaultProxy, bucket: BucketName, tmp_path: Path
) -> None:
    proxy.fault(Fault(answer=s3_error(503, "SlowDown"), times=1))
    version, part = planned(shaky, bucket, BIG), spooled(tmp_path, BIG)
    with pytest.raises(StoreUnavailable, match="SlowDown") as caught:
        await shaky.commit(part, version)
    assert caught.value.retry_after is not None
    assert attempt_of(await shaky.commit(part, version)) == version.store_version
