"""The mirror: gather facts once, ask the pure decision, perform what it says."""

import asyncio
import contextlib
import math
import time
from dataclasses import dataclass, replace

import structlog

from cephstorage.domain.absences import ABSENT
from cephstorage.domain.decision import (
    AskHead,
    Decision,
    Facts,
    JoinFill,
    KnownAbsent,
    PassThrough,
    Refuse,
    Revalidate,
    StartFill,
    StoreHit,
    decide,
)
from cephstorage.domain.errors import Unavailable
from cephstorage.domain.mirrors import read_target
from cephstorage.domain.policy import Mode
from cephstorage.domain.records import ListQuery, Record
from cephstorage.domain.variants import MOST, Values, alike, fill_headers, variant_of, variant_prefix, varies_of
from cephstorage.proxy.exchange import FORWARDED, Exchange, Request
from cephstorage.proxy.going_on import CutOff, Rest
from cephstorage.proxy.mirror_access import MirrorAccess
from cephstorage.proxy.mirror_copies import StoredCopies
from cephstorage.proxy.mirror_fills import FollowedFills, Pursuit, refused
from cephstorage.proxy.mirror_heads import AskedHeads
from cephstorage.proxy.mirror_passing import PassingThrough
from cephstorage.proxy.mirror_request import Asked, MirrorParts

