"""The lives of keys in the index: expired keys are gone at once for readers, and by and by from everything else."""

from typing import Any

import pytest

from cephstorage.domain.errors import BucketNotFound, KeyNotFound, PreconditionFailed
from cephstorage.domain.lifecycle import DAY, ExpiryRule, Lifecycle
from cephstorage.domain.mirrors import Mirror
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import ListQuery, Precondition, Record
from cephstorage.index import SqlIndex
from tests.conformance.index.conftest import (
    BUCKET,
    NOW,
    OTHER,
    begin,
    begin_fill,
    land,
    plan_for,
    removal_versions,
)

LATER = NOW + 100


@pytest.fixture(autouse=True)
def clock(index: SqlIndex) -> list[float]:
    """The moment by which the index reads; tests set it."""
    now = [NOW]
    reader: Any = index.keys
    reader.clock = lambda: now[0]
    return now


async def expiring(index: SqlIndex, name: str, key: str = "k", bucket: BucketName = BUCKET) -> Record:
    lease = await begin(index, name, key, bucket=bucket)
    plan = plan_for(lease, expires=LATER)
    assert await index.landing.plan(lease, plan, NOW)
    return await index.landing.publish(lease, NOW)


async def keys(index: SqlIndex, bucket: BucketName = BUCKET) -> list[str]:
    page = await index.keys.listing(bucket, ListQuery(recursive=True))
    return [record.key for record in page.keys]


async def ends(index: SqlIndex) -> dict[str, float | None]:
    page = await index.keys.listing(BUCKET, ListQuery(recursive=True))
    return {record.key: record.expires_at for record in page.keys}


async def test_an_expired_key_is_gone_for_readers_at_once(index: SqlIndex, clock: list[float]) -> None:
    record = await expiring(index, "one")
    assert (record.expires, record.expires_at) == (LATER, LATER)
    clock[0] = LATER - 0.001
    assert await index.keys.get(BUCKET, "k") == record
    assert await index.keys.md5s(BUCKET, ["k"], LATER - 0.001) == {"k": record.md5}
    clock[0] = LATER
    assert await index.keys.get(BUCKET, "k") is None
    assert await index.keys.md5s(BUCKET, ["k"], LATER) == {}
    with pytest.raises(KeyNotFound):
        await index.keys.delete(BUCKET, "k", LATER)


async def test_the_sweep_deletes_what_has_expired_and_nothing_else(index: SqlIndex) -> None:
    record = await expiring(index, "one", "a/expired")
    await land(index, "two", "b/stays")
    assert await index.lifecycles.sweep(10, LATER - 1) == 0
    assert await index.lifecycles.sweep(10, LATER) == 1
    assert await keys(index) == ["b/stays"]
    assert await removal_versions(index) == [record.store_version]
    assert (await index.buckets.get(BUCKET)).keyamount == 1
    assert await index.lifecycles.sweep(10, LATER) == 0


async def test_the_sweep_is_bounded_and_goes_over_buckets(index: SqlIndex) -> None:
    await index.buckets.create(OTHER, NOW)
    for number, bucket in enumerate((BUCKET, OTHER, BUCKET, OTHER)):
        await expiring(index, f"n{number}", f"k{number}", bucket)
    assert [await index.lifecycles.sweep(3, LATER) for _ in range(3)] == [3, 1, 0]


async def test_a_newer_version_outlives_the_expiry_of_the_older_one(index: SqlIndex) -> None:
    await expiring(index, "one")
    newer = await land(index, "two")
    assert newer.expires_at is None
    assert await index.lifecycles.sweep(10, LATER) == 0
    assert await index.keys.get(BUCKET, "k") == newer


