"""The ports of consistency: what is known of keys, adoption under a fence, findings, walks and their leases."""

from dataclasses import replace

import pytest

from cephstorage.domain.errors import BucketNotFound, LeaseLost
from cephstorage.domain.findings import Done, Finding, FindingKind, FindingQuery
from cephstorage.domain.lifecycle import DAY, ExpiryRule, Lifecycle
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import Record
from cephstorage.domain.walks import NEVER, Stage, WalkKind, WalkLease, WalkStep
from cephstorage.index import SqlIndex
from tests.conformance.index.conftest import (
    BUCKET,
    NOW,
    OTHER,
    OWNER,
    RIVAL,
    UNTIL,
    begin,
    land,
    plan_for,
    removal_versions,
)

FOREIGN = Record(BUCKET, "k", 5.0, "f" * 32, "text/plain", 3, 1, '"e"', None, "s3.e.v9#v9", "s3", 5.0)
FINDING = Finding(BUCKET, "k", FindingKind.DAMAGED, "stored_bytes_missing", Done.NOTHING, "gone", NOW, NOW)
RECONCILE, SCRUB, DELETIONS = WalkKind


async def known(index: SqlIndex, key: str = "k", *transfers: str) -> tuple[object, ...]:
    found = (await index.consistency.known(BUCKET, [key], transfers))[key]
    return found.record and found.record.store_version, found.leaving, found.coming, found.ended


async def test_everything_that_speaks_of_a_version_is_known(index: SqlIndex) -> None:
    assert await known(index) == (None, frozenset(), frozenset(), {})
    first = await land(index, "first")
    lease = await begin(index, "second")
    assert await index.landing.plan(lease, plan_for(lease, 11), NOW)
    await index.landing.note_version(lease, f"{lease.transfer_id}.{lease.fence}#upload/u")
    coming = frozenset({f"{lease.transfer_id}.{lease.fence}"})
    assert await known(index, "k", "id-first", "id-second") == (
        first.store_version, frozenset(), coming, {"id-first": NOW},
    )  # fmt: skip
    second = await index.landing.publish(lease, NOW)
    ended = {"id-first": NOW, "id-second": NOW}
    assert await known(index, "k", *ended) == (
        second.store_version, frozenset({first.store_version}), frozenset(), ended,
    )  # fmt: skip
    await land(index, "elsewhere", key="other")
    assert (await known(index, "k", "id-elsewhere"))[3] == {}


async def test_what_lies_in_the_store_becomes_visible_in_place_of_what_was_seen(index: SqlIndex) -> None:
    adopted = await index.consistency.adopt(FOREIGN, None, NOW)
    assert adopted == replace(FOREIGN, generation=1, validated_at=NOW)
    assert await index.keys.get(BUCKET, "k") == adopted
    newer = replace(FOREIGN, store_version="s3.f.v10#v10", size=9)
    assert await index.consistency.adopt(newer, None, NOW) is None
    changed = await index.consistency.adopt(newer, adopted, NOW)
    assert changed is not None
    assert changed.generation == 2
    assert await removal_versions(index) == [FOREIGN.store_version]
    assert await index.consistency.adopt(FOREIGN, changed, NOW) is None  # it waits for its removal
    with pytest.raises(BucketNotFound):
        await index.consistency.adopt(replace(FOREIGN, bucket=OTHER), None, NOW)


async def test_a_key_that_has_changed_since_it_was_seen_is_not_dropped(index: SqlIndex) -> None:
    first = await land(index, "first")
    second = await land(index, "second")
    assert not await index.consistency.drop(first, NOW)
    assert await index.keys.get(BUCKET, "k") == second
    assert await index.consistency.drop(second, NOW)
    assert await index.keys.get(BUCKET, "k") is None
    assert await removal_versions(index) == [first.store_version, second.store_version]


