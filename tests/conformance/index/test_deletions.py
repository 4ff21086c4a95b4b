"""Deletions of many keys: exactly what was there when they were asked for, step by step, whoever does the steps."""

import asyncio
from dataclasses import replace

import pytest

from cephstorage.domain.deletions import DeletionWish
from cephstorage.domain.errors import BucketNotFound, JobEnded, JobNotFound
from cephstorage.domain.mirrors import Mirror
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import ListQuery
from cephstorage.domain.transfers import State
from cephstorage.index import SqlIndex
from tests.conformance.index.conftest import BUCKET, NOW, OTHER, begin, plan_for, removal_versions
from tests.conformance.index.test_search import put


async def fill(index: SqlIndex, keys: list[str]) -> None:
    for number, key in enumerate(keys):
        await put(index, number, key)


async def there(index: SqlIndex) -> list[str]:
    return [record.key for record in (await index.keys.listing(BUCKET, ListQuery(vfolder=None))).keys]


async def work_off(index: SqlIndex, most: int = 2) -> int:
    """Do steps until none is due; how many."""
    steps = 0
    while await index.deletions.step(most, 0.0, NOW) is not None:
        steps += 1
    return steps


async def test_a_prefix_is_deleted_step_by_step(index: SqlIndex) -> None:
    await fill(index, ["a", "a/1", "a/2", "a/3", "a/b/4", "a0", "b/5"])
    made = await index.deletions.create("d", BUCKET, DeletionWish(prefix="a/"), NOW)
    assert (made.state, made.prefix, made.total) == (State.INPROGRESS, "a/", None)
    step = await index.deletions.step(3, 0.0, NOW)
    assert step is not None
    assert (step.keys, step.deletion.done) == (("a/1", "a/2", "a/3"), 3)
    assert await there(index) == ["a", "a/b/4", "a0", "b/5"]
    await work_off(index)
    ended = await index.deletions.get("d")
    assert (ended.state, ended.done, ended.ended_at) == (State.SUCCESS, 4, NOW)
    assert await there(index) == ["a", "a0", "b/5"]
    assert len(await removal_versions(index)) == 4
    assert (await index.buckets.get(BUCKET)).keyamount == 3


async def test_a_list_is_deleted_and_what_is_missing_counted(index: SqlIndex) -> None:
    await fill(index, ["a", "b", "c", "d"])
    await index.deletions.create("d", BUCKET, DeletionWish(("a", "c", "x", "y", "z")), NOW)
    await work_off(index)
    ended = await index.deletions.get("d")
    assert (ended.done, ended.missing, ended.total, ended.state) == (2, 3, 5, State.SUCCESS)
    assert await there(index) == ["b", "d"]


@pytest.mark.parametrize("wish", [DeletionWish(prefix=""), DeletionWish(("a", "b", "c"))])
async def test_what_comes_after_the_wish_stays(index: SqlIndex, wish: DeletionWish) -> None:
    await fill(index, ["a", "b"])
    await index.deletions.create("d", BUCKET, wish, NOW)
    overwritten = await put(index, 10, "b")
    new = await put(index, 11, "c")
    await index.keys.delete(BUCKET, "a", NOW)
    again = await put(index, 12, "a")
    await work_off(index)
    assert await there(index) == ["a", "b", "c"]
    for record in (overwritten, new, again):
        assert await index.keys.get(BUCKET, record.key) == record
    assert (await index.deletions.get("d")).done == 0


async def test_a_step_waits_for_its_time(index: SqlIndex) -> None:
    await fill(index, ["a", "b", "c"])
    await index.deletions.create("d", BUCKET, DeletionWish(prefix=""), NOW)
    assert await index.deletions.step(1, 5.0, NOW) is not None
    assert await index.deletions.step(1, 5.0, NOW + 4.9) is None
    assert await index.deletions.step(1, 5.0, NOW + 5.0) is not None


async def test_steps_of_many_processes_delete_each_key_once(index: SqlIndex, several: list[SqlIndex]) -> None:
    await fill(index, [f"k{number:02}" for number in range(40)])
    await index.deletions.create("d", BUCKET, DeletionWish(prefix="k"), NOW)
    await asyncio.gather(*(work_off(each) for each in several))
    while (await index.deletions.get("d")).ended_at is None:
        await work_off(index)
    assert await there(index) == []
    assert (await index.deletions.get("d")).done == 40
    assert len(set(await removal_versions(index))) == 40