async def test_what_was_replaced_since_it_was_found_expired_stays(
    index: SqlIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep looks for keys first and locks their buckets then; other transactions come in between."""
    newer = await land(index, "one")
    sweep: Any = index.lifecycles
    monkeypatch.setattr(sweep._sql, "due", lambda *_: [(BUCKET, ["k"])])
    assert await index.lifecycles.sweep(10, LATER) == 0
    assert await index.keys.get(BUCKET, "k") == newer


async def test_an_expired_key_is_absent_for_preconditions_and_fills(index: SqlIndex, clock: list[float]) -> None:
    await expiring(index, "one")
    clock[0] = LATER
    lease = await begin(index, "two", now=LATER, precondition=Precondition(if_absent=True))
    assert await index.landing.plan(lease, plan_for(lease), LATER)
    assert (await index.landing.publish(lease, LATER)).generation == 2
    with pytest.raises(PreconditionFailed):
        await begin(index, "three", now=LATER, precondition=Precondition(if_absent=True))


async def test_a_fill_takes_the_place_of_an_expired_key(index: SqlIndex, clock: list[float]) -> None:
    lease = await begin(index, "one")
    await index.landing.plan(lease, plan_for(lease, expires=NOW - 1), NOW)
    await index.landing.publish(lease, NOW)
    assert await index.keys.get(BUCKET, "k") is None
    fill = await begin_fill(index, "two", seen_generation=0)
    assert await index.landing.plan(fill, plan_for(fill), NOW)
    assert (await index.landing.publish(fill, NOW)).generation == 2


async def test_rules_hold_for_what_is_published_and_the_earliest_moment_counts(index: SqlIndex) -> None:
    rules = (ExpiryRule("", 30), ExpiryRule("a/", 10), ExpiryRule("a/b/", 20))
    await index.lifecycles.put(BUCKET, Lifecycle(rules))
    assert await index.lifecycles.get(BUCKET) == Lifecycle(rules)
    await land(index, "one", "a/b/k")
    await land(index, "two", "c")
    await expiring(index, "three", "a/x")
    assert await ends(index) == {"a/b/k": NOW + 10 * DAY, "a/x": LATER, "c": NOW + 30 * DAY}


async def test_a_change_of_rules_reaches_the_keys_that_are_there(index: SqlIndex) -> None:
    for number in range(5):
        await land(index, f"n{number}", f"a/{number}")
    await expiring(index, "own", "b")
    assert not await index.lifecycles.apply(2, NOW)
    await index.lifecycles.put(BUCKET, Lifecycle((ExpiryRule("a/", 1),)))
    steps = 0
    while await index.lifecycles.apply(2, NOW):
        steps += 1
    assert steps == 4
    assert await ends(index) == {**{f"a/{number}": NOW + DAY for number in range(5)}, "b": LATER}
    await index.lifecycles.put(BUCKET, Lifecycle())
    while await index.lifecycles.apply(100, NOW):
        pass
    assert await ends(index) == {**{f"a/{number}": None for number in range(5)}, "b": LATER}


async def test_edges_forget_what_a_new_rule_makes_end_sooner(index: SqlIndex) -> None:
    await index.mirrors.put(Mirror("mirror.example", BUCKET, "http://origin.example"))
    await land(index, "one", "k")
    await index.lifecycles.put(BUCKET, Lifecycle((ExpiryRule("", 1),)))
    assert await index.lifecycles.apply(10, NOW)
    (purge,) = await index.purges.due(NOW + 1000, 10)
    assert purge.key == "k"
    await index.purges.done([purge.id])
    await index.lifecycles.put(BUCKET, Lifecycle((ExpiryRule("", 2),)))
    assert await index.lifecycles.apply(10, NOW)
    assert (await ends(index), await index.purges.due(NOW + 1000, 10)) == ({"k": NOW + 2 * DAY}, [])


async def test_a_bucket_that_is_not_there_has_no_rules(index: SqlIndex) -> None:
    with pytest.raises(BucketNotFound):
        await index.lifecycles.get(OTHER)
    with pytest.raises(BucketNotFound):
        await index.lifecycles.put(OTHER, Lifecycle())