async def test_only_what_nothing_names_is_released(index: SqlIndex) -> None:
    record = await land(index, "first")
    lease = await begin(index, "second")
    assert await index.landing.plan(lease, plan_for(lease), NOW)
    coming = f"{lease.transfer_id}.{lease.fence}#v5"
    assert await index.consistency.release(BUCKET, "k", [record.store_version, coming, "late.1#v7"]) == 1
    assert await index.consistency.release(BUCKET, "k", ["late.1#v7"]) == 0
    assert await removal_versions(index) == ["late.1#v7"]


async def test_what_lies_in_the_trash_is_kept(index: SqlIndex) -> None:
    await index.lifecycles.put(BUCKET, Lifecycle(trash_days=7))
    record = await land(index, "first")
    await index.keys.delete(BUCKET, "k", NOW)
    found = (await index.consistency.known(BUCKET, ["k"]))["k"]
    assert (found.record, found.kept) == (None, frozenset({record.store_version}))
    assert await index.consistency.release(BUCKET, "k", [record.store_version]) == 0
    assert await index.consistency.adopt(record, None, NOW) is None
    assert await removal_versions(index) == []


async def test_what_other_clients_replace_and_delete_lives_by_the_buckets_lifecycle(index: SqlIndex) -> None:
    rule = ExpiryRule("", 1)
    await index.lifecycles.put(BUCKET, Lifecycle((rule,), trash_days=7, trash_overwritten=True))
    before = await land(index, "first")
    adopted = await index.consistency.adopt(FOREIGN, before, NOW)
    assert adopted is not None
    assert adopted.expires_at == NOW + DAY
    assert (await index.consistency.known(BUCKET, ["k"]))["k"].record == adopted
    assert await index.consistency.drop(adopted, NOW)
    kept = (await index.consistency.known(BUCKET, ["k"]))["k"].kept
    assert kept == {before.store_version, FOREIGN.store_version}
    assert await removal_versions(index) == []
    assert await index.usage_drift() == []


async def test_a_finding_is_kept_since_when_it_was_found_and_goes_when_it_is_mended(index: SqlIndex) -> None:
    assert await index.findings.keep(FINDING, 2)
    later = replace(FINDING, since=NOW + 9, seen_at=NOW + 9, detail="still", bytes_of="v1")
    assert await index.findings.keep(later, 2)
    assert await index.findings.get(BUCKET, "k") == replace(later, since=NOW)
    assert await index.findings.keep(replace(FINDING, key="a", kind=FindingKind.UNKNOWN), 2)
    assert not await index.findings.keep(replace(FINDING, key="b"), 2)
    assert await index.findings.keep(replace(FINDING, bucket=OTHER), 2)
    assert await index.findings.counts() == {"damaged": 2, "unknown": 1}
    assert await index.findings.counts(OTHER) == {"damaged": 1}
    listed = await index.findings.listing(FindingQuery(limit=2))
    assert [(str(each.bucket), each.key) for each in listed] == [(str(BUCKET), "a"), (str(BUCKET), "k")]
    following = await index.findings.listing(FindingQuery(after=(str(BUCKET), "k")))
    assert [each.bucket for each in following] == [OTHER]
    damaged = await index.findings.listing(FindingQuery(BUCKET, FindingKind.DAMAGED))
    assert [each.key for each in damaged] == ["k"]
    assert [each.key for each in await index.findings.oldest(NOW + 9, 10)] == ["a", "k"]
    assert await index.findings.mended(BUCKET, "k")
    assert not await index.findings.mended(BUCKET, "k")