PREFIX = "/mirrors/proxy/"
_ROUND_WAIT = 0.1
_LONGEST_WAIT = 0.5
_MOST_SENDERS = 5
"""How many processes may die while they send one answer."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Found:
    """What was asked for to decide a request; see ``Facts``."""

    record: Record | None
    unlike: Record | None
    crowded: bool
    continues: bool
    filled_elsewhere: bool = False


class MirrorProxy:
    """Serves mirror traffic."""

    def __init__(self, parts: MirrorParts) -> None:
        self._parts = parts
        self._access = MirrorAccess(parts.access, parts.publishing)
        self._passing = PassingThrough(parts)
        self._fills = FollowedFills(parts, StoredCopies(parts), self._passing)
        self._heads = AskedHeads(parts, self._fills, self._passing)

    def answers(self, host: str) -> bool:
        """Whether a request with this Host header is mirror traffic."""
        return self._parts.mirrors.of_host(host) is not None

    async def serve(self, exchange: Exchange) -> None:
        """Answer one request. Raises errors of the tree."""
        try:
            await self._answer(exchange)
        except CutOff as cut:
            await self._go_on(exchange, cut)

    async def _go_on(self, exchange: Exchange, cut: CutOff) -> None:
        """Send the rest of an answer whose sender has gone, by whoever has it now. Raises errors of the tree."""
        rest = Rest(exchange, cut.promise)
        for _ in range(_MOST_SENDERS):
            log.info("answer_goes_on", host=exchange.request.host, target=exchange.request.raw_path, sent=exchange.sent)
            with contextlib.suppress(CutOff):
                await self._answer(rest.asked())
            if rest.done:
                await exchange.end()
                return
        raise cut.error

    async def _answer(self, exchange: Exchange) -> None:
        request = exchange.request
        exchange.explain = lambda code: self._parts.marks(f"detail={code}")
        mirror = self._parts.mirrors.require(request.host)
        exchange.mirror = mirror.host
        path = request.raw_path
        path = path[len(PREFIX) - 1 :] if path.startswith(PREFIX) else path
        query = await self._access.admit(exchange, mirror, path)
        asked = Asked(mirror, *read_target(path, query, mirror))
        deadline, wait = time.monotonic() + self._parts.patience, _ROUND_WAIT
        if exchange.ours and mirror.private:
            deadline = math.inf  # it waits for as long as another process fills the key
        while time.monotonic() < deadline:
            chosen, facts = await self.gather(request, asked, continues=exchange.continues)
            decision = decide(facts)
            exchange.decision = type(decision).__name__
            if await self._perform(exchange, chosen, decision):
                self._parts.on_answer(exchange.decision)
                return
            await asyncio.sleep(wait)
            wait = min(_LONGEST_WAIT, 1.2 * wait)
        raise Unavailable("The process that fills this key does not answer; try again.", retry_after=2)

    async def _is_crowded(self, asked: Asked) -> bool:
        """Whether as many variants of an address are stored as may be."""
        key = (asked.target.key or "").rpartition(variant_prefix(""))[0]
        query = ListQuery(vfolder=None, prefix=variant_prefix(key), limit=MOST)
        return len((await self._parts.keys.listing(asked.mirror.bucket, query)).keys) >= MOST

    async def gather(
        self, request: Request, asked: Asked, *, continues: bool = False, thorough: bool = False
    ) -> tuple[Asked, Facts]:
        """Everything the decision needs, asked once; with the request for the variant that Vary leads it to.

        What this process knows by heart is looked at last, in one moment with the decision. A fill that
        landed just before is no danger: beginning another one fails, because the key has moved. Whether another
        process fills the key is asked only where beginning a fill would not tell just as well, or to be ``thorough``.
        """
        parts, sent = self._parts, fill_headers(asked.policy, request.headers)
        record = await self._record(asked)
        if asked.policy.mode is Mode.ORIGIN and (variant := _variant(asked, record, sent)) is not None:
            asked = variant
            record = await self._record(asked)
        bucket, key = asked.mirror.bucket, asked.target.key
        unlike = record if not alike(_varies(record), sent) else None
        record = record if unlike is None else None
        crowded = asked.variant and record is None and unlike is None and await self._is_crowded(asked)
        found = Found(record, unlike, crowded=crowded, continues=continues)
        facts = self._facts(request, asked, found)
        if facts.filling or record is not None or key is None:
            return asked, facts
        if not thorough and isinstance(decide(facts), StartFill):
            return asked, facts
        elsewhere = await parts.ledger.fill_owner(bucket, key, parts.clock()) is not None
        return asked, self._facts(request, asked, replace(found, filled_elsewhere=elsewhere))

    def _facts(self, request: Request, asked: Asked, found: Found) -> Facts:
        """What was found, with what this process knows by heart."""
        parts, bucket, key, record = self._parts, asked.mirror.bucket, asked.target.key, found.record
        live = parts.engine.live(bucket, key) if key is not None else None
        return Facts(
            method=request.method,
            target=asked.target,
            policy=asked.policy if record is None else asked.answered(200, record.content_type).policy,
            headers=request.headers,
            record=record,
            filling=live is not None or found.filled_elsewhere,
            filling_target=live.request.target if live is not None else None,
            now=parts.clock(),
            cooling_until=parts.engine.cooling_until(bucket, key) if key is not None else 0.0,
            loop=self._is_loop(request.headers),
            continues=found.continues,
            unlike=found.unlike,
            crowded=found.crowded,
            absence=parts.absences.find(asked.mirror, asked.target.canonical) if record is None else None,
        )

    async def _record(self, asked: Asked) -> Record | None:
        """What is stored for a request."""
        if asked.target.key is None or asked.policy.mode is Mode.BYPASS:
            return None
        return await self._parts.keys.get(asked.mirror.bucket, asked.target.key)

    def _is_loop(self, headers: dict[str, str]) -> bool:
        passed = f"{headers.get('cdn-loop', '')},{headers.get('via', '')}".replace(",", " ").split()
        return FORWARDED not in headers and self._parts.via_name in passed

    async def _perform(self, exchange: Exchange, asked: Asked, decision: Decision) -> bool:
        """Do what was decided; False when the facts have changed and must be gathered again."""
        match decision:
            case Refuse(code, msg, retry_after):
                await exchange.refuse(code, msg, retry_after)
            case KnownAbsent(absence):
                age = ("age", str(max(0, int(self._parts.clock() - absence.since))))
                await refused(
                    exchange,
                    asked,
                    absence,
                    [age, *self._parts.marks(f"hit{'; detail=negative' if absence.status in ABSENT else ''}")],
                )
            case PassThrough(reason):
                await self._passing.send(exchange, asked, reason)
            case StoreHit(record, stale, refresh):
                if refresh:
                    self._fills.refresh(exchange, asked, record)
                return await self._fills.stored(
                    exchange, asked, record, f"hit; detail=stale-{stale}" if stale else "hit"
                )
            case Revalidate(record, asked_for):
                why = "request" if asked_for else "stale"
                return await self._fills.follow(Pursuit(exchange, asked, record, why=why))
            case AskHead(record, asked_for):
                why = "request" if asked_for else "stale"
                return await self._heads.ask(Pursuit(exchange, asked, record, why=why), record)
            case JoinFill(stored):
                why = "stale" if stored is not None else "uri-miss"
                return await self._fills.follow(Pursuit(exchange, asked, stored, why=why))
            case StartFill(replacing):
                why = "vary-miss" if asked.variant or replacing is not None else "uri-miss"
                return await self._fills.follow(Pursuit(exchange, asked, lost=replacing, why=why))
        return True


def _varies(record: Record | None) -> Values:
    return varies_of(record.origin) if record is not None else ()


def _variant(asked: Asked, record: Record | None, sent: tuple[tuple[str, str], ...]) -> Asked | None:
    """The request for another variant, where the copy under the key answers other requests."""
    values = _varies(record)
    if alike(values, sent) or ("*", None) in values:
        return None
    return replace(asked, target=variant_of(asked.target, values, sent), variant=True)
