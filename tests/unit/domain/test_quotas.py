"""What fits in a quota, tried at and around every limit."""

from itertools import product

import pytest

from cephstorage.domain.errors import InvalidInput, QuotaExceeded
from cephstorage.domain.names import BucketName
from cephstorage.domain.quotas import (
    LARGEST,
    NOTHING,
    Account,
    Amount,
    Quota,
    checked,
    difference,
    granted,
    require_room,
    with_margin,
)

BUCKET = BucketName("alice", "photos")


def account(size: int | None, keys: int | None, used: Amount, reserved: Amount = NOTHING) -> Account:
    return Account("alice", BUCKET, Quota(size, keys), used, reserved)


AROUND = range(-1, 4)


@pytest.mark.parametrize("limit", [None, 0, 1, 2, 3])
def test_what_fits_never_exceeds_and_what_is_refused_would(limit: int | None) -> None:
    for used, reserved, size, keys in product(range(4), range(3), AROUND, (0, 1)):
        for quota in (Quota(limit, None), Quota(None, limit), Quota(limit, limit)):
            taken, more = Amount(used, used), Amount(size, keys)
            found = Account("alice", BUCKET, quota, taken, Amount(reserved, reserved))
            fits = all(
                bound is None or comes <= 0 or used + reserved + comes <= bound
                for bound, comes in ((quota.size, size), (quota.keyamount, keys))
            )
            assert (found.refusal(more) is None) == fits


def test_what_adds_nothing_fits_above_the_limit() -> None:
    full = account(10, 1, Amount(50, 5))
    require_room([full], difference(7, replaced=7))
    require_room([full], difference(7, replaced=9))
    for more in (difference(8, replaced=7), difference(0, replaced=None)):
        with pytest.raises(QuotaExceeded):
            require_room([full], more)


def test_the_refusal_says_whose_quota_it_is_and_what_to_do() -> None:
    with pytest.raises(QuotaExceeded, match=r"bucket alice___photos is 10 bytes; 9 are .* 2 more .*quota set"):
        require_room([account(10, None, Amount(5, 1), Amount(4, 1))], Amount(2, 1))
    tenant = Account("alice", None, Quota(None, 3), Amount(5, 3))
    with pytest.raises(QuotaExceeded, match=r"tenant alice is 3 keys; 3 are .* 1 more"):
        require_room([account(None, None, Amount()), tenant], Amount(0, 1))


def test_every_account_has_to_have_room() -> None:
    wide, narrow = account(100, None, Amount()), Account("alice", None, Quota(10), Amount(8, 0))
    for order in ([wide, narrow], [narrow, wide]):
        require_room(order, Amount(2, 1))
        with pytest.raises(QuotaExceeded, match="tenant"):
            require_room(order, Amount(3, 1))


def test_a_wish_is_granted_as_far_as_it_fits_and_never_below_the_least() -> None:
    accounts = [account(10, None, Amount(4, 0), Amount(1, 0)), Account("alice", None, Quota(20), Amount(12, 0))]
    assert granted(accounts, Amount(2, 1), 100) == Amount(5, 1)
    assert granted(accounts, Amount(2, 1), 3) == Amount(3, 1)
    assert granted(accounts, Amount(5, 0), 5) == Amount(5, 0)
    assert granted([], Amount(5, 1), 9) == Amount(9, 1)
    assert granted(accounts, Amount(-3, 0), -3) == Amount(0, 0)
    assert granted([account(1, None, Amount(9, 1))], Amount(-3, 0), 50) == Amount(0, 0)
    with pytest.raises(QuotaExceeded):
        granted(accounts, Amount(6, 1), 100)


@pytest.mark.parametrize("limit", [-1, LARGEST + 1])
def test_limits_that_make_no_sense(limit: int) -> None:
    assert checked(Quota(0, LARGEST)) == Quota(0, LARGEST)
    for quota in (Quota(limit), Quota(None, limit)):
        with pytest.raises(InvalidInput):
            checked(quota)


def test_the_stores_own_limits_are_the_narrowest_and_wider() -> None:
    gib = 2**30
    assert with_margin([Quota(100 * gib, None), Quota(10 * gib, 10_000)], 10) == Quota(11 * gib, 11_000)
    assert with_margin([Quota(0, 0), Quota()], 10) == Quota(16 * 2**20, 100)
    assert with_margin([Quota(), Quota()], 10) == Quota()
    assert with_margin([Quota(LARGEST, LARGEST)], 1000) == Quota(LARGEST, LARGEST)
