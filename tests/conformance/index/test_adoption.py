"""Adoption: what was found in the store becomes visible, never at the cost of something newer."""

import time
from dataclasses import replace

import pytest

from cephstorage.domain.errors import BucketNotFound
from cephstorage.domain.lifecycle import DAY, ExpiryRule, Lifecycle
from cephstorage.domain.records import Record
from cephstorage.index import SqlIndex
from cephstorage.ports.index import Adopted
from tests.conformance.index.conftest import BUCKET, NOW, OTHER, begin, land, plan_for, removal_versions


async def found(
    index: SqlIndex, key: str = "k", generation: int = 1, version: str = "found.1", size: int = 7
) -> Record:
    """A record as a store describes it: one that landed elsewhere, under another version."""
    template = await index.keys.get(BUCKET, "template") or await land(index, "template", "template")
    return replace(template, key=key, generation=generation, store_version=version, size=size)


async def test_unknown_records_become_visible_with_their_usage(index: SqlIndex) -> None:
    records = [await found(index, f"k{number}", version=f"found.{number}") for number in range(3)]
    assert await index.adoption.adopt(BUCKET, records) == Adopted(added=3)
    assert [await index.keys.get(BUCKET, each.key) for each in records] == records
    usage = await index.buckets.get(BUCKET)
    assert (usage.size, usage.keyamount) == (10 + 3 * 7, 4)
    assert await index.adoption.adopt(BUCKET, records) == Adopted(known=3)


async def test_the_newest_generation_wins_whatever_the_order(index: SqlIndex) -> None:
    old, new = await found(index, generation=4, version="a.1"), await found(index, generation=5, version="b.1", size=9)
    assert await index.adoption.adopt(BUCKET, [old, new]) == Adopted(added=1, older=1)
    assert await index.keys.get(BUCKET, "k") == new
    assert await index.adoption.adopt(BUCKET, [old]) == Adopted(older=1)
    newest = replace(new, generation=6, store_version="c.1", size=3)
    assert await index.adoption.adopt(BUCKET, [newest]) == Adopted(added=1)
    assert await index.keys.get(BUCKET, "k") == newest
    assert (await index.buckets.get(BUCKET)).size == 10 + 3
    assert await removal_versions(index) == []


async def test_two_attempts_at_one_generation_are_for_the_caller_to_judge(index: SqlIndex) -> None:
    one, two = await found(index, version="a.1"), await found(index, version="b.1", size=9)
    assert await index.adoption.adopt(BUCKET, [one]) == Adopted(added=1)
    assert await index.adoption.adopt(BUCKET, [two]) == Adopted(contested=((two, one),))
    assert await index.keys.get(BUCKET, "k") == one
    assert await index.adoption.prefer(two, one)
    assert await index.keys.get(BUCKET, "k") == two
    assert not await index.adoption.prefer(replace(two, store_version="c.1"), one)
    assert await index.keys.get(BUCKET, "k") == two


async def test_what_is_adopted_lives_by_the_rules_of_its_bucket_from_now_on(index: SqlIndex) -> None:
    """However old it is by what is written on it: nothing ends as it is found."""
    await index.lifecycles.put(BUCKET, Lifecycle((ExpiryRule("k", 1),)))
    old, other = await found(index, version="a.1"), replace(await found(index, version="b.1"), expires=NOW)
    began = time.time()
    await index.adoption.adopt(BUCKET, [old, await found(index, "free", version="c.1")])
    seen, free = await index.keys.get(BUCKET, "k"), await index.keys.get(BUCKET, "free")
    assert seen is not None
    assert free is not None
    assert seen.expires_at is not None
    assert began + DAY <= seen.expires_at <= time.time() + DAY
    assert free.expires_at is None
    assert await index.adoption.prefer(other, seen)
    assert await index.lifecycles.sweep(10, NOW) == 1  # its own end has passed


async def test_what_waits_for_its_removal_stays_away(index: SqlIndex) -> None:
    record = await land(index, "1", "gone")
    await index.keys.delete(BUCKET, "gone", NOW)
    assert await index.adoption.adopt(BUCKET, [record]) == Adopted(older=1)
    assert await index.keys.get(BUCKET, "gone") is None


async def test_what_is_being_stored_is_left_to_its_transfer(index: SqlIndex) -> None:
    lease = await begin(index, "1", key="coming")
    plan = plan_for(lease)
    await index.landing.plan(lease, plan, NOW)
    stored = replace(await found(index, "coming"), store_version=f"{plan.store_version}#whole")
    assert await index.adoption.adopt(BUCKET, [stored]) == Adopted(older=1)
    published = await index.landing.publish(lease, NOW, stored.store_version)
    assert await index.keys.get(BUCKET, "coming") == published


async def test_keys_that_come_after_have_higher_generations_than_anything_found(index: SqlIndex) -> None:
    await index.adoption.adopt(BUCKET, [await found(index, generation=41)])
    await index.keys.delete(BUCKET, "k", NOW)
    assert (await land(index, "new", "k")).generation > 41
    assert (await land(index, "other", "other")).generation > 41


async def test_a_bucket_that_is_not_there_is_said(index: SqlIndex) -> None:
    record = await found(index)
    with pytest.raises(BucketNotFound):
        await index.adoption.adopt(OTHER, [replace(record, bucket=OTHER)])


async def test_what_has_no_generation_yet_begins_where_new_keys_begin(index: SqlIndex) -> None:
    gone = await land(index, "1", "k")
    await index.keys.delete(BUCKET, "k", NOW)
    one = await found(index, generation=0, version="s3.a#v")
    assert await index.adoption.adopt(BUCKET, [one, one]) == Adopted(added=1, known=1)
    visible = await index.adoption.visible(BUCKET, ["k", "nothing"])
    assert visible.keys() == {"k"}
    assert visible["k"].generation > gone.generation
    other = replace(one, store_version="s3.b#w")
    assert await index.adoption.adopt(BUCKET, [other]) == Adopted(older=1)
    await index.keys.delete(BUCKET, "k", NOW)
    assert (await land(index, "new", "k")).generation > visible["k"].generation
