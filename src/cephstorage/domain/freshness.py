"""How fresh a stored answer is, and whether it may be used: RFC 9111 section 4.2, RFC 5861, RFC 8246.

Pure: from the stored headers, the times of the exchange that brought them, and a moment. Whatever can't be read is
taken for the reading that asks the origin sooner.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from cephstorage.domain.cache_control import Directives, cache_directives, delta_seconds, response_directives
from cephstorage.domain.records import OriginFacts, Record
from cephstorage.domain.validators import parse_http_date

HEURISTIC_SHARE = 0.1
"""The part of its age that an answer without an expiry counts as fresh for, where that is switched on (section 4.2.2)."""
LONGEST_HEURISTIC = 86_400.0


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a request asks of a stored answer (RFC 9111 section 5.2.1, RFC 5861 section 4). Times are in seconds.

    ``max_stale`` is infinite when any staleness will do, None when none will.
    """

    no_cache: bool = False
    no_store: bool = False
    only_if_cached: bool = False
    max_age: float | None = None
    max_stale: float | None = None
    min_fresh: float = 0.0
    if_error: float | None = None


NO_WISHES = Wishes()


def wishes(headers: Mapping[str, str]) -> Wishes:
    """Read a request's directives. ``headers`` has lower-case names.

    A max-age that can't be read is 0, a min-fresh more than anything has, a max-stale or stale-if-error is not there.
    """
    if "cache-control" not in headers:  # Pragma counts only then (section 5.4)
        return Wishes(no_cache="no-cache" in cache_directives(headers.get("pragma")))
    asked = cache_directives(headers["cache-control"])
    min_fresh = delta_seconds(asked["min-fresh"]) if "min-fresh" in asked else 0.0
    max_stale = math.inf if asked.get("max-stale", "") is None else delta_seconds(asked.get("max-stale"))
    return Wishes(
        no_cache="no-cache" in asked,
        no_store="no-store" in asked,
        only_if_cached="only-if-cached" in asked,
        max_age=(delta_seconds(asked["max-age"]) or 0.0) if "max-age" in asked else None,
        max_stale=max_stale,
        min_fresh=math.inf if min_fresh is None else min_fresh,
        if_error=delta_seconds(asked.get("stale-if-error")),
    )


@dataclass(frozen=True, slots=True)
class Freshness:
    """A stored answer at one moment. Times are in seconds.

    ``lifetime`` is how long it is fresh and ``age`` how old it is (RFC 9111 sections 4.2.1, 4.2.3). ``no_cache``: it is
    never used unvalidated; ``must_revalidate``: never once stale. ``while_revalidate`` and ``if_error`` are how long
    beyond its lifetime it may be used while it is validated, and when the origin fails (None: nothing is said).
    """

    lifetime: float
    age: float
    no_cache: bool = False
    must_revalidate: bool = False
    while_revalidate: float = 0.0
    if_error: float | None = None
    immutable: bool = False

    @property
    def fresh(self) -> bool:
        """Whether it may be used without asking, by itself (section 4.2)."""
        return not self.no_cache and self.lifetime > self.age

    @property
    def remaining(self) -> int:
        """Whole seconds for which it stays fresh; negative: since when it is stale (``ttl`` of RFC 9211)."""
        return math.floor(self.lifetime - self.age)

    @property
    def forbids_stale(self) -> bool:
        """Whether the origin has forbidden that it is used stale, whatever happens (section 4.2.4)."""
        return self.no_cache or self.must_revalidate

    @property
    def _stale_for(self) -> float:
        return max(0.0, self.age - self.lifetime)

    def satisfies(self, wish: Wishes = NO_WISHES) -> bool:
        """Whether it answers a request as it is."""
        if self.no_cache or wish.no_cache:
            return False
        if self.fresh:
            young = wish.max_age is None or self.age <= wish.max_age or self.immutable  # RFC 8246 section 2
            return young and self.lifetime - self.age >= wish.min_fresh
        if self.must_revalidate or wish.max_stale is None or wish.min_fresh:
            return False
        return self._stale_for <= wish.max_stale and (wish.max_age is None or self.age <= wish.max_age)

    def serves_meanwhile(self, wish: Wishes = NO_WISHES) -> bool:
        """Whether it answers a request although it is stale, while the origin is asked (RFC 5861 section 3)."""
        if self.forbids_stale or wish.no_cache or wish.min_fresh or self._stale_for > self.while_revalidate:
            return False
        return wish.max_age is None or self.age <= wish.max_age

    def stands_in(self, wish: Wishes = NO_WISHES) -> bool:
        """Whether it answers when the origin fails.

        Without a stale-if-error any age will do: serving a copy then is what a mirror is there for, and section 4.2.4
        lets a cache do so by configuration unless the origin forbids it.
        """
        if self.forbids_stale:
            return False
        bound = self.if_error if self.if_error is not None else wish.if_error
        return bound is None or self._stale_for <= bound


