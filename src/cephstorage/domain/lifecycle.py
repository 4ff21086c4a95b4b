"""How long keys live: an expiry of their own, rules of their bucket, and the trash that keeps what was deleted. Pure.

A key ends at the earliest of its moments. A rule counts days from when a key was stored, by S3's example ("Expiration" of
its lifecycle rules), not from the creation time that a caller may have given.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from cephstorage.domain.errors import InvalidExpiry, InvalidInput, InvalidTimetag
from cephstorage.domain.names import key_name
from cephstorage.domain.records import Record, parse_timetag

DAY = 86_400.0
MOST_DAYS = 36_500
MOST_RULES = 100
_SPAN = re.compile(r"(?:in )?([0-9]{1,9}) ?(s|d|days?|seconds?)")


@dataclass(frozen=True, slots=True)
class ExpiryRule:
    """Keys that begin with ``prefix`` (empty: all) end ``days`` after they were stored."""

    prefix: str
    days: float


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """What a bucket says of its keys' lives. ``trash_days`` None: what is deleted is gone.

    ``trash_overwritten``: versions that were replaced go to the trash, too.
    """

    rules: tuple[ExpiryRule, ...] = ()
    trash_days: float | None = None
    trash_overwritten: bool = False


NO_LIFECYCLE = Lifecycle()


class Reason(StrEnum):
    """Why a version lies in the trash."""

    DELETED = "deleted"
    OVERWRITTEN = "overwritten"


@dataclass(frozen=True, slots=True)
class Trashed:
    """A version in the trash, since ``trashed_at``, until ``due_at`` (epoch seconds)."""

    record: Record
    reason: Reason
    trashed_at: float
    due_at: float


@dataclass(frozen=True, slots=True)
class TrashPage:
    """A page of the trash by key and generation, and where to go on."""

    versions: tuple[Trashed, ...]
    cursor: str | None = None


def ending(key: str, stored_at: float, expires: float | None, rules: Iterable[ExpiryRule]) -> float | None:
    """When a key ends (epoch seconds), by its own wish or a rule; None: never."""
    moments = [stored_at + rule.days * DAY for rule in rules if key.startswith(rule.prefix)]
    if expires is not None:
        moments.append(expires)
    return min(moments, default=None)


def parse_expires(value: str | float | None, now: float) -> float | None:
    """A moment from epoch seconds, ISO 8601, or a span from now: ``30d``, ``in 30 days``, ``90s``. Raises InvalidExpiry."""
    if value is None or value == "":
        return None
    if isinstance(value, str) and (span := _SPAN.fullmatch(value.strip())):
        seconds = float(span[1]) * (DAY if span[2].startswith("d") else 1.0)
        if not 0 < seconds <= MOST_DAYS * DAY:
            raise InvalidExpiry(f"The expiry {value!r} must lie within {MOST_DAYS} days.")
        return now + seconds
    try:
        moment = parse_timetag(value)
    except InvalidTimetag as error:
        raise InvalidExpiry(
            f"The expiry {value!r} is neither epoch seconds, nor an ISO 8601 time, nor a span such as 30d."
        ) from error
    if moment is None or moment <= now:
        raise InvalidExpiry(f"The expiry {value!r} has passed already.")
    return moment


def lifecycle_of(rules: Sequence[ExpiryRule], trash_days: float | None, trash_overwritten: bool) -> Lifecycle:
    """A bucket's settings, checked. Raises InvalidExpiry, InvalidInput, InvalidKey."""
    if len(rules) > MOST_RULES:
        raise InvalidExpiry(f"A bucket has at most {MOST_RULES} rules; these are {len(rules)}.")
    for prefix in filter(None, (rule.prefix for rule in rules)):
        key_name(prefix)
    if any(not 0 < rule.days <= MOST_DAYS for rule in rules):
        raise InvalidExpiry(f"The days of a rule must be more than 0 and at most {MOST_DAYS}.")
    if len({rule.prefix for rule in rules}) < len(rules):
        raise InvalidExpiry("Two rules have the same prefix.")
    if trash_days is not None and not 0 < trash_days <= MOST_DAYS:
        raise InvalidInput(f"trash_days must be more than 0 and at most {MOST_DAYS}; leave it out to have no trash.")
    if trash_overwritten and trash_days is None:
        raise InvalidInput("trash_overwritten needs trash_days.")
    return Lifecycle(tuple(sorted(rules, key=lambda rule: rule.prefix)), trash_days, trash_overwritten)