async def test_a_walk_is_one_owners_at_a_time_and_goes_on_where_it_was_noted(index: SqlIndex) -> None:
    assert await index.walks.due(RECONCILE, NOW, NOW)
    walk = await index.walks.claim(RECONCILE, OWNER, NOW, UNTIL, NOW)
    assert walk is not None
    assert (walk.bucket, walk.stage, walk.place, walk.begun_at) == (BUCKET, Stage.OBJECTS, None, NOW)
    assert await index.walks.claim(RECONCILE, RIVAL, UNTIL - 1, UNTIL, NOW) is None
    assert not await index.walks.due(RECONCILE, UNTIL - 1, NOW)
    lease = WalkLease(BUCKET, RECONCILE, OWNER, walk.fence)
    step = WalkStep(Stage.OBJECTS, "here", {"objects": 5}, b"\0" * 256)
    await index.walks.step(lease, step, UNTIL)
    later = await index.walks.claim(RECONCILE, RIVAL, UNTIL, UNTIL + 30, NOW)
    assert later is not None
    assert (later.place, later.counts, later.sums, later.begun_at) == ("here", {"objects": 5}, step.sums, NOW)
    for void in (index.walks.renew(lease, UNTIL), index.walks.step(lease, step, UNTIL)):
        with pytest.raises(LeaseLost):
            await void
    with pytest.raises(LeaseLost):
        await index.walks.finish(lease, {}, NOW, NOW)
    await index.walks.put_off(lease, 0.0)
    assert await index.walks.owners() == [RIVAL]
    assert await index.walks.expire_owner(RIVAL, NOW) == 1
    last = await index.walks.claim(RECONCILE, OWNER, NOW, UNTIL, NOW)
    assert last is not None
    with pytest.raises(LeaseLost):
        await index.walks.renew(lease, UNTIL)  # the same owner's, but of before
    await index.walks.finish(WalkLease(BUCKET, RECONCILE, OWNER, last.fence), {"objects": 9}, UNTIL, UNTIL + 100)
    (ended,) = await index.walks.all(BUCKET)
    assert (ended.begun_at, ended.place, ended.owner) == (None, None, None)
    assert (ended.last_begun_at, ended.last_ended_at, ended.last_counts) == (NOW, UNTIL, {"objects": 9})
    assert await index.walks.oldest() == {RECONCILE: NOW}
    assert not await index.walks.due(RECONCILE, UNTIL + 99, NOW)


async def test_a_look_for_deletions_concerns_somebody_for_as_long_as_it_comes_again(index: SqlIndex) -> None:
    async def looked(following: float) -> bool:
        """Whether it is shown after one that was asked for, and whether its age is."""
        assert await index.walks.ask(DELETIONS, BUCKET, NOW) == 1
        walk = await index.walks.claim(DELETIONS, OWNER, NOW, UNTIL, NEVER)
        assert walk is not None
        assert not walk.concerns_nobody
        await index.walks.finish(WalkLease(BUCKET, DELETIONS, OWNER, walk.fence), {}, NOW, following)
        (ended,) = await index.walks.all(BUCKET)
        assert await index.walks.oldest() == ({} if ended.concerns_nobody else {DELETIONS: NOW})
        return not ended.concerns_nobody

    assert await looked(NOW + 5)
    assert not await looked(NEVER)


async def test_walks_begin_when_they_are_asked_for_and_end_with_their_bucket(index: SqlIndex) -> None:
    await index.buckets.create(OTHER, NOW)
    assert await index.walks.ask(SCRUB, BUCKET, NOW) == 1
    walk = await index.walks.claim(SCRUB, OWNER, NOW, UNTIL, NEVER)
    assert walk is not None
    assert (walk.bucket, walk.stage) == (BUCKET, Stage.RECORDS)
    assert await index.walks.claim(SCRUB, OWNER, NOW, UNTIL, NEVER) is None
    assert await index.walks.ask(SCRUB, BUCKET, NOW) == 0  # it runs
    assert await index.walks.ask(SCRUB, None, NOW) == 1
    with pytest.raises(BucketNotFound):
        await index.walks.ask(SCRUB, BucketName("no", "bucket"), NOW)
    await index.walks.put_off(WalkLease(BUCKET, SCRUB, OWNER, walk.fence), NEVER)
    await index.buckets.delete(OTHER)
    assert not await index.walks.due(SCRUB, NOW - 1, NEVER)
    assert await index.walks.due(SCRUB, NOW, NOW)  # from now on they begin by themselves
    again = await index.walks.claim(SCRUB, RIVAL, NOW, UNTIL, NOW)
    assert again is not None
    assert [each.bucket for each in await index.walks.all()] == [BUCKET]
    await land(index, "one", size=10)
    assert await index.walks.stored_bytes() == 10
