"""``explain``: what the mirror would do with a GET of a URL now, and why, from the edges to the origin.

The index and the edges are asked; the origin only if that is wished.
"""

from typing import Any
from urllib.parse import urlsplit

from cephstorage.domain.decision import (
    Decision,
    Facts,
    KnownAbsent,
    PassThrough,
    Refuse,
    Revalidate,
    StoreHit,
    decide,
    freshness,
)
from cephstorage.domain.errors import CephStorageError
from cephstorage.domain.handover import edge_lifetime
from cephstorage.domain.mirrors import read_target, source_url
from cephstorage.domain.policy import Mode, OriginAnswer, Policy
from cephstorage.domain.records import NO_VALIDATORS, Record
from cephstorage.domain.urls import check_url, without_credentials
from cephstorage.domain.variants import varies_of
from cephstorage.ports.ledger import TransferLedger
from cephstorage.ports.origin import Origin, OriginRequest, OriginResponse, OriginStates
from cephstorage.proxy.exchange import Request
from cephstorage.proxy.mirror import MirrorProxy
from cephstorage.proxy.mirror_request import Asked
from cephstorage.services.mirrors import Mirrors
from cephstorage.services.purges import Purges


class Explain:
    """Explains mirror URLs."""

    def __init__(
        self,
        mirrors: Mirrors,
        proxy: MirrorProxy,
        purges: Purges,
        ledger: TransferLedger,
        origin: Origin,
        states: OriginStates,
    ) -> None:
        self._mirrors = mirrors
        self._ledger = ledger
        self._proxy = proxy
        self._purges = purges
        self._origin = origin
        self._states = states

    async def __call__(self, url: str, *, ask: bool = False) -> dict[str, Any]:
        """The facts and the decision, as JSON; ``ask``: with a HEAD to the origin.

        Raises InvalidUrl, MirrorNotFound, InvalidKey.
        """
        parts = urlsplit(check_url(url))
        mirror = self._mirrors.require(parts.netloc.rpartition("@")[2])
        target, policy = read_target(parts.path or "/", parts.query, mirror)
        request = Request("GET", parts.path, parts.query, {})
        asked, facts = await self._proxy.gather(request, Asked(mirror, target, policy), thorough=True)
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
            "key": asked.target.key,
            "target": target.canonical,
            "origin_url": without_credentials(source_url(mirror, policy, target)),
            "decision": type(decision).__name__,
            "reason": _reason(decision),
            "record": _record(facts.record),
            "filling": facts.filling,
            "fill": await self._fill(asked, facts.now),
            "fresh_for": fresh_for,
            "freshness": _freshness(policy, record, facts.now),
            "edge": await self._edge(url, asked, facts),
            "origin": await self._asked(asked, record) if ask else None,
            "origins": self._origins(asked),
        }

    def _origins(self, asked: Asked) -> list[dict[str, Any]]:
        """The origins in the order in which they would be asked, and how they do in this process."""
        url = source_url(asked.mirror, asked.policy, asked.target)
        states = {state.url: state for state in self._states.states(asked.mirror.host)}
        return [
            {
                "url": without_credentials(there),
                "circuit": state.circuit.value,
                "wait": round(state.wait, 1),
                "running": state.running,
                "waiting": state.waiting,
                "credentials": state.credentials.value if state.credentials is not None else None,
            }
            for server, there in asked.mirror.route.candidates(url)
            if (state := states.get(server.url)) is not None
        ]

    async def _fill(self, asked: Asked, now: float) -> dict[str, Any] | None:
        """Who fills the key now, in whichever process, and how far that was when it was noted last."""
        if asked.target.key is None:
            return None
        running = await self._ledger.fill(asked.mirror.bucket, asked.target.key, now)
        if running is None:
            return None
        return {
            "owner": running.owner,
            "phase": running.phase.value,
            "since": running.created_at,
            "bytes_done": running.bytes_done,
            "bytes_total": running.bytes_total,
            "resumable": running.source is not None and running.source.resume_validator is not None,
        }

    async def _edge(self, url: str, asked: Asked, facts: Facts) -> dict[str, Any]:
        """For how long an edge would keep the answer, in seconds, and which of them serve it now without asking."""
        written = "/" + url.partition("://")[2].partition("#")[0].partition("/")[2]
        record, lifetime = facts.record, 0
        if record is not None:
            lifetime = edge_lifetime(asked.mirror, facts.policy, asked.target, written, record, facts.now)
        kept = await self._purges.kept(asked.mirror, asked.target.canonical)
        return {"lifetime": lifetime, "edges": [{"edge": edge, "keeps": keeps} for edge, keeps in kept.items()]}

    async def _asked(self, asked: Asked, record: Record | None) -> dict[str, Any]:
        """What the origin answers to a HEAD now, and whether it still has the version that is stored."""
        url = source_url(asked.mirror, asked.policy, asked.target)
        wanted = asked.ask(OriginRequest(url, method="HEAD", mirror=asked.mirror.host))
        try:
            response = await self._origin.open(wanted)
        except CephStorageError as error:
            return {"error": {"code": error.code, "msg": error.msg}}
        await response.close()
        shown = {name: response.headers.get(name) for name in _SHOWN}
        return {
            "url": without_credentials(response.url),
            "status": response.status,
            **{name.replace("-", "_"): value for name, value in shown.items()},
            "same_version": _same_version(response, record),
        }


_SHOWN = ("content-type", "content-length", "etag", "last-modified", "cache-control", "expires", "age", "date")


def _same_version(response: OriginResponse, record: Record | None) -> bool | None:
    """Whether the origin shows the validators that the copy was made under; None when that can't be told."""
    if record is None or record.origin is None or response.status != 200:
        return None
    held = record.origin.validators
    pairs = ((held.etag, response.headers.get("etag")), (held.last_modified, response.headers.get("last-modified")))
    told = [then == now for then, now in pairs if then is not None and now is not None]
    return all(told) if told else None


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
        "varies": [name for name, _ in varies_of(record.origin)],
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


def _record(record: Record | None) -> dict[str, Any] | None:
    if record is None:
        return None
    names = ("key", "size", "md5", "content_type", "etag", "last_modified", "generation", "source")
    times = ("ts", "validated_at", "invalidated_at")
    kept = record.origin.headers if record.origin is not None else ()
    held = record.origin.validators if record.origin is not None else NO_VALIDATORS
    return {
        **{name: getattr(record, name) for name in (*names, *times)},
        "origin_etag": held.etag,
        "origin_last_modified": held.last_modified,
        "headers": [list(pair) for pair in kept],
    }
