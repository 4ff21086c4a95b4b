"""The mirror's one decision: what to do with a request, from facts that were gathered once.

Pure: no I/O and no clock. The proxy performs what comes out. Its case table is the mirror's
specification (``tests/unit/domain/test_decision.py``).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from cephstorage.domain.absences import Absence
from cephstorage.domain.cache_control import cache_directives
from cephstorage.domain.freshness import NO_WISHES, Freshness, Wishes, freshness_of, wishes
from cephstorage.domain.mirrors import Target
from cephstorage.domain.policy import Methods, Mode, Policy
from cephstorage.domain.records import Record

READS = frozenset({"GET", "HEAD"})
NEVER_PASSED = frozenset({"CONNECT", "TRACE"})
"""A tunnel, and a request to be shown what was sent: neither is for an origin behind us."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known when a mirror request arrives. ``headers`` has lower-case names; ``now`` is epoch seconds.

    ``filling``: a fill of this key is under way somewhere; ``filling_target`` is the canonical target
    it is for, where that is known (two targets may share a key). ``cooling_until``: the origin has
    just proved unable to deliver this key and is left alone until then. ``unlike``: a copy under this key that Vary
    keeps from this request; ``crowded``: the address has as many variants as are stored. ``continues``: the edge goes on with
    an answer that was decided when it began, so that the origin need not be asked again. ``absence``: the origin has
    said that the target does not exist, and a rule has us remember that.
    """

    method: str
    target: Target
    policy: Policy
    headers: Mapping[str, str]
    record: Record | None
    filling: bool
    now: float
    cooling_until: float = 0.0
    loop: bool = False
    continues: bool = False
    filling_target: str | None = None
    unlike: Record | None = None
    crowded: bool = False
    absence: Absence | None = None


@dataclass(frozen=True, slots=True)
class StoreHit:
    """Serve the stored copy. ``stale`` says why although the mode would rather ask the origin.

    ``refresh``: the origin is asked beside it, and this request does not wait (RFC 5861 section 3).
    """

    record: Record
    stale: str | None = None
    refresh: bool = False


@dataclass(frozen=True, slots=True)
class JoinFill:
    """Read along with the fill that is under way; ``stored`` is the copy to fall back on."""

    stored: Record | None = None


@dataclass(frozen=True, slots=True)
class StartFill:
    """Begin a fill and read along. ``replacing``: a copy that answers other requests, and whose place it takes."""

    replacing: Record | None = None


@dataclass(frozen=True, slots=True)
class Revalidate:
    """Ask the origin whether the stored copy is still good; a 200 becomes a fill.

    ``asked_for``: the copy is fresh, but the request wants the origin's word (``fwd=request`` of RFC 9211).
    """

    record: Record
    asked_for: bool = False


@dataclass(frozen=True, slots=True)
class AskHead:
    """Ask the origin with HEAD about a copy that is not fresh, for a HEAD."""

    record: Record
    asked_for: bool = False


@dataclass(frozen=True, slots=True)
class PassThrough:
    """Ask the origin and hand its answer on, storing nothing."""

    reason: str


@dataclass(frozen=True, slots=True)
class KnownAbsent:
    """Repeat the origin's answer that the target does not exist, or another one that is no object."""

    absence: Absence


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with an error without asking anybody. ``code`` is an error code; ``retry_after`` seconds."""

    code: str
    msg: str
    retry_after: float | None = None


Decision = StoreHit | JoinFill | StartFill | Revalidate | AskHead | PassThrough | KnownAbsent | Refuse


def decide(facts: Facts) -> Decision:
    """Decide one mirror request."""
    if facts.loop:
        return Refuse("loop_detected", "The request has passed this mirror before: its origin leads back to itself.")
    if facts.policy.mode is Mode.DENY:
        return Refuse("path_denied", "A rule of this mirror denies the path.")
    if facts.method not in READS:
        return _other_method(facts)
    if (reason := _pass_through_reason(facts)) is not None:
        return _not_stored() if _only_if_cached(facts) else PassThrough(reason)
    if facts.record is None:
        return _miss(facts)
    return _known(facts, facts.record)


def _other_method(facts: Facts) -> Decision:
    if facts.policy.methods is Methods.PASS and facts.method.isupper() and facts.method not in NEVER_PASSED:
        return PassThrough("method")
    return Refuse("method_not_allowed", "A mirror answers GET and HEAD, and other methods only where it is told to.")


def _pass_through_reason(facts: Facts) -> str | None:
    if facts.policy.mode is Mode.BYPASS:
        return "bypass"
    if facts.target.key is None:
        return "key"
    if facts.policy.credentials & facts.headers.keys():
        return "credentials"
    return "target" if _key_is_another_targets(facts) else None


def _key_is_another_targets(facts: Facts) -> bool:
    origin = facts.record.origin if facts.record is not None else None
    filled_for = facts.filling_target if facts.filling else None
    others = {origin.target if origin is not None else None, filled_for} - {None, facts.target.canonical}
    return bool(others)


def _only_if_cached(facts: Facts) -> bool:
    return "only-if-cached" in cache_directives(facts.headers.get("cache-control"))


def _not_stored() -> Refuse:
    return Refuse("not_stored", "The request asks for a stored copy only (only-if-cached), and there is none.")


def _miss(facts: Facts) -> Decision:
    if facts.filling:
        return JoinFill()
    if facts.absence is not None and _may_be_repeated(facts, facts.absence):
        return KnownAbsent(facts.absence)
    if _only_if_cached(facts):
        return _not_stored()
    if _wishes(facts.policy, facts.headers).no_store and facts.policy.mode is Mode.ORIGIN:
        return PassThrough("no-store")  # RFC 9111 section 5.2.1.5
    if facts.cooling_until > facts.now:
        wait = facts.cooling_until - facts.now
        return Refuse("origin_cooling", "The origin has just failed to deliver this key whole; try later.", wait)
    if facts.method == "HEAD" or facts.crowded:
        return PassThrough("head" if facts.method == "HEAD" else "variants")
    return StartFill(facts.unlike)


def _may_be_repeated(facts: Facts, absence: Absence) -> bool:
    return facts.policy.mode is not Mode.ORIGIN or absence.freshness(facts.now).satisfies(
        _wishes(facts.policy, facts.headers)
    )


def _known(facts: Facts, record: Record) -> Decision:
    if facts.policy.mode is Mode.ORIGIN:
        return _by_freshness(facts, record)
    fresh = facts.policy.mode is not Mode.REVALIDATE or facts.now - record.validated_at < facts.policy.ttl
    if (fresh and record.invalidated_at is None) or (facts.continues and not facts.filling):
        return StoreHit(record)
    if _only_if_cached(facts):
        return StoreHit(record, stale="only-if-cached")
    if facts.filling:
        return JoinFill(record)
    if facts.cooling_until > facts.now:
        return StoreHit(record, stale="cooling")
    return Revalidate(record)


def _by_freshness(facts: Facts, record: Record) -> Decision:
    """Mode ``origin``: RFC 9111 section 4.2, and RFC 5861 section 3."""
    found, wish = freshness(facts.policy, record, facts.now), _wishes(facts.policy, facts.headers)
    if found.satisfies(wish):
        return StoreHit(record, stale=None if found.fresh else "max-stale")
    if facts.continues and not facts.filling:
        return StoreHit(record)
    cooling = facts.cooling_until > facts.now
    if found.serves_meanwhile(wish):
        return StoreHit(
            record, stale="while-revalidate", refresh=not (facts.filling or cooling or _only_if_cached(facts))
        )
    if _only_if_cached(facts):
        return _not_stored()  # section 5.2.1.7: a stored answer that fits the other wishes, or 504
    if facts.filling:
        return JoinFill(record)
    if cooling and found.stands_in(wish):
        return StoreHit(record, stale="cooling")
    if wish.no_store:
        return PassThrough("no-store")
    return (AskHead if facts.method == "HEAD" else Revalidate)(record, asked_for=found.fresh)


def freshness(policy: Policy, record: Record, now: float) -> Freshness:
    """How fresh a copy is in mode ``origin``."""
    return freshness_of(record, now, heuristic=policy.heuristic)


def _wishes(policy: Policy, headers: Mapping[str, str]) -> Wishes:
    return wishes(headers) if policy.client_control else NO_WISHES


def stands_in(policy: Policy, record: Record, headers: Mapping[str, str], now: float) -> bool:
    """Whether the copy is served when the origin fails: always, but in mode ``origin`` only if the origin allows it."""
    if policy.mode is not Mode.ORIGIN:
        return True
    return freshness(policy, record, now).stands_in(_wishes(policy, headers))


def is_failure(mode: Mode, status: int) -> bool:
    """Whether an origin's answer, given when a copy is stored, counts as failure, so that the copy stands in for it.

    Where a copy is a replica, every error does. In mode ``origin`` only those that say nothing of the resource do
    (RFC 9111 section 4.3.3); a 404 or 403 is the origin's word.
    """
    if mode is Mode.ORIGIN:
        return status >= 500 or status in {408, 425, 429}
    return status >= 400
