"""What the edge (nginx) may do in our place: send stored bytes by itself, and keep an answer for a while.

Pure. nginx asks for every slice that it does not keep; the proxy decides and, for a stored version, only
says where the bytes are. What nginx keeps it serves without asking, so a lifetime is given only where a
purge can reach every copy (``kept_as_asked``), and never to bytes of a transfer that may still fail.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from cephstorage.domain.decision import freshness
from cephstorage.domain.edge import CONTINUES, EDGE, S3, SLICE, STORE_FAILED, kept_as_asked
from cephstorage.domain.mirrors import Mirror, Target, edge_targets
from cephstorage.domain.policy import Mode, Policy
from cephstorage.domain.ranges import RangeRequest, parse_range
from cephstorage.domain.records import Record
from cephstorage.domain.validators import Answer, Outcome

EDGE_LIFETIME = 86_400
"""Seconds that an edge keeps what its mirror never asks for again. A purge is what ends it; this bounds the harm when
an edge missed one (it was off for long, or is not configured here), and costs one request a day and slice."""
ORIGINS_EDGE_LIFETIME = 60
"""The same in mode ``origin``: nginx sends Age as it was when it took the answer, so that it is this much too low at most."""
CONDITIONS = frozenset({"if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"})
_PLAIN_NUMBER = 10**18


@dataclass(frozen=True, slots=True)
class EdgeAsk:
    """What our edge says of a request.

    ``continues``: the slice follows others of one answer. ``whole``: it is the first of all of them, so that one answer
    with the whole does as well. ``store_failed``: the status by which the store refused what we sent it to. ``s3``:
    whether it asks for an S3 client, or has let one in (``domain.edge.S3``).
    """

    slice: bool = False
    store_failed: int | None = None
    continues: bool = False
    s3: str = ""
    whole: bool = False


def edge_ask(headers: Mapping[str, str], secret: str) -> EdgeAsk | None:
    """What the edge says; None when the request did not come from it. ``headers`` has lower-case names."""
    shown = headers.get(EDGE, "")
    if not secret or not hmac.compare_digest(shown.encode("latin-1", "replace"), secret.encode()):
        return None
    failed = headers.get(STORE_FAILED, "")
    status = (int(failed) if failed.isdecimal() else 502) if failed else None
    kind = headers.get(SLICE)
    return EdgeAsk(
        kind in {"1", "whole"}, status, headers.get(CONTINUES) == "1", headers.get(S3, ""), whole=kind == "whole"
    )


def edge_lifetime(mirror: Mirror, policy: Policy, target: Target, written: str, record: Record, now: float) -> int:
    """Seconds that the edge may keep an answer with this record, which the request asked for as ``written``.

    Zero for what not everybody may have (the edge serves it unasked), for what the client's credentials
    would change, for spellings that no purge would name, and for what may be outdated: its purge may be over,
    or the origin has yet to confirm it. No answer outlives its key. The edge's cache does not know variants, either.
    """
    if mirror.private or policy.sends_credentials or policy.mode in {Mode.BYPASS, Mode.DENY} or not record.current:
        return 0
    if record.invalidated_at is not None or (record.origin is not None and record.origin.varies):
        return 0
    if not kept_as_asked(written, target.canonical) or written not in edge_targets(record.key):
        return 0
    lifetime = _by_policy(policy, record, now)
    return lifetime if record.expires_at is None else max(0, min(lifetime, int(record.expires_at - now)))


def _by_policy(policy: Policy, record: Record, now: float) -> int:
    """The lifetime by the mirror's rules alone."""
    if policy.mode is Mode.ORIGIN:
        found = freshness(policy, record, now)
        fresh = found.fresh and not policy.client_control  # the edge would not ask what a request wants
        return min(ORIGINS_EDGE_LIFETIME, found.remaining) if fresh else 0
    if policy.mode is not Mode.REVALIDATE:
        return EDGE_LIFETIME
    return max(0, min(EDGE_LIFETIME, int(record.validated_at + policy.ttl - now)))


def needs_bytes(answer: Answer, method: str, size: int) -> bool:
    """Whether the answer has a body of stored bytes."""
    return method == "GET" and size > 0 and answer.outcome in {Outcome.FULL, Outcome.PARTIAL}


def asked_range(answer: Answer) -> str | None:
    """The Range by which the store is asked for an answer's bytes; None for all of them."""
    if answer.outcome is not Outcome.PARTIAL or answer.span is None:
        return None
    return RangeRequest(answer.span.start, answer.span.end - 1).header()


def last_slice(asked: str | None, size: int) -> str | None:
    """The Range of the last slice of an object of ``size`` bytes, by the Range of any; None when there is but one."""
    wanted = parse_range(asked)
    if wanted is None or wanted.first is None or wanted.last is None:
        return None
    step = wanted.last - wanted.first + 1
    if size <= step or wanted.first % step:
        return None
    start = (size - 1) // step * step
    return RangeRequest(start, start + step - 1).header()


def file_serves(headers: Mapping[str, str], answer: Answer) -> bool:
    """Whether nginx, sending a file, comes to our answer by itself.

    Its static module reads the client's own headers: it would judge conditions by the file's date, and
    answer several ranges, which we leave alone, with multipart.
    """
    if CONDITIONS & headers.keys():
        return False
    if answer.outcome is not Outcome.PARTIAL:
        return "range" not in headers
    wanted = parse_range(headers.get("range"))
    numbers = (wanted.first, wanted.last, wanted.suffix) if wanted is not None else ()
    return all(number is None or number < _PLAIN_NUMBER for number in numbers)
