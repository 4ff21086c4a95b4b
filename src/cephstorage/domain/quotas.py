"""What fits in a quota. Pure: who counts, locks and commits is the index.

A quota bounds a bucket, or all buckets of a tenant together, in bytes and in keys. Beside what is stored, what
transfers under way have reserved is taken; a transfer's own reservation is not held against it. A quota says what
may come. It never removes anything: where more is stored than it allows, only what adds nothing is taken.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from cephstorage.domain.errors import InvalidInput, QuotaExceeded
from cephstorage.domain.names import BucketName

LARGEST = 2**62
"""The largest limit; sums stay within 64 bits."""


@dataclass(frozen=True, slots=True)
class Quota:
    """The most bytes and keys; None: no limit."""

    size: int | None = None
    keyamount: int | None = None

    @property
    def bounds(self) -> bool:
        """Whether there is any limit."""
        return self.size is not None or self.keyamount is not None


NO_QUOTA = Quota()


@dataclass(frozen=True, slots=True)
class Amount:
    """Bytes and keys."""

    size: int = 0
    keys: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.size + other.size, self.keys + other.keys)

    def __sub__(self, other: "Amount") -> "Amount":
        return Amount(self.size - other.size, self.keys - other.keys)


NOTHING = Amount()
_MARGIN = Amount(16 << 20, 100)


@dataclass(frozen=True, slots=True)
class Account:
    """A bucket, or (``bucket`` None) all of a tenant's, under its quota: what is stored, what others have reserved."""

    username: str
    bucket: BucketName | None
    quota: Quota
    used: Amount
    reserved: Amount = NOTHING

    @property
    def holder(self) -> str:
        """Whom the quota bounds, in words."""
        return f"tenant {self.username}" if self.bucket is None else f"bucket {self.bucket}"

    def refusal(self, more: Amount) -> str | None:
        """Why ``more`` does not fit, with what to do; None when it fits. What adds nothing always does."""
        taken = self.used + self.reserved
        for limit, has, comes, unit in (
            (self.quota.size, taken.size, more.size, "bytes"),
            (self.quota.keyamount, taken.keys, more.keys, "keys"),
        ):
            if limit is not None and comes > 0 and has + comes > limit:
                return (
                    f"The quota of the {self.holder} is {limit} {unit}; {has} are stored or reserved, and {comes} more "
                    "do not fit. Delete something (what lies in the trash counts), or have the quota raised (cephstorage quota set)."
                )
        return None

    def most(self, size: int) -> int:
        """``size``, or as many bytes as fit."""
        limit = self.quota.size
        return size if limit is None else min(size, max(0, limit - self.used.size - self.reserved.size))


def difference(size: int, replaced: int | None) -> Amount:
    """What an object adds that replaces one of ``replaced`` bytes (None: there is none)."""
    return Amount(size, 1) if replaced is None else Amount(size - replaced, 0)


def require_room(accounts: Iterable[Account], more: Amount) -> None:
    """Raise QuotaExceeded unless ``more`` fits in every account."""
    for account in accounts:
        if (reason := account.refusal(more)) is not None:
            raise QuotaExceeded(reason)


def granted(accounts: Iterable[Account], least: Amount, wish: int) -> Amount:
    """What a transfer may reserve: at least ``least``, and of a wish for more bytes as many as fit.

    Raises QuotaExceeded when not even ``least`` fits.
    """
    known = tuple(accounts)
    require_room(known, least)
    size = min((account.most(wish) for account in known), default=wish)
    return Amount(max(0, least.size, size), max(0, least.keys))


def with_margin(quotas: Iterable[Quota], percent: float) -> Quota:
    """The narrowest of some quotas, wider by a margin: at least what a handful of versions to be removed may take."""
    known = tuple(quotas)
    size = min((each.size for each in known if each.size is not None), default=None)
    keys = min((each.keyamount for each in known if each.keyamount is not None), default=None)
    return Quota(_wider(size, percent, _MARGIN.size), _wider(keys, percent, _MARGIN.keys))


def _wider(limit: int | None, percent: float, least: int) -> int | None:
    return None if limit is None else min(LARGEST, limit + max(least, int(limit * percent / 100)))


def checked(quota: Quota) -> Quota:
    """The quota, if both limits make sense. Raises InvalidInput."""
    for limit in (quota.size, quota.keyamount):
        if limit is not None and not 0 <= limit <= LARGEST:
            raise InvalidInput(f"A quota lies between 0 and {LARGEST}; leave it out for no limit.")
    return quota
