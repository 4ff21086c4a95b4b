"""The publisher's transactions: order, fences, preconditions, usage."""

import asyncio

import pytest

from cephstorage.domain.errors import (
    BucketNotEmpty,
    LeaseLost,
    PreconditionFailed,
    StoreUnavailable,
    TransferNotFound,
)
from cephstorage.domain.records import Precondition
from cephstorage.domain.transfers import Kind, Lease, Phase, State
from cephstorage.index import SqlIndex
from tests.conformance.index.conftest import (
    BUCKET,
    NOW,
    OWNER,
    RIVAL,
    UNTIL,
    begin,
    begin_fill,
    land,
    new,
    plan_for,
    removal_versions,
    request_for,
)


@pytest.mark.parametrize("kind", [Kind.FETCH, Kind.WARM, Kind.UPLOAD])
async def test_publishing_ends_the_transfer_in_success(index: SqlIndex, kind: Kind) -> None:
    if kind is Kind.UPLOAD:
        plan = plan_for(Lease("id-1", OWNER, 1))
        lease = await index.transfers.begin_upload(new("1", request_for("k", kind)), plan, OWNER, NOW, UNTIL)
    else:
        lease = await begin(index, "1", kind=kind)
    assert await index.landing.plan(lease, plan_for(lease), NOW)
    assert (await index.transfers.get("token-1")).phase is Phase.STORING
    await index.landing.publish(lease, NOW + 1)
    transfer = await index.transfers.get("token-1")
    assert (transfer.state, transfer.phase, transfer.ended_at) == (State.SUCCESS, Phase.ENDED, NOW + 1)
    assert (transfer.bytes_done, transfer.bytes_total, transfer.error_code) == (10, 10, None)
    with pytest.raises(LeaseLost):
        await index.landing.publish(lease, NOW)


async def test_a_published_fill_leaves_no_row(index: SqlIndex) -> None:
    lease = await begin_fill(index, "1")
    assert await index.landing.plan(lease, plan_for(lease), NOW)
    record = await index.landing.publish(lease, NOW)
    assert await index.keys.get(BUCKET, "k") == record
    with pytest.raises(TransferNotFound):
        await index.transfers.get("token-1")


async def test_without_a_plan_nothing_is_published(index: SqlIndex) -> None:
    lease = await begin(index, "1")
    with pytest.raises(LeaseLost):
        await index.landing.publish(lease, NOW)
    assert await index.keys.get(BUCKET, "k") is None


async def test_landings_on_one_key_take_turns(index: SqlIndex) -> None:
    first = await begin(index, "1")
    second = await begin(index, "2")
    other = await begin(index, "3", "other")
    assert await index.landing.plan(first, plan_for(first), NOW)
    assert not await index.landing.plan(second, plan_for(second), NOW)
    assert await index.landing.plan(first, plan_for(first), NOW)
    assert await index.landing.plan(other, plan_for(other), NOW)
    await index.landing.publish(first, NOW)
    assert await index.landing.plan(second, plan_for(second), NOW)
    assert (await index.landing.publish(second, NOW)).generation == 2
    assert await removal_versions(index) == ["id-1.1"]


async def test_the_landing_lease_lives_as_long_as_the_transfers(index: SqlIndex) -> None:
    first = await begin(index, "1")
    assert await index.landing.plan(first, plan_for(first), NOW)
    second = await begin(index, "2")
    assert await index.transfers.renew([(first, 1, 1), (second, 1, 1)], NOW, UNTIL + 50) == []
    assert not await index.landing.plan(second, plan_for(second), UNTIL + 10)
    assert await index.transfers.renew([(second, 1, 1)], NOW, UNTIL + 500) == []
    assert await index.landing.plan(second, plan_for(second), UNTIL + 60)
    with pytest.raises(LeaseLost):
        await index.landing.publish(first, UNTIL + 60)
    assert (await index.landing.publish(second, UNTIL + 60)).store_version == "id-2.1"


async def test_a_crash_after_the_store_commit_is_finished_by_the_next_owner(index: SqlIndex) -> None:
    first = await begin(index, "1")
    plan = plan_for(first)
    assert await index.landing.plan(first, plan, NOW)
    taken = await index.transfers.claim(RIVAL, UNTIL, UNTIL + 30)
    assert taken is not None
    assert taken.plan == plan
    lease = Lease(taken.id, RIVAL, taken.fence)
    assert await index.landing.plan(lease, plan, UNTIL)
    with pytest.raises(LeaseLost):
        await index.landing.publish(first, UNTIL)
    assert (await index.landing.publish(lease, UNTIL)).store_version == "id-1.1"
    assert await removal_versions(index) == []


