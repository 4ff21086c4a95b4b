"""``explain``: what the mirror would do with a GET of a URL now, and why. Asks nobody but the index."""

from typing import Any
from urllib.parse import urlsplit

from cephstorage.domain.decision import (
    Decision,
    KnownAbsent,
    PassThrough,
    Refuse,
    Revalidate,
    StoreHit,
    decide,
    freshness,
)
from cephstorage.domain.mirrors import read_target, source_url
from cephstorage.domain.policy import Mode, OriginAnswer, Policy
from cephstorage.domain.records import Record
from cephstorage.domain.urls import check_url, without_credentials
from cephstorage.proxy.exchange import Request
from cephstorage.proxy.mirror import MirrorProxy
from cephstorage.proxy.mirror_request import Asked
from cephstorage.services.mirrors import Mirrors


class Explain:
    """Explains mirror URLs."""

    def __init__(self, mirrors: Mirrors, proxy: MirrorProxy) -> None:
        self._mirrors = mirrors
        self._proxy = proxy

    async def __call__(self, url: str) -> dict[str, Any]:
        """The facts and the decision, as JSON. Raises InvalidUrl, MirrorNotFound, InvalidKey."""
        parts = urlsplit(check_url(url))
        mirror = self._mirrors.require(parts.netloc.rpartition("@")[2])
        target, policy = read_target(parts.path or "/", parts.query, mirror)
        asked = Asked(mirror, target, policy)
        facts = await self._proxy.gather(Request("GET", parts.path, parts.query, {}), asked)
        record, policy, decision = facts.record, facts.policy, decide(facts)
        answer = OriginAnswer(200, record.content_type) if record is not None else None
        fresh_for = None
        if record is not None and policy.mode is Mode.REVALIDATE:
            fresh_for = max(0.0, round(record.validated_at + policy.ttl - facts.now, 1))
        return {
            "url": url,
            "mirror": mirror.host,
            "rule": mirror.rule_for(target.path, answer),
            "rule_number": mirror.rule_number(target.path, answer),
            "mode": policy.mode.value,
            "key": target.key,
            "target": target.canonical,
            "origin_url": without_credentials(source_url(mirror, policy, target)),
            "decision": type(decision).__name__,
            "reason": _reason(decision),
            "record": _record(facts.record),
            "filling": facts.filling,
            "fresh_for": fresh_for,
            "freshness": _freshness(policy, record, facts.now),
        }


def _freshness(policy: Policy, record: Record | None, now: float) -> dict[str, Any] | None:
    """What mode ``origin`` goes by; None for other modes, which do not. Seconds."""
    if record is None or policy.mode is not Mode.ORIGIN:
        return None
    found = freshness(policy, record, now)
    return {
        "fresh": found.fresh,
        "lifetime": round(found.lifetime, 1),
        "age": round(found.age, 1),
        "remaining": found.remaining,
        "stale_while_revalidate": found.while_revalidate,
        "stale_if_error": found.if_error,
        "used_stale": "never" if found.forbids_stale else "when the origin fails",
        "invalidated": record.invalidated_at is not None,
    }


def _reason(decision: Decision) -> str:
    match decision:
        case StoreHit(_, "max-stale"):
            return "a stale copy is served: the request takes one"
        case StoreHit(_, "while-revalidate", refresh):
            return "a stale copy is served while the origin is asked" + (
                "" if refresh else ", which somebody does already"
            )
        case StoreHit(_, stale):
            return f"a stored copy is served although the origin would be asked ({stale})" if stale else "it is stored"
        case Revalidate():
            return "the stored copy is not fresh any more: the origin is asked whether it is still good"
        case PassThrough(reason):
            return f"the origin's answer is handed on and not stored: {reason}"
        case KnownAbsent(absence):
            return f"the origin has said that it does not exist ({absence.status}), which is remembered for a while"
        case Refuse(code, msg):
            return f"{code}: {msg}"
        case _:
            return "it is not stored yet: the origin is read once, for all who ask"


def _record(record: Any) -> dict[str, Any] | None:
    if record is None:
        return None
    names = ("key", "size", "md5", "content_type", "etag", "last_modified", "generation", "source", "validated_at")
    return {name: getattr(record, name) for name in names}
