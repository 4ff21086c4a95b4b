"""Visible records, generations and what deleting leaves behind."""

from collections.abc import Callable

import pytest

from cephstorage.domain.errors import BucketNotFound, KeyNotFound
from cephstorage.index import SqlIndex
from tests.conformance.index.conftest import BUCKET, FACTS, NOW, OTHER, land, removal_versions
from tests.harness.names import NASTY_KEYS


async def test_a_landed_record_reads_back_whole(index: SqlIndex) -> None:
    record = await land(index, "1", "a/k", size=7, origin=FACTS)
    assert await index.keys.get(BUCKET, "a/k") == record
    assert (record.generation, record.size, record.origin, record.validated_at) == (1, 7, FACTS, NOW)
    assert (record.etag, record.last_modified) == ('"id-1"', "Thu, 01 Jan 1970 00:00:05 GMT")
    assert (record.ts, record.source, record.content_type) == (5.0, "http://origin.example", "text/plain")


async def test_an_unknown_key_is_none(index: SqlIndex) -> None:
    await land(index, "1", "k")
    assert await index.keys.get(BUCKET, "K") is None
    assert await index.keys.get(OTHER, "k") is None


async def test_nasty_keys_are_all_distinct(index: SqlIndex) -> None:
    landed = {key: await land(index, str(number), key) for number, key in enumerate(NASTY_KEYS.values())}
    for key, record in landed.items():
        assert await index.keys.get(BUCKET, key) == record
    assert (await index.buckets.get(BUCKET)).keyamount == len(NASTY_KEYS)


async def test_overwriting_counts_up_replaces_usage_and_queues_the_old_bytes(index: SqlIndex) -> None:
    await land(index, "1", size=10)
    second = await land(index, "2", size=3)
    assert second.generation == 2
    bucket = await index.buckets.get(BUCKET)
    assert (bucket.size, bucket.keyamount) == (3, 1)
    assert await removal_versions(index) == ["id-1.1"]


async def test_delete_takes_the_key_its_usage_and_its_bytes(index: SqlIndex) -> None:
    await land(index, "1", "k", size=10)
    await land(index, "2", "other", size=5)
    await index.keys.delete(BUCKET, "k", NOW)
    assert await index.keys.get(BUCKET, "k") is None
    bucket = await index.buckets.get(BUCKET)
    assert (bucket.size, bucket.keyamount) == (5, 1)
    assert await removal_versions(index) == ["id-1.1"]
    with pytest.raises(KeyNotFound):
        await index.keys.delete(BUCKET, "k", NOW)
    with pytest.raises(BucketNotFound):
        await index.keys.delete(OTHER, "k", NOW)


async def test_generations_never_come_back_after_a_delete(index: SqlIndex) -> None:
    for name in ("1", "2", "3"):
        await land(index, name)
    await index.keys.delete(BUCKET, "k", NOW)
    assert (await land(index, "4")).generation == 4
    assert (await land(index, "5")).generation == 5


async def test_generations_go_on_in_a_bucket_made_anew(index: SqlIndex) -> None:
    """Receivers of webhooks, which outlive buckets, take a later generation for the later version."""
    for name in ("1", "2", "3"):
        await land(index, name)
    await index.keys.delete(BUCKET, "k", NOW)
    await index.buckets.delete(BUCKET)
    await index.buckets.create(BUCKET, NOW)
    await index.buckets.delete(BUCKET)
    await index.buckets.create(BUCKET, NOW)
    assert (await land(index, "4")).generation == 4


async def test_touch_confirms_one_generation_only(index: SqlIndex) -> None:
    await land(index, "1")
    await index.keys.touch(BUCKET, "k", 1, NOW + 5)
    await index.keys.touch(BUCKET, "k", 2, NOW + 9)
    record = await index.keys.get(BUCKET, "k")
    assert record is not None
    assert record.validated_at == NOW + 5


async def test_removals_leave_the_queue_oldest_first(index: SqlIndex) -> None:
    for name in ("1", "2", "3"):
        await land(index, name)
    first, second = await index.landing.removals(10)
    assert (first.bucket, first.key, first.store_version) == (BUCKET, "k", "id-1.1")
    assert await index.landing.removals(1) == [first]
    await index.landing.removed([first.id])
    await index.landing.removed([])
    assert await index.landing.removals(10) == [second]


async def test_that_a_key_is_unknown_is_forgotten_when_it_comes(
    index: SqlIndex, factory: Callable[[], SqlIndex]
) -> None:
    assert (await index.keys.get(BUCKET, "k"), await index.keys.get(BUCKET, "k")) == (None, None)
    other = factory()
    await other.open()
    try:
        record = await land(other, "1", "k")
    finally:
        await other.close()
    assert await index.keys.get(BUCKET, "k") == record