async def test_a_plan_that_replaces_another_removes_the_older_version(index: SqlIndex) -> None:
    lease = await begin(index, "1")
    assert await index.landing.plan(lease, plan_for(lease, store_version="old"), NOW)
    assert await index.landing.plan(lease, plan_for(lease, store_version="new"), NOW)
    assert (await index.landing.publish(lease, NOW)).store_version == "new"
    assert await removal_versions(index) == ["old"]


async def test_preconditions_are_checked_at_the_plan_and_at_the_end(index: SqlIndex) -> None:
    absent = {"precondition": Precondition(if_absent=True)}
    early, late = await begin(index, "1", **absent), await begin(index, "2", **absent)
    assert await index.landing.plan(early, plan_for(early), NOW)
    assert (await index.landing.publish(early, NOW)).generation == 1
    with pytest.raises(PreconditionFailed):
        await index.landing.plan(late, plan_for(late), NOW)
    tagged = await begin(index, "3", precondition=Precondition(if_match='"id-1"'))
    assert await index.landing.plan(tagged, plan_for(tagged), NOW)
    await index.keys.delete(BUCKET, "k", NOW)
    with pytest.raises(PreconditionFailed):
        await index.landing.publish(tagged, NOW)
    assert await index.keys.get(BUCKET, "k") is None


@pytest.mark.parametrize("change", ["replaced", "deleted"])
async def test_a_fill_never_overwrites_what_changed_while_it_ran(index: SqlIndex, change: str) -> None:
    await land(index, "1")
    fill = await begin_fill(index, "2", seen_generation=1)
    if change == "replaced":
        await land(index, "3")
    else:
        await index.keys.delete(BUCKET, "k", NOW)
    before = await index.keys.get(BUCKET, "k")
    with pytest.raises(PreconditionFailed):
        await index.landing.plan(fill, plan_for(fill), NOW)
    assert await index.keys.get(BUCKET, "k") == before


async def test_a_bucket_does_not_vanish_under_a_landing(index: SqlIndex) -> None:
    lease = await begin(index, "1")
    assert await index.landing.plan(lease, plan_for(lease), NOW)
    with pytest.raises(BucketNotEmpty):
        await index.buckets.delete(BUCKET)


async def test_a_thousand_landings_at_once_keep_usage_exact(index: SqlIndex) -> None:
    async def one(number: int) -> int:
        upload = new(str(number), request_for(f"k{number % 400}", Kind.UPLOAD))
        size = number % 97
        plan = plan_for(Lease(upload.id, OWNER, 1), size)
        lease = await index.transfers.begin_upload(upload, plan, OWNER, NOW, UNTIL)
        while not await index.landing.plan(lease, plan, NOW):  # noqa: ASYNC110 - the port is asked again, as engines do
            await asyncio.sleep(0)
        record = await index.landing.publish(lease, NOW)
        if number % 5 == 0:
            await index.keys.touch(BUCKET, record.key, record.generation, NOW)
        return record.generation

    generations = await asyncio.gather(*(one(number) for number in range(1000)))
    assert sum(generation == 1 for generation in generations) == 400
    bucket = await index.buckets.get(BUCKET)
    records = [await index.keys.get(BUCKET, f"k{number}") for number in range(400)]
    assert bucket.keyamount == 400
    assert bucket.size == sum(record.size for record in records if record is not None)
    assert len(await index.landing.removals(2000)) == 600
    assert await index.usage_drift() == []


async def test_what_was_stored_and_not_published_is_removed_unless_somebody_names_it(index: SqlIndex) -> None:
    lease = await begin(index, "1")
    assert await index.landing.plan(lease, plan_for(lease), NOW)
    await index.landing.disown(BUCKET, "k", "id-1.1")
    assert await removal_versions(index) == []
    record = await index.landing.publish(lease, NOW)
    await index.landing.disown(record.bucket, record.key, record.store_version)
    assert await removal_versions(index) == []
    await index.landing.disown(record.bucket, record.key, "id-1.0")
    assert await removal_versions(index) == ["id-1.0"]


async def test_the_plan_tells_the_generation_to_come(index: SqlIndex) -> None:
    lease = await begin(index, "1")
    assert await index.landing.plan(lease, plan_for(lease), NOW) == 1
    assert (await index.landing.publish(lease, NOW)).generation == 1
    again = await begin(index, "2")
    assert await index.landing.plan(again, plan_for(again), NOW) == 2
    await index.keys.delete(BUCKET, "k", NOW)
    assert (await index.landing.publish(again, NOW)).generation == 2