async def test_mirrored_keys_are_forgotten_by_the_edges(index: SqlIndex) -> None:
    await fill(index, ["a", "b"])
    await index.mirrors.put(Mirror("mirror.example", BUCKET, "https://origin.example"))
    await index.deletions.create("d", BUCKET, DeletionWish(prefix=""), NOW)
    await work_off(index)
    assert [purge.key for purge in await index.purges.due(NOW + 1e6, 10)] == ["a", "b"]


async def test_a_cancelled_deletion_goes_no_further(index: SqlIndex) -> None:
    await fill(index, ["a", "b", "c"])
    await index.deletions.create("d", BUCKET, DeletionWish(("a", "b", "c")), NOW)
    await index.deletions.step(1, 0.0, NOW)
    with pytest.raises(JobNotFound):
        await index.deletions.cancel(OTHER, "d", NOW)
    ended = await index.deletions.cancel(BUCKET, "d", NOW)
    assert (ended.state, ended.error_code, ended.done) == (State.FAIL, "cancelled", 1)
    assert await work_off(index) == 0
    assert await there(index) == ["b", "c"]
    with pytest.raises(JobEnded):
        await index.deletions.cancel(BUCKET, "d", NOW)


async def test_a_bucket_that_is_gone_ends_its_deletions(index: SqlIndex) -> None:
    gone = BucketName("alice", "gone")
    await index.buckets.create(gone, NOW)
    await index.deletions.create("d", gone, DeletionWish(prefix="a"), NOW)
    await index.buckets.delete(gone)
    await work_off(index)
    assert (await index.deletions.get("d")).state is State.SUCCESS


async def test_deletions_are_listed_and_forgotten(index: SqlIndex) -> None:
    for number in range(3):
        await index.deletions.create(f"d{number}", BUCKET, DeletionWish(prefix="a"), NOW + number)
    assert [each.id for each in await index.deletions.of_bucket(BUCKET)] == ["d2", "d1", "d0"]
    assert await index.deletions.step(1, 0.0, NOW) is not None
    assert await index.deletions.forget_ended(NOW + 1) == 1
    with pytest.raises(JobNotFound):
        await index.deletions.get("d0")
    with pytest.raises(BucketNotFound):
        await index.deletions.create("x", OTHER, DeletionWish(prefix="a"), NOW)


async def store_in(index: SqlIndex, bucket: BucketName, name: str, key: str) -> None:
    lease = await begin(index, name, key, bucket=bucket)
    assert await index.landing.plan(lease, plan_for(lease), NOW)
    await index.landing.publish(lease, NOW)


async def keys_in(index: SqlIndex, bucket: BucketName) -> list[str]:
    return [record.key for record in (await index.keys.listing(bucket, ListQuery(vfolder=None))).keys]


async def test_what_is_stored_in_a_bucket_made_anew_stays(index: SqlIndex) -> None:
    again = BucketName("alice", "again")
    await index.buckets.create(again, NOW)
    await store_in(index, again, "first", "a")
    await index.deletions.create("d", again, DeletionWish(("a", "b", "c")), NOW)
    await index.deletions.step(1, 0.0, NOW)
    await index.buckets.delete(again)
    await index.buckets.create(again, NOW)
    await store_in(index, again, "second", "c")
    await work_off(index)
    assert await keys_in(index, again) == ["c"]
    assert (await index.deletions.get("d")).missing == 2


async def test_what_was_adopted_is_deleted_as_well(index: SqlIndex) -> None:
    """Objects of the store that bring no generation along get one like others, also as the first ones of a bucket."""
    template = await put(index, 1, "template")
    await index.buckets.create(OTHER, NOW)
    adopted = [replace(template, bucket=OTHER, key=key, store_version=key, generation=0) for key in ("a", "b")]
    await index.adoption.adopt(OTHER, adopted)
    await index.deletions.create("d", OTHER, DeletionWish(prefix=""), NOW)
    await work_off(index)
    assert await keys_in(index, OTHER) == []
