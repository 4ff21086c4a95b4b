"""What an origin answers without an object: remembered for a while, repeated, and never stored.

In mode ``origin`` that is any small answer that says for how long it is fresh (RFC 9111 sections 3 and 4.2), in all
others a 404 or 410 that a rule lets us remember. What is said of an object's bytes is the matter of ``storability``.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from cephstorage.domain.freshness import Freshness, age_of, freshness_of_answer, joined, says_how_long
from cephstorage.domain.policy import Cookies, Mode, Policy
from cephstorage.domain.records import OriginFacts
from cephstorage.domain.storability import not_stored_reason

ABSENT = frozenset({404, 410})
_REPEATED = ABSENT | {203, 204, 300, 301, 302, 303, 307, 308, 400, 403, 405, 414, 451, 501}
"""Of the resource, and complete in themselves. Not: 206 and 416 (of a range), 401 and 407 (of who asks), 408, 421, 425,
429 and every other 5xx (of the moment)."""
LARGEST_BODY = 16 * 1024
"""Bytes; an answer with a larger body is not worth remembering."""


@dataclass(frozen=True, slots=True)
class Absence:
    """The origin's answer, to be repeated until ``until``; times are epoch seconds. ``since``: when its age was 0."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    since: float
    until: float

    def freshness(self, now: float) -> Freshness:
        """How fresh it is at a moment."""
        return Freshness(self.until - self.since, max(0.0, now - self.since))


def repeatable(
    policy: Policy, status: int, headers: Iterable[tuple[str, str]], now: float
) -> tuple[float, float] | None:
    """When an answer that came ``now`` was made and until when it is repeated; None when it is not.

    A negative_ttl holds for what the origin leaves open: a 404 or 410 without an expiry (section 4.2.2).
    """
    if policy.mode is not Mode.ORIGIN:
        ttl = policy.negative_ttl if status in ABSENT else 0.0
        return (now, now + ttl) if ttl > 0 else None
    lines = joined(tuple(headers))
    if status not in _REPEATED or "vary" in lines or not is_for_all(policy, lines):
        return None
    answer = OriginFacts(
        "", tuple(headers), date=lines.get("date"), age=age_of(lines.get("age")), request_time=now, response_time=now
    )
    found = freshness_of_answer(answer, now)
    lifetime = found.lifetime if says_how_long(lines) else policy.negative_ttl if status in ABSENT else 0.0
    if found.no_cache or lifetime <= found.age:
        return None
    return now - found.age, now - found.age + lifetime


def is_for_all(policy: Policy, headers: dict[str, str]) -> bool:
    """Whether an answer without an object may be given to all who wait for it. ``headers`` has lower-case names.

    What sets a cookie is for one client; so is, where the origin's word is obeyed, what must not be stored (section 4).
    """
    if policy.mode is not Mode.ORIGIN:
        return "set-cookie" not in headers or policy.cookies is Cookies.DROP
    drop_cookies = policy.cookies is Cookies.DROP
    return not_stored_reason(200, headers, authorized=False, drop_cookies=drop_cookies) is None
