"""Jobs over mirrors: steps that are done and noted at once, lists, leases, the end."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from cephstorage.domain.errors import BucketNotFound, JobEnded, JobNotFound, LeaseLost, OriginTimeout
from cephstorage.domain.jobs import Item, ItemError, ItemKind, Job, JobKind, JobRequest, QueuedItem, Selection, Step
from cephstorage.domain.mirrors import Mirror
from cephstorage.domain.records import OriginFacts, Record
from cephstorage.domain.transfers import State
from cephstorage.index import SqlIndex
from cephstorage.ports.jobs import JobLease
from tests.conformance.index.conftest import BUCKET, FACTS, NOW, OTHER, OWNER, RIVAL, UNTIL, land

REQUEST = JobRequest(JobKind.PURGE, "files.example", BUCKET, Selection(prefix="a/", stored_before=5.5), rate=2.5)


def job(name: str = "j", request: JobRequest = REQUEST, owner: str | None = OWNER) -> Job:
    return Job(name, request, State.INPROGRESS, NOW, NOW, owner=owner)


async def begun(index: SqlIndex, request: JobRequest = REQUEST, items: tuple[Item, ...] = ()) -> JobLease:
    await index.jobs.create(job(request=request), items, UNTIL)
    return JobLease("j", OWNER, 0)


async def copy(index: SqlIndex, key: str, size: int = 10) -> Record:
    await index.mirrors.put(Mirror("files.example", BUCKET, "http://origin.example"))
    return await land(index, f"make-{key}-{size}", key, size, origin=FACTS)


async def test_a_job_comes_back_as_it_was_made(index: SqlIndex) -> None:
    await begun(index)
    assert await index.jobs.get("j") == job()
    assert await index.jobs.of_mirror("files.example") == [job()]
    assert await index.jobs.of_mirror("other.example") == []
    with pytest.raises(JobNotFound):
        await index.jobs.get("nobody")
    with pytest.raises(BucketNotFound):
        await index.jobs.create(job("k", replace(REQUEST, bucket=OTHER)), (), UNTIL)


async def test_a_step_removes_copies_and_counts_them_at_once(index: SqlIndex) -> None:
    first, second = await copy(index, "a/1"), await copy(index, "a/2", 20)
    uploaded = await land(index, "upload", "a/3", 30)
    lease = await begun(index)
    after = await index.jobs.step(lease, Step("here", {"seen": 3}, removed=(first, second, uploaded)), NOW)
    assert (after.place, after.counts) == ("here", {"seen": 3, "removed": 2, "bytes": 30})
    assert await index.keys.get(BUCKET, "a/1") is None
    assert await index.keys.get(BUCKET, "a/3") == uploaded
    bucket = await index.buckets.get(BUCKET)
    assert (bucket.size, bucket.keyamount) == (30, 1)
    assert [removal.store_version for removal in await index.landing.removals(9)] == [
        "id-make-a/1-10.1",
        "id-make-a/2-20.1",
    ]
    assert [(row.key, row.size) for row in await index.purges.untold("j", 9)] == [("a/1", 10), ("a/2", 20)]


async def test_a_copy_that_has_changed_since_it_was_seen_is_left_alone(index: SqlIndex) -> None:
    seen = await copy(index, "k")
    newer = await copy(index, "k", 20)
    lease = await begun(index)
    after = await index.jobs.step(lease, Step(removed=(seen,), marked=(seen,)), NOW)
    assert after.counts == {}
    assert await index.keys.get(BUCKET, "k") == newer


async def test_a_marked_copy_is_to_be_confirmed_until_it_is(index: SqlIndex) -> None:
    seen = await copy(index, "k")
    lease = await begun(index)
    after = await index.jobs.step(lease, Step(marked=(seen,)), NOW + 1)
    assert after.counts == {"marked": 1}
    marked = await index.keys.get(BUCKET, "k")
    assert marked == replace(seen, invalidated_at=NOW + 1)
    assert len(await index.purges.untold("j", 9)) == 1
    await index.keys.touch(BUCKET, "k", seen.generation, NOW + 2)
    assert await index.keys.get(BUCKET, "k") == replace(seen, validated_at=NOW + 2)
    await index.jobs.step(lease, Step(marked=(replace(seen, generation=9),)), NOW + 3)
    await index.jobs.step(lease, Step(marked=(seen,)), NOW + 3)
    assert (await copy(index, "k", 11)).invalidated_at is None


async def test_a_write_marks_a_copy_and_an_older_answer_does_not_unmark_it(index: SqlIndex) -> None:
    seen = await copy(index, "k")
    assert await index.keys.invalidate(BUCKET, "k", NOW + 5)
    assert not await index.keys.invalidate(BUCKET, "not there", NOW + 5)
    asked_before = OriginFacts("/k", (("X-Turn", "2"),), age=7.0, request_time=NOW + 4, response_time=NOW + 6)
    await index.keys.touch(BUCKET, "k", seen.generation, NOW + 6, asked_before)
    stale = await index.keys.get(BUCKET, "k")
    assert stale == replace(seen, validated_at=NOW + 6, invalidated_at=NOW + 5, origin=asked_before)
    asked_since = replace(asked_before, request_time=NOW + 5.5)
    await index.keys.touch(BUCKET, "k", seen.generation, NOW + 7, asked_since)
    assert await index.keys.get(BUCKET, "k") == replace(seen, validated_at=NOW + 7, origin=asked_since)


async def test_edges_can_be_told_of_keys_that_stay(index: SqlIndex) -> None:
    seen = await copy(index, "k")
    lease = await begun(index)
    after = await index.jobs.step(lease, Step(forgotten=(seen,)), NOW)
    assert after.counts == {"forgotten": 1}
    assert await index.keys.get(BUCKET, "k") == seen
    assert await index.purges.owed("j") == [(None, 1)]
    (row,) = await index.purges.untold("j", 9)
    await index.purges.again(row, NOW + 5, ["http://edge.example"])
    assert await index.purges.owed("j") == [(("http://edge.example",), 1)]
    assert await index.purges.untold("j", 9) == []


async def test_a_list_is_worked_off_and_grows_up_to_its_bound(index: SqlIndex) -> None:
    items = tuple(Item(ItemKind.FOLDER, f"/{name}/", 3) for name in "ab")
    lease = await begun(index, replace(REQUEST, kind=JobKind.WARM, most=4), items)
    assert (await index.jobs.get("j")).counts == {"total": 2}
    queued = await index.jobs.items("j", 0, 10)
    assert queued == [QueuedItem(1, items[0]), QueuedItem(2, items[1])]
    found = tuple(Item(ItemKind.OBJECT, f"/a/{number}") for number in range(3))
    after = await index.jobs.step(lease, Step(None, {"done": 1}, done=(1,), found=found), NOW)
    assert after.counts == {"total": 4, "done": 1, "dropped": 1}
    left = await index.jobs.items("j", 0, 10)
    assert [(each.number, each.item.target) for each in left] == [(2, "/b/"), (3, "/a/0"), (4, "/a/1")]
    assert await index.jobs.items("j", 3, 10) == left[2:]
    await index.jobs.finish(lease, NOW)
    assert await index.jobs.items("j", 0, 10) == []


async def test_the_first_errors_are_kept(index: SqlIndex) -> None:
    lease = await begun(index)
    errors = tuple(ItemError(f"/{number}", "origin_timeout", "ключ") for number in range(15))
    await index.jobs.step(lease, Step(errors=errors), NOW)
    after = await index.jobs.step(lease, Step(errors=errors), NOW)
    assert after.errors == (*errors, *errors[:5])


@pytest.mark.parametrize("heir", [RIVAL, OWNER])
async def test_a_dead_owners_job_goes_on_elsewhere_and_he_can_do_no_harm(index: SqlIndex, heir: str) -> None:
    seen = await copy(index, "k")
    old = await begun(index)
    assert await index.jobs.claim(heir, NOW, NOW + 40) is None
    assert await index.jobs.owners() == [OWNER]
    assert await index.jobs.expire_owner(OWNER, NOW) == 1
    taken = await index.jobs.claim(heir, NOW, NOW + 40)
    assert taken is not None
    assert (taken.owner, taken.fence) == (heir, 1)
    with pytest.raises(LeaseLost):
        await index.jobs.step(old, Step(removed=(seen,)), NOW)
    with pytest.raises(LeaseLost):
        await index.jobs.finish(old, NOW)
    assert await index.keys.get(BUCKET, "k") == seen
    assert await index.jobs.renew([old, JobLease("j", heir, 1)], NOW, NOW + 50) == [old]
    assert await index.jobs.claim("another", NOW + 49, NOW + 99) is None
    await index.jobs.put_off(JobLease("j", heir, 1), NOW, NOW + 60)
    assert await index.jobs.claim("another", NOW + 59, NOW + 99) is None
    assert await index.jobs.claim("another", NOW + 60, NOW + 99) is not None


async def test_a_job_ends_once(index: SqlIndex) -> None:
    lease = await begun(index)
    await index.jobs.finish(lease, NOW + 1, OriginTimeout("Too slow."))
    ended = await index.jobs.get("j")
    assert (ended.state, ended.ended_at, ended.error_code, ended.error_msg) == (
        State.FAIL,
        NOW + 1,
        "origin_timeout",
        "Too slow.",
    )
    assert await index.jobs.claim(RIVAL, NOW + 99, NOW + 199) is None
    with pytest.raises(JobEnded):
        await index.jobs.cancel("j", NOW)
    with pytest.raises(JobNotFound):
        await index.jobs.cancel("nobody", NOW)
    assert await index.jobs.forget_ended(NOW + 1) == 0
    assert await index.jobs.forget_ended(NOW + 2) == 1


async def test_a_cancelled_job_is_nobodys_any_more(index: SqlIndex, factory: Callable[[], SqlIndex]) -> None:
    lease = await begun(index)
    another = factory()
    await another.open()
    try:
        cancelled = await another.jobs.cancel("j", NOW)
    finally:
        await another.close()
    assert (cancelled.state, cancelled.error_code) == (State.FAIL, "cancelled")
    assert await index.jobs.renew([lease], NOW, UNTIL) == [lease]
    with pytest.raises(LeaseLost):
        await index.jobs.step(lease, Step(), NOW)