async def test_a_noted_version_is_kept_for_the_successor_and_published_under_its_last_name(index: SqlIndex) -> None:
    lease = await begin(index, "1")
    await index.landing.plan(lease, plan_for(lease), NOW)
    await index.landing.note_version(lease, "id-1.1#upload")
    kept = await index.transfers.get("token-1")
    assert kept.plan is not None
    assert kept.plan.store_version == "id-1.1#upload"
    record = await index.landing.publish(lease, NOW, "id-1.1#final")
    assert record.store_version == "id-1.1#final"
    assert await removal_versions(index) == []


async def test_a_name_of_another_attempt_is_neither_noted_nor_published(index: SqlIndex) -> None:
    lease = await begin(index, "1")
    with pytest.raises(LeaseLost):
        await index.landing.note_version(lease, "id-1.1#early")
    await index.landing.plan(lease, plan_for(lease), NOW)
    with pytest.raises(LeaseLost):
        await index.landing.note_version(lease, "id-1.2#other")
    with pytest.raises(LeaseLost):
        await index.landing.publish(lease, NOW, "id-1.2")
    assert (await index.landing.publish(lease, NOW)).store_version == "id-1.1"


async def test_an_attempt_that_a_record_names_is_not_disowned_under_any_of_its_names(index: SqlIndex) -> None:
    lease = await begin(index, "1")
    await index.landing.plan(lease, plan_for(lease), NOW)
    await index.landing.note_version(lease, "id-1.1#upload")
    await index.landing.disown(BUCKET, "k", "id-1.1")
    await index.landing.publish(lease, NOW, "id-1.1#final")
    for name in ("id-1.1", "id-1.1#upload", "id-1.1#final"):
        await index.landing.disown(BUCKET, "k", name)
    assert await removal_versions(index) == []
    await index.landing.disown(BUCKET, "k", "id-1.10")
    assert await removal_versions(index) == ["id-1.10"]


async def test_a_given_up_plan_is_removed_under_the_name_that_was_noted_last(index: SqlIndex) -> None:
    lease = await begin(index, "1")
    await index.landing.plan(lease, plan_for(lease), NOW)
    await index.landing.note_version(lease, "id-1.1#upload")
    await index.transfers.cancel("token-1", NOW)
    assert await removal_versions(index) == ["id-1.1#upload"]


# -- what the store's housekeeping asks


async def test_the_queue_of_removals_tells_its_newest_number(index: SqlIndex) -> None:
    assert await index.landing.newest_removal() == 0
    for version in ("a.1#besides/x", "b.1"):
        await index.landing.remove(BUCKET, "k", version)
    queued = await index.landing.removals(10)
    assert [removal.store_version for removal in queued] == ["a.1#besides/x", "b.1"]
    assert await index.landing.newest_removal() == queued[-1].id
    await index.landing.removed([queued[-1].id])
    assert await index.landing.newest_removal() == queued[0].id


async def test_every_bucket_and_what_is_being_stored_are_known(index: SqlIndex) -> None:
    assert list(await index.landing.planned_versions()) == []
    running, ended = await begin(index, "1"), await begin(index, "2", "other")
    for lease in (running, ended):
        assert await index.landing.plan(lease, plan_for(lease), NOW)
    await index.landing.note_version(running, f"{plan_for(running).store_version}#upload/u")
    await index.landing.publish(ended, NOW)
    assert list(await index.landing.planned_versions()) == [f"{plan_for(running).store_version}#upload/u"]
    assert list(await index.landing.buckets()) == [BUCKET]


@pytest.mark.parametrize("kind", [Kind.FETCH, Kind.WARM, Kind.FILL])
async def test_who_gives_up_waiting_for_the_store_leaves_plan_and_version_to_the_next(
    index: SqlIndex, kind: Kind
) -> None:
    lease = await begin_fill(index, "1") if kind is Kind.FILL else await begin(index, "1", kind=kind)
    plan = plan_for(lease)
    assert await index.landing.plan(lease, plan, NOW)
    await index.transfers.requeue(lease, NOW, NOW, StoreUnavailable("away"))
    again = await index.transfers.claim(RIVAL, NOW, UNTIL)
    assert again is not None
    assert (again.plan, again.phase, again.attempts) == (plan, Phase.STORING, 1)
    assert await removal_versions(index) == []
    lease = Lease(again.id, RIVAL, again.fence)
    assert await index.landing.plan(lease, plan, NOW)
    assert (await index.landing.publish(lease, NOW, f"{plan.store_version}#v")).store_version.endswith("#v")
    assert await removal_versions(index) == []
