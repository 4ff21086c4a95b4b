"""The ledger: creation, the single fill, claims, leases and ends."""

from typing import Any

import pytest
from sqlalchemy import Engine, event

from cephstorage.domain.errors import (
    BucketNotFound,
    IdempotencyMismatch,
    LeaseLost,
    Md5Mismatch,
    OriginTimeout,
    PreconditionFailed,
    TransferEnded,
    TransferNotFound,
)
from cephstorage.domain.records import Precondition
from cephstorage.domain.transfers import Claims, Kind, Lease, Phase, SourceFacts, State
from cephstorage.domain.validators import Validators
from cephstorage.index import SqlIndex
from cephstorage.ports.ledger import FillSlot, NewTransfer
from tests.conformance.index.conftest import (
    BUCKET,
    FACTS,
    NOW,
    OTHER,
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

LATE = UNTIL + 1
SOURCE = SourceFacts("http://o.example/", 10, '"v"', Validators('"v"'), "text/plain", FACTS, (("md5", "00"),))


async def test_a_new_transfer_is_queued_with_all_that_was_asked(index: SqlIndex) -> None:
    request = request_for("a\nb", md5="0" * 32, timetag=5.5, precondition=Precondition(if_absent=True))
    assert await index.transfers.create([new("1", request)], NOW) == ["token-1"]
    transfer = await index.transfers.get("token-1")
    assert transfer.request == request
    assert (transfer.id, transfer.state, transfer.phase) == ("id-1", State.INPROGRESS, Phase.QUEUED)
    assert (transfer.owner, transfer.fence, transfer.attempts, transfer.created_at) == (None, 0, 0, NOW)


async def test_an_unknown_token_is_not_found(index: SqlIndex) -> None:
    with pytest.raises(TransferNotFound):
        await index.transfers.get("nobody")
    with pytest.raises(TransferNotFound):
        await index.transfers.cancel("nobody", NOW)


async def test_a_batch_is_made_whole_or_not_at_all(index: SqlIndex) -> None:
    good, homeless = new("1", request_for("a")), new("2", request_for("b", bucket=OTHER))
    with pytest.raises(BucketNotFound):
        await index.transfers.create([good, homeless], NOW)
    await land(index, "x", "taken")
    absent = new("3", request_for("taken", precondition=Precondition(if_absent=True)))
    with pytest.raises(PreconditionFailed):
        await index.transfers.create([good, absent], NOW)
    with pytest.raises(TransferNotFound):
        await index.transfers.get("token-1")


async def test_equal_requests_share_a_token_while_one_is_in_progress(index: SqlIndex) -> None:
    first = await index.transfers.create([new("1", request_for("k"), fingerprint="f")], NOW)
    batch = [new("2", request_for("k"), fingerprint="f"), new("3", request_for("l"), fingerprint="g")]
    assert await index.transfers.create([*batch, new("4", request_for("l"), fingerprint="g")], NOW) == [
        *first,
        "token-3",
        "token-3",
    ]
    await index.transfers.cancel("token-1", NOW)
    assert await index.transfers.create([new("5", request_for("k"), fingerprint="f")], NOW) == ["token-5"]
    both = [new("6", request_for("k")), new("7", request_for("k"))]
    assert await index.transfers.create(both, NOW) == ["token-6", "token-7"]


async def test_an_idempotency_key_answers_alike_for_ever(index: SqlIndex) -> None:
    asked = {"fingerprint": "f", "idempotency_key": "alice:1"}
    await index.transfers.create([new("1", request_for("k"), **asked)], NOW)
    await index.transfers.cancel("token-1", NOW)
    again = [new("2", request_for("k"), **asked), new("3", request_for("k"), **asked)]
    assert await index.transfers.create(again, NOW) == ["token-1", "token-1"]
    with pytest.raises(IdempotencyMismatch):
        await index.transfers.create([new("4", request_for("l"), fingerprint="g", idempotency_key="alice:1")], NOW)


async def test_an_idempotency_key_of_a_request_that_joined_another_is_remembered(index: SqlIndex) -> None:
    await index.transfers.create([new("1", request_for("k"), fingerprint="f", idempotency_key="a")], NOW)
    joined = new("2", request_for("k"), fingerprint="f", idempotency_key="b")
    assert await index.transfers.create([joined], NOW) == ["token-1"]
    await index.transfers.cancel("token-1", NOW)
    assert await index.transfers.create([joined], NOW) == ["token-1"]


async def test_a_replay_is_answered_before_its_precondition_is_looked_at(index: SqlIndex) -> None:
    request = request_for("k", precondition=Precondition(if_absent=True))
    first = new("1", request, fingerprint="f", idempotency_key="a")
    await index.transfers.create([first], NOW)
    transfer = await index.transfers.claim(OWNER, NOW, UNTIL)
    assert transfer is not None
    lease = Lease(transfer.id, OWNER, transfer.fence)
    await index.landing.plan(lease, plan_for(lease), NOW)
    await index.landing.publish(lease, NOW)
    assert await index.transfers.create([new("2", request, fingerprint="f", idempotency_key="a")], NOW) == ["token-1"]
    with pytest.raises(PreconditionFailed):
        await index.transfers.create([new("3", request, fingerprint="f")], NOW)


def doubtful(number: int, prefix: str) -> NewTransfer:
    """A transfer about which the database has to be asked everything."""
    name = f"{prefix}{number}"
    request = request_for(name, precondition=Precondition(if_absent=True))
    return new(name, request, fingerprint=f"f-{name}", idempotency_key=f"alice:{name}")


async def test_a_batch_of_many_takes_as_many_statements_as_one_of_few(index: SqlIndex) -> None:
    """A statement for each would hold up everybody's writes, on PostgreSQL until the whole database is taken for lost."""
    counts = []
    for size, prefix in ((2, "few"), (300, "many")):
        said: list[str] = []

        def look(_: Any, __: Any, statement: str, *___: Any, said: list[str] = said) -> None:
            said.append(statement)

        event.listen(Engine, "before_cursor_execute", look)
        try:
            tokens = await index.transfers.create([doubtful(number, prefix) for number in range(size)], NOW)
        finally:
            event.remove(Engine, "before_cursor_execute", look)
        assert len(set(tokens)) == size
        counts.append(len(said))
    assert counts[0] == counts[1]


async def test_an_idempotency_key_that_stands_twice_in_a_batch_means_one(index: SqlIndex) -> None:
    asked = {"fingerprint": "f", "idempotency_key": "alice:1"}
    both = [new("1", request_for("k"), **asked), new("2", request_for("k"), **asked)]
    assert await index.transfers.create(both, NOW) == ["token-1", "token-1"]


async def test_claims_take_the_oldest_due_and_no_one_twice(index: SqlIndex) -> None:
    for number, made in (("1", NOW + 2), ("2", NOW), ("3", NOW + 1)):
        await index.transfers.create([new(number, request_for(number))], made)
    claimed = [await index.transfers.claim(OWNER, NOW + 5, UNTIL) for _ in range(4)]
    assert [transfer.id if transfer else None for transfer in claimed] == ["id-2", "id-3", "id-1", None]
    assert claimed[0] is not None
    assert (claimed[0].owner, claimed[0].fence, claimed[0].lease_until) == (OWNER, 1, UNTIL)


async def test_a_claim_before_its_time_gets_nothing(index: SqlIndex) -> None:
    await index.transfers.create([new("1", request_for("k"))], NOW)
    assert await index.transfers.claim(OWNER, NOW - 1, UNTIL) is None


@pytest.mark.parametrize(
    ("claims", "expected"), [(Claims.ALL, "1234"), (Claims.SERVED, "34"), (Claims.BACKGROUND, "12")]
)
async def test_a_claim_is_for_the_kinds_that_its_process_works_on(
    index: SqlIndex, claims: Claims, expected: str
) -> None:
    await index.transfers.create([new("1", request_for("a"))], NOW)
    await index.transfers.create([new("2", request_for("b", Kind.WARM))], NOW)
    await index.transfers.release(await begin_fill(index, "3", "c"), NOW)
    plan = plan_for(Lease("id-4", OWNER, 1))
    upload = new("4", request_for("d", Kind.UPLOAD))
    await index.transfers.release(await index.transfers.begin_upload(upload, plan, OWNER, NOW, UNTIL), NOW)
    claimed = [await index.transfers.claim(RIVAL, NOW, UNTIL, claims) for _ in range(5)]
    assert sorted(transfer.id for transfer in claimed if transfer) == [f"id-{number}" for number in expected]


@pytest.mark.parametrize("kind", [Kind.FETCH, Kind.WARM, Kind.FILL, Kind.UPLOAD])
async def test_what_a_dead_owner_left_is_claimed_when_its_lease_ends(index: SqlIndex, kind: Kind) -> None:
    if kind is Kind.FILL:
        lease = await begin_fill(index, "1")
    elif kind is Kind.UPLOAD:
        plan = plan_for(Lease("id-1", OWNER, 1))
        lease = await index.transfers.begin_upload(new("1", request_for("k", kind)), plan, OWNER, NOW, UNTIL)
    else:
        lease = await begin(index, "1", kind=kind)
    assert await index.transfers.claim(RIVAL, UNTIL - 1, LATE) is None
    taken = await index.transfers.claim(RIVAL, UNTIL, LATE)
    assert taken is not None
    assert (taken.id, taken.owner, taken.fence, taken.attempts) == ("id-1", RIVAL, 2, 0)
    with pytest.raises(LeaseLost):
        await index.transfers.set_phase(lease, Phase.FETCHING, NOW)


async def test_every_leased_write_notices_a_lost_lease(index: SqlIndex) -> None:
    lease = await begin(index, "1")
    stale = [
        Lease(lease.transfer_id, RIVAL, lease.fence),
        Lease(lease.transfer_id, OWNER, lease.fence - 1),
        Lease("id-other", OWNER, lease.fence),
    ]
    for lost in stale:
        for attempt in (
            index.transfers.set_phase(lost, Phase.VERIFYING, NOW),
            index.transfers.requeue(lost, NOW, NOW, OriginTimeout("x")),
            index.transfers.fail(lost, NOW, OriginTimeout("x")),
            index.landing.plan(lost, plan_for(lost), NOW),
            index.landing.publish(lost, NOW),
        ):
            with pytest.raises(LeaseLost):
                await attempt
        await index.transfers.release(lost, NOW)
        await index.transfers.discard(lost)
    assert await index.transfers.renew([(lost, 1, None) for lost in stale], NOW, LATE) == stale
    transfer = await index.transfers.get("token-1")
    assert (transfer.owner, transfer.fence, transfer.phase, transfer.lease_until) == (OWNER, 1, Phase.FETCHING, UNTIL)


async def test_renewing_extends_and_notes_progress(index: SqlIndex) -> None:
    lease = await begin(index, "1")
    gone = Lease("id-gone", OWNER, 1)
    assert await index.transfers.renew([(lease, 5, 10), (gone, 0, None)], NOW + 1, LATE + 10) == [gone]
    transfer = await index.transfers.get("token-1")
    assert (transfer.bytes_done, transfer.bytes_total, transfer.lease_until) == (5, 10, LATE + 10)
    assert await index.transfers.claim(RIVAL, LATE, LATE + 30) is None


async def test_phase_and_source_are_kept_for_whoever_resumes(index: SqlIndex) -> None:
    lease = await begin(index, "1")
    await index.transfers.set_phase(lease, Phase.FETCHING, NOW, SOURCE)
    await index.transfers.set_phase(lease, Phase.VERIFYING, NOW)
    taken = await index.transfers.claim(RIVAL, LATE, LATE + 30)
    assert taken is not None
    assert (taken.phase, taken.source) == (Phase.VERIFYING, SOURCE)


async def test_requeue_waits_counts_and_says_why(index: SqlIndex) -> None:
    lease = await begin(index, "1")
    await index.transfers.requeue(lease, NOW, NOW + 5, OriginTimeout("silent \udcff"))
    transfer = await index.transfers.get("token-1")
    assert (transfer.attempts, transfer.owner, transfer.phase) == (1, None, Phase.QUEUED)
    assert (transfer.error_code, transfer.error_msg) == ("origin_timeout", "silent ?")
    assert await index.transfers.claim(OWNER, NOW + 4, LATE) is None
    again = await index.transfers.claim(OWNER, NOW + 5, LATE)
    assert again is not None
    assert (again.fence, again.attempts) == (2, 1)


async def test_release_lets_anybody_claim_at_once_and_keeps_the_plan(index: SqlIndex) -> None:
    lease = await begin(index, "1")
    plan = plan_for(lease, origin=FACTS)
    await index.landing.plan(lease, plan, NOW)
    await index.transfers.release(lease, NOW)
    taken = await index.transfers.claim(RIVAL, NOW, UNTIL)
    assert taken is not None
    assert (taken.plan, taken.phase, taken.attempts) == (plan, Phase.STORING, 0)
    assert await removal_versions(index) == []


async def test_failing_ends_for_ever(index: SqlIndex) -> None:
    lease = await begin(index, "1")
    await index.transfers.fail(lease, NOW + 1, Md5Mismatch("not the promised md5"))
    transfer = await index.transfers.get("token-1")
    assert (transfer.state, transfer.phase, transfer.ended_at) == (State.FAIL, Phase.ENDED, NOW + 1)
    assert (transfer.error_code, transfer.error_msg) == ("md5_mismatch", "not the promised md5")
    assert await index.transfers.claim(RIVAL, LATE + 99, LATE + 199) is None
    with pytest.raises(TransferEnded):
        await index.transfers.cancel("token-1", NOW)


async def test_cancelling_ends_it_under_its_owner(index: SqlIndex) -> None:
    lease = await begin(index, "1")
    cancelled = await index.transfers.cancel("token-1", NOW + 1)
    assert (cancelled.state, cancelled.error_code, cancelled.fence) == (State.FAIL, "cancelled", 2)
    assert cancelled == await index.transfers.get("token-1")
    with pytest.raises(LeaseLost):
        await index.landing.plan(lease, plan_for(lease), NOW)


@pytest.mark.parametrize("end", ["fail", "cancel", "requeue", "discard"])
async def test_a_plan_that_is_not_published_is_queued_for_removal_and_frees_the_key(index: SqlIndex, end: str) -> None:
    lease = await begin(index, "1")
    assert await index.landing.plan(lease, plan_for(lease), NOW)
    if end == "fail":
        await index.transfers.fail(lease, NOW, OriginTimeout("x"))
    elif end == "cancel":
        await index.transfers.cancel("token-1", NOW)
    elif end == "requeue":
        await index.transfers.requeue(lease, NOW, NOW + 99, OriginTimeout("x"))
    else:
        await index.transfers.discard(lease)
    assert await removal_versions(index) == ["id-1.1"]
    rival = await begin(index, "2")
    assert await index.landing.plan(rival, plan_for(rival), NOW)


async def test_an_upload_that_is_tried_again_keeps_its_plan_and_its_bytes(index: SqlIndex) -> None:
    plan = plan_for(Lease("id-1", OWNER, 1))
    lease = await index.transfers.begin_upload(new("1", request_for("k", Kind.UPLOAD)), plan, OWNER, NOW, UNTIL)
    assert await index.landing.plan(lease, plan, NOW)
    await index.transfers.requeue(lease, NOW, NOW, OriginTimeout("x"))
    again = await index.transfers.claim(RIVAL, NOW, UNTIL)
    assert again is not None
    assert (again.plan, again.phase) == (plan, Phase.STORING)
    assert await removal_versions(index) == []
    lease = Lease(again.id, RIVAL, again.fence)
    assert await index.landing.plan(lease, plan, NOW)
    await index.landing.publish(lease, NOW)
    assert await removal_versions(index) == []


async def test_an_upload_needs_its_bucket_and_its_precondition(index: SqlIndex) -> None:
    plan = plan_for(Lease("id-1", OWNER, 1))
    with pytest.raises(BucketNotFound):
        await index.transfers.begin_upload(new("1", request_for("k", Kind.UPLOAD, OTHER)), plan, OWNER, NOW, UNTIL)
    await land(index, "x", "k")
    request = request_for("k", Kind.UPLOAD, precondition=Precondition(if_absent=True))
    with pytest.raises(PreconditionFailed):
        await index.transfers.begin_upload(new("1", request), plan, OWNER, NOW, UNTIL)


async def test_one_fill_per_key(index: SqlIndex) -> None:
    await begin_fill(index, "1")
    second = await index.transfers.begin_fill(new("2", request_for("k", Kind.FILL)), RIVAL, NOW, UNTIL)
    assert second == FillSlot(None, OWNER)
    await begin_fill(index, "3", "other")
    assert await index.transfers.fill_owner(BUCKET, "k", NOW) == OWNER
    assert await index.transfers.fill_owner(BUCKET, "k", LATE) is None
    assert await index.transfers.fill_owner(BUCKET, "nothing", NOW) is None


async def test_a_fill_of_a_key_that_has_moved_on_is_decided_again(index: SqlIndex) -> None:
    await land(index, "1")
    asked = new("2", request_for("k", Kind.FILL))
    assert await index.transfers.begin_fill(asked, OWNER, NOW, UNTIL) == FillSlot(None, None)
    assert (await begin_fill(index, "3", seen_generation=1)).transfer_id == "id-3"
    with pytest.raises(BucketNotFound):
        await index.transfers.begin_fill(new("4", request_for("k", Kind.FILL, OTHER)), OWNER, NOW, UNTIL)


@pytest.mark.parametrize("how", ["expired", "buried", "released"])
async def test_a_dead_owners_fill_is_taken_over_with_what_it_had(index: SqlIndex, how: str) -> None:
    lease = await begin_fill(index, "1")
    await index.transfers.set_phase(lease, Phase.FETCHING, NOW, SOURCE)
    if how == "buried":
        assert await index.transfers.expire_owner(OWNER, NOW) == 1
    elif how == "released":
        await index.transfers.release(lease, NOW)
    now = LATE if how == "expired" else NOW
    slot = await index.transfers.begin_fill(new("2", request_for("k", Kind.FILL)), RIVAL, now, now + 30)
    assert slot.lease == Lease("id-1", RIVAL, 2)
    assert slot.left_over is not None
    assert (slot.left_over.source, slot.left_over.fence) == (SOURCE, 2)
    assert await index.transfers.fill_owner(BUCKET, "k", now) == RIVAL


async def test_a_dead_owners_fill_of_something_else_is_ended_not_resumed(index: SqlIndex) -> None:
    lease = await begin_fill(index, "1", target="/a?b")
    assert await index.landing.plan(lease, plan_for(lease), NOW)
    slot = await index.transfers.begin_fill(
        new("2", request_for("k", Kind.FILL, target="/a%3Fb")), RIVAL, LATE, LATE + 30
    )
    assert slot == FillSlot(Lease("id-2", RIVAL, 1))
    assert (await index.transfers.get("token-1")).state is State.FAIL
    assert await removal_versions(index) == ["id-1.1"]


async def test_a_failed_fill_frees_its_slot_and_stays_for_diagnosis(index: SqlIndex) -> None:
    lease = await begin_fill(index, "1")
    await index.transfers.fail(lease, NOW, OriginTimeout("x"))
    assert (await index.transfers.get("token-1")).error_code == "origin_timeout"
    assert (await begin_fill(index, "2")).transfer_id == "id-2"


async def test_a_discarded_fill_leaves_nothing(index: SqlIndex) -> None:
    lease = await begin_fill(index, "1")
    await index.transfers.discard(lease)
    with pytest.raises(TransferNotFound):
        await index.transfers.get("token-1")
    assert await index.transfers.spooled_ids() == []


async def test_owners_are_those_who_hold_leases(index: SqlIndex) -> None:
    first = await begin(index, "1")
    await begin(index, "2", "other")
    await index.transfers.begin_fill(new("3", request_for("z", Kind.FILL)), RIVAL, NOW, UNTIL)
    assert sorted(await index.transfers.owners()) == [OWNER, RIVAL]
    await index.transfers.fail(first, NOW, OriginTimeout("x"))
    assert await index.transfers.expire_owner(OWNER, NOW) == 1
    assert await index.transfers.expire_owner(OWNER, NOW) == 0
    assert await index.transfers.owners() == [RIVAL]
    taken = await index.transfers.claim(RIVAL, NOW, UNTIL)
    assert taken is not None
    assert taken.id == "id-2"


async def test_spools_are_kept_while_their_transfer_is_in_progress(index: SqlIndex) -> None:
    await land(index, "1", "a")
    await begin(index, "2", "b")
    await begin_fill(index, "3", "c")
    assert sorted(await index.transfers.spooled_ids()) == ["id-2", "id-3"]


async def test_ended_transfers_are_forgotten_after_their_time(index: SqlIndex) -> None:
    asked = new("1", request_for("a"), fingerprint="f", idempotency_key="i")
    await index.transfers.create([asked], NOW)
    await index.transfers.cancel("token-1", NOW + 5)
    await begin(index, "2", "b")
    assert await index.transfers.forget_ended(NOW + 5) == 0
    assert await index.transfers.forget_ended(NOW + 6) == 1
    with pytest.raises(TransferNotFound):
        await index.transfers.get("token-1")
    assert (await index.transfers.get("token-2")).state is State.INPROGRESS
    assert await index.transfers.create([asked], NOW) == ["token-1"]