def freshness_of(record: Record, now: float, *, heuristic: bool = False) -> Freshness:
    """The freshness of a record at a moment (epoch seconds). What has no origin is stale from its first moment."""
    origin = record.origin
    if origin is None:
        return Freshness(0.0, max(0.0, now - record.validated_at))
    if not origin.response_time:  # stored before the times of the exchange were kept
        origin = replace(origin, request_time=record.validated_at, response_time=record.validated_at)
    found = freshness_of_answer(origin, now, heuristic=heuristic)
    return found if record.invalidated_at is None else replace(found, no_cache=True)


def freshness_of_answer(origin: OriginFacts, now: float, *, heuristic: bool = False) -> Freshness:
    """The freshness of an origin's answer at a moment (epoch seconds)."""
    found = _when_it_came(origin, heuristic)
    return replace(found, age=found.age + max(0.0, now - origin.response_time))


@lru_cache(maxsize=8192)
def _when_it_came(origin: OriginFacts, heuristic: bool) -> Freshness:
    headers, answered = joined(origin.headers), origin.response_time
    control, targeted = response_directives(headers)
    date = parse_http_date(origin.confirmed_date or origin.date)
    apparent = max(0.0, answered - (answered if date is None else date))
    corrected = origin.age + max(0.0, answered - origin.request_time)
    lifetime = _explicit(control, None if targeted else headers.get("expires"), answered if date is None else date)
    if lifetime is None:
        lifetime = _heuristic(origin, answered if date is None else date) if heuristic else 0.0
    return Freshness(
        lifetime=lifetime,
        age=max(apparent, corrected),
        no_cache=bool({"no-cache", "no-store", "private"} & control.keys()),  # a 304 may have brought the others
        must_revalidate=bool({"must-revalidate", "proxy-revalidate", "s-maxage"} & control.keys()),
        while_revalidate=delta_seconds(control.get("stale-while-revalidate")) or 0.0,
        if_error=_if_error(control),
        immutable="immutable" in control,
    )


def says_how_long(headers: Mapping[str, str]) -> bool:
    """Whether an answer names its lifetime (section 4.2.1), be it one that can't be read. ``headers`` has lower-case names."""
    control, targeted = response_directives(headers)
    return bool({"s-maxage", "max-age"} & control.keys()) or ("expires" in headers and not targeted)


def _explicit(control: Directives, expires: str | None, date: float) -> float | None:
    """The lifetime that the origin names (section 4.2.1); 0 for one that can't be read, None for none."""
    for name in ("s-maxage", "max-age"):
        if name in control:
            return delta_seconds(control[name]) or 0.0
    if expires is None:
        return None
    moment = parse_http_date(expires)
    return 0.0 if moment is None else max(0.0, moment - date)


def _heuristic(origin: OriginFacts, date: float) -> float:
    modified = parse_http_date(origin.validators.last_modified)
    return 0.0 if modified is None else min(LONGEST_HEURISTIC, max(0.0, date - modified) * HEURISTIC_SHARE)


def _if_error(control: Directives) -> float | None:
    if "stale-if-error" not in control:
        return None
    return delta_seconds(control["stale-if-error"]) or 0.0


def age_of(header: str | None) -> float:
    """Seconds of an Age header: the first of several, 0 for one that can't be read (RFC 9111 section 5.1)."""
    return delta_seconds((header or "").partition(",")[0].strip()) or 0.0


def joined(headers: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Header lines under lower-case names; several lines of one are one list (RFC 9110 section 5.3)."""
    lines: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        lines[lower] = f"{lines[lower]}, {value}" if lower in lines else value
    return lines
