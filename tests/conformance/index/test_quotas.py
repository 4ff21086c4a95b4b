"""Quotas: what is reserved, what is given back, and that no commit exceeds them, whoever commits at the same moment."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from cephstorage.domain.errors import (
    BucketNotFound,
    CephStorageError,
    LeaseLost,
    OriginTimeout,
    QuotaExceeded,
    TenantNotFound,
)
from cephstorage.domain.lifecycle import Lifecycle
from cephstorage.domain.names import BucketName
from cephstorage.domain.quotas import NO_QUOTA, Amount, Quota
from cephstorage.domain.transfers import CopySource, Kind, Lease, State
from cephstorage.index import SqlIndex
from tests.conformance.index.conftest import (
    BUCKET,
    NOW,
    OTHER,
    OWNER,
    RIVAL,
    UNTIL,
    at_once,
    begin,
    begin_fill,
    land,
    new,
    plan_for,
    removal_versions,
    request_for,
)

DRAFTS = BucketName("alice", "drafts")
LATE = UNTIL + 1
AT_ONCE = 24


async def reserved(index: SqlIndex, now: float = NOW) -> Amount:
    return (await index.quotas.of_bucket(BUCKET, now)).reserved


async def expect(
    index: SqlIndex, name: str, size: int, wish: int = 0, key: str = "", bucket: BucketName = BUCKET
) -> Lease:
    """Begin an upload whose body is to come."""
    upload = new(name, request_for(key or name, Kind.UPLOAD, bucket))
    lease, room = await index.transfers.expect_upload(upload, size, max(size, wish), OWNER, NOW, UNTIL)
    assert room >= size
    return lease


async def publish(index: SqlIndex, lease: Lease, size: int) -> None:
    assert await index.landing.plan(lease, plan_for(lease, size), NOW)
    await index.landing.publish(lease, NOW)


async def used(index: SqlIndex, bucket: BucketName = BUCKET) -> Amount:
    return (await index.quotas.of_bucket(bucket, NOW)).used


# -- limits


async def test_limits_are_kept_shown_and_lifted(index: SqlIndex) -> None:
    assert await index.quotas.all(NOW) == []
    assert not await index.transfers.bounded(BUCKET)
    await index.quotas.set_bucket(BUCKET, Quota(100, None))
    await index.quotas.set_tenant("alice", Quota(None, 7))
    await land(index, "1", size=10)
    await expect(index, "2", 5)
    assert [
        (each.username, each.bucket, each.quota, each.used, each.reserved) for each in await index.quotas.all(NOW)
    ] == [
        ("alice", None, Quota(None, 7), Amount(10, 1), Amount(5, 1)),
        ("alice", BUCKET, Quota(100, None), Amount(10, 1), Amount(5, 1)),
    ]
    assert await index.transfers.bounded(BUCKET)
    await index.quotas.set_bucket(BUCKET, NO_QUOTA)
    assert await index.transfers.bounded(BUCKET)
    await index.quotas.set_tenant("alice", NO_QUOTA)
    assert not await index.transfers.bounded(BUCKET)
    assert (await index.quotas.of_tenant("alice", NOW)).used == Amount(10, 1)


async def test_limits_need_somebody_to_bound(index: SqlIndex) -> None:
    for call in (
        index.quotas.set_bucket(OTHER, NO_QUOTA),
        index.quotas.of_bucket(OTHER, NOW),
        expect(index, "1", 1, bucket=OTHER),
    ):
        with pytest.raises(BucketNotFound):
            await call
    for tenant in (index.quotas.set_tenant("bob", NO_QUOTA), index.quotas.of_tenant("bob", NOW)):
        with pytest.raises(TenantNotFound):
            await tenant
    assert not await index.transfers.bounded(OTHER)


# -- reservations


async def test_a_reservation_counts_for_others_and_not_for_itself(index: SqlIndex) -> None:
    await index.quotas.set_bucket(BUCKET, Quota(10))
    lease = await expect(index, "1", 6)
    with pytest.raises(QuotaExceeded, match="6 are"):
        await expect(index, "2", 5)
    assert await index.transfers.reserve(lease, 10, 10, NOW) == 10
    with pytest.raises(QuotaExceeded):
        await index.transfers.reserve(lease, 11, 11, NOW)
    assert await reserved(index) == Amount(10, 1)
    await publish(index, lease, 10)
    assert (await reserved(index), await used(index)) == (Amount(), Amount(10, 1))


async def test_a_refused_upload_leaves_nothing(index: SqlIndex) -> None:
    await index.quotas.set_bucket(BUCKET, Quota(10))
    with pytest.raises(QuotaExceeded):
        await expect(index, "1", 11)
    assert await index.transfers.spooled_ids() == []


async def test_an_unknown_length_gets_what_is_free(index: SqlIndex) -> None:
    await index.quotas.set_bucket(BUCKET, Quota(10))
    lease = await expect(index, "1", 0)
    assert await index.transfers.reserve(lease, 4, 100, NOW) == 10
    assert await index.transfers.reserve(lease, 10, 100, NOW) == 10
    with pytest.raises(QuotaExceeded):
        await index.transfers.reserve(lease, 11, 100, NOW)


async def test_what_is_replaced_makes_room(index: SqlIndex) -> None:
    await index.quotas.set_bucket(BUCKET, Quota(10, 1))
    await land(index, "1", "k", size=8)
    with pytest.raises(QuotaExceeded):
        await expect(index, "2", 0, key="other")
    lease = await expect(index, "3", 9, 100, key="k")
    assert await reserved(index) == Amount(2, 0)
    await publish(index, lease, 9)
    assert await used(index) == Amount(9, 1)
    smaller = await expect(index, "4", 1, key="k")
    assert await reserved(index) == Amount(0, 0)
    await publish(index, smaller, 1)
    assert await used(index) == Amount(1, 1)


async def test_whatever_ends_a_transfer_gives_its_room_back(index: SqlIndex) -> None:
    await index.quotas.set_bucket(BUCKET, Quota(10))

    async def ends(name: str, end: Callable[[Lease], object]) -> None:
        lease = await begin(index, name, name)
        await index.transfers.reserve(lease, 10, 10, NOW)
        assert await reserved(index) == Amount(10, 1)
        await end(lease)  # type: ignore[misc]
        assert await reserved(index) == Amount(), name

    await ends("fail", lambda lease: index.transfers.fail(lease, NOW, OriginTimeout("late")))
    await ends("cancel", lambda lease: index.transfers.cancel("token-cancel", NOW))
    await ends("discard", index.transfers.discard)
    await ends("requeue", lambda lease: index.transfers.requeue(lease, NOW, LATE, OriginTimeout("late")))
    await index.transfers.cancel("token-requeue", NOW)
    await ends("release", lambda lease: index.transfers.release(lease, NOW))
    await index.transfers.cancel("token-release", NOW)
    await ends("dies", lambda lease: index.transfers.expire_owner(OWNER, NOW))


async def test_a_lease_that_ran_out_holds_nothing_and_who_takes_over_reserves_anew(index: SqlIndex) -> None:
    await index.quotas.set_bucket(BUCKET, Quota(10))
    lease = await begin(index, "1")
    await index.transfers.reserve(lease, 10, 10, NOW)
    fill = await begin_fill(index, "f", "filled")
    assert (await reserved(index, UNTIL - 1), await reserved(index, LATE)) == (Amount(10, 1), Amount())
    taken = await index.transfers.claim(RIVAL, LATE, LATE + 30)
    assert taken is not None
    assert taken.id == "id-1"
    assert await reserved(index, LATE) == Amount()
    with pytest.raises(LeaseLost):
        await index.transfers.reserve(lease, 1, 1, LATE)
    await index.transfers.expire_owner(RIVAL, LATE)
    await index.transfers.reserve(fill, 4, 4, NOW)
    request = request_for("filled", Kind.FILL)
    slot = await index.transfers.begin_fill(new("g", request), RIVAL, LATE, LATE + 30)
    assert slot.lease is not None
    assert (slot.left_over is not None, slot.bounded, await reserved(index, LATE)) == (True, True, Amount())


async def test_an_expected_upload_whose_owner_died_is_claimed_to_be_ended(index: SqlIndex) -> None:
    await index.quotas.set_bucket(BUCKET, Quota(10))
    await expect(index, "1", 10)
    assert await index.transfers.claim(RIVAL, NOW, LATE) is None
    await index.transfers.expire_owner(OWNER, NOW)
    left = await index.transfers.claim(RIVAL, NOW, LATE)
    assert left is not None
    assert (left.request.kind, left.plan) == (Kind.UPLOAD, None)
    await expect(index, "2", 10)


# -- the commit


async def test_no_commit_exceeds_a_quota_that_came_meanwhile(index: SqlIndex) -> None:
    await land(index, "1", "a", size=10)
    lease = await begin(index, "2", "b")
    assert await index.landing.plan(lease, plan_for(lease, 10), NOW)
    await index.quotas.set_bucket(BUCKET, Quota(19))
    with pytest.raises(QuotaExceeded):
        await index.landing.publish(lease, NOW)
    assert await used(index) == Amount(10, 1)
    await index.transfers.fail(lease, NOW, QuotaExceeded("full"))
    assert await removal_versions(index) == ["id-2.1"]
    assert (await index.transfers.get("token-2")).state is State.FAIL


async def test_above_a_new_limit_only_what_adds_nothing_is_taken(index: SqlIndex) -> None:
    await land(index, "1", "a", size=10)
    await index.quotas.set_bucket(BUCKET, Quota(5))
    await land(index, "2", "a", size=9)
    await land(index, "3", "a", size=9)
    for key in ("a", "b"):
        with pytest.raises(QuotaExceeded):
            await land(index, f"4-{key}", key, size=10)
        await index.transfers.cancel(f"token-4-{key}", NOW)
    assert await used(index) == Amount(9, 1)
    await index.keys.delete(BUCKET, "a", NOW)
    await land(index, "5", "b", size=5)


async def test_adoption_takes_what_is_there(index: SqlIndex) -> None:
    record = await land(index, "1", "a", size=10)
    await index.quotas.set_bucket(BUCKET, Quota(10, 1))
    found = replace(record, key="b", store_version="elsewhere.1")
    assert (await index.adoption.adopt(BUCKET, [found])).added == 1
    assert await used(index) == Amount(20, 2)


async def test_a_tenants_quota_is_over_all_its_buckets(index: SqlIndex) -> None:
    await index.buckets.create(DRAFTS, NOW)
    await index.buckets.create(BucketName("alice2", "drafts"), NOW)
    await index.quotas.set_tenant("alice", Quota(20, 3))
    await land(index, "1", "a", size=10)
    await expect(index, "x", 1000, bucket=BucketName("alice2", "drafts"))
    lease = await expect(index, "2", 8, bucket=DRAFTS)
    with pytest.raises(QuotaExceeded, match="tenant alice is 20 bytes; 18"):
        await expect(index, "3", 3)
    await publish(index, lease, 8)
    lease = await expect(index, "4", 2)
    with pytest.raises(QuotaExceeded, match="keys"):
        await expect(index, "5", 0, bucket=DRAFTS)
    await publish(index, lease, 2)
    account = await index.quotas.of_tenant("alice", NOW)
    assert (account.used, account.reserved) == (Amount(20, 3), Amount())


async def test_what_only_moves_is_taken_above_a_limit(index: SqlIndex) -> None:
    record = await land(index, "1", "a", size=10)
    await index.lifecycles.put(BUCKET, Lifecycle(trash_days=7))
    await index.quotas.set_bucket(BUCKET, Quota(5))
    source = CopySource(BUCKET, "a", record.generation, record.store_version, moves=True)
    lease = Lease("id-move", OWNER, 1)
    wish = request_for("b", Kind.COPY, copy_of=source)
    await index.transfers.begin_upload(new("move", wish), plan_for(lease), OWNER, NOW, UNTIL)
    await publish(index, lease, 10)
    assert await used(index) == Amount(10, 1)
    await index.keys.delete(BUCKET, "b", NOW)
    await index.trash.restore(BUCKET, "b", None, NOW, over=False)
    assert await used(index) == Amount(10, 1)


async def test_what_is_replaced_and_kept_counts_twice(index: SqlIndex) -> None:
    await land(index, "1", "a", size=10)
    await index.lifecycles.put(BUCKET, Lifecycle(trash_days=7, trash_overwritten=True))
    await index.quotas.set_bucket(BUCKET, Quota(19))
    with pytest.raises(QuotaExceeded):
        await expect(index, "2", 10, key="a")
    await publish(index, await expect(index, "3", 9, key="a"), 9)
    assert await used(index) == Amount(19, 2)
    with pytest.raises(QuotaExceeded):
        await land(index, "4", "a", size=1)


# -- many at once


async def test_as_many_are_let_in_as_fit(index: SqlIndex, several: list[SqlIndex]) -> None:
    await index.buckets.create(DRAFTS, NOW)
    await index.quotas.set_tenant("alice", Quota(100))
    await index.quotas.set_bucket(DRAFTS, Quota(None, 4))

    async def one(some: SqlIndex, number: int) -> BucketName | None:
        bucket = (BUCKET, DRAFTS)[number % 2]
        try:
            lease = await expect(some, str(number), 10, bucket=bucket)
        except QuotaExceeded:
            return None
        await publish(some, lease, 10)
        return bucket

    ends = await at_once(several, AT_ONCE, one)
    in_, out = [end for end in ends if end is not None], ends.count(None)
    assert (len(in_), out) == (10, AT_ONCE - 10)
    assert in_.count(DRAFTS) <= 4
    account = await index.quotas.of_tenant("alice", NOW)
    assert (account.used, account.reserved) == (Amount(100, 10), Amount())


async def test_reservations_of_one_bucket_do_not_pass_each_other(index: SqlIndex, several: list[SqlIndex]) -> None:
    await index.quotas.set_bucket(BUCKET, Quota(50))

    async def one(some: SqlIndex, number: int) -> bool:
        try:
            await expect(some, str(number), 10)
        except QuotaExceeded:
            return False
        return True

    ends = await at_once(several, AT_ONCE, one)
    assert (ends.count(True), await reserved(index)) == (5, Amount(50, 5))


async def test_commits_without_reservations_end_at_the_limit_too(index: SqlIndex, several: list[SqlIndex]) -> None:
    await index.buckets.create(DRAFTS, NOW)
    leases = []
    for number in range(AT_ONCE):
        lease = await begin(index, str(number), f"k{number}", bucket=(BUCKET, DRAFTS)[number % 2])
        assert await index.landing.plan(lease, plan_for(lease, 10), NOW)
        leases.append(lease)
    await index.quotas.set_tenant("alice", Quota(75))

    async def one(some: SqlIndex, number: int) -> str:
        try:
            await some.landing.publish(leases[number], NOW)
        except CephStorageError as error:
            return error.code
        return "published"

    ends = await at_once(several, AT_ONCE, one)
    assert sorted(set(ends)) == ["published", "quota_exceeded"]
    assert ends.count("published") == 7
    assert (await index.quotas.of_tenant("alice", NOW)).used == Amount(70, 7)
