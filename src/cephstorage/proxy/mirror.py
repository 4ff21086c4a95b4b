"""The mirror: gather facts once, ask the pure decision, perform what it says."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from cephstorage.domain.access import Action
from cephstorage.domain.decision import (
    Decision,
    Facts,
    JoinFill,
    PassThrough,
    Refuse,
    Revalidate,
    StartFill,
    StoreHit,
    decide,
)
from cephstorage.domain.errors import (
    CephStorageError,
    OriginChanged,
    OriginUnreachable,
    StoredBytesMissing,
    StoreUnavailable,
    Unavailable,
)
from cephstorage.domain.handover import edge_lifetime
from cephstorage.domain.mirrors import Mirror, Target, read_target, source_url
from cephstorage.domain.policy import Cookies, Mode, Policy
from cephstorage.domain.ranges import RangeRequest, parse_range
from cephstorage.domain.records import Record
from cephstorage.domain.transfers import Kind, TransferRequest
from cephstorage.domain.validators import Outcome, is_strong, valid_etag
from cephstorage.ports.index import KeyIndex, TransferLedger
from cephstorage.ports.origin import Origin, OriginRequest, OriginResponse
from cephstorage.ports.peers import Peers
from cephstorage.proxy.answer import LiveBytes, Representation, judge, of_record, of_source, send
from cephstorage.proxy.detour import Detour
from cephstorage.proxy.exchange import Exchange, Request
from cephstorage.proxy.forward import CACHE, FORWARDED, Forwarding
from cephstorage.proxy.passthrough import end_to_end, hand_on, passed_headers
from cephstorage.proxy.stored import Dressed, StoredAnswers
from cephstorage.services.access import Access
from cephstorage.services.mirrors import Mirrors
from cephstorage.transfer.engine import Elsewhere, KeyMoved, TransferEngine
from cephstorage.transfer.fetch import SEGMENT
from cephstorage.transfer.intake import answers_range
from cephstorage.transfer.live import Confirmed, Flowing, LiveTransfer, NotStored, Refused

log = structlog.get_logger()

PREFIX = "/mirrors/proxy/"
_ROUND_WAIT = 0.1
_LONGEST_WAIT = 0.5


@dataclass(slots=True)
class MirrorParts:
    """What the mirror stands on."""

    mirrors: Mirrors
    access: Access
    keys: KeyIndex
    ledger: TransferLedger
    stored: StoredAnswers
    origin: Origin
    peers: Peers
    engine: TransferEngine
    via_name: str
    clock: Callable[[], float]
    patience: float
    """Seconds in which a fill whose owner can't be reached has another one: a lease, and a little."""
    on_answer: Callable[[str], None] = lambda _: None
    """Told what was decided, for every answer."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A mirror request, read."""

    mirror: Mirror
    target: Target
    policy: Policy


class MirrorProxy:
    """Serves mirror traffic."""

    def __init__(self, parts: MirrorParts) -> None:
        self._parts = parts
        self._forwarding = Forwarding(parts.peers, parts.ledger, parts.engine.owner, parts.clock)
        self._detour = Detour(parts.origin)

    def answers(self, host: str) -> bool:
        """Whether a request with this Host header is mirror traffic."""
        return self._parts.mirrors.of_host(host) is not None

    async def serve(self, exchange: Exchange) -> None:
        """Answer one request. Raises errors of the tree."""
        request = exchange.request
        exchange.explain = lambda code: self._marks(f"detail={code}")
        mirror = self._parts.mirrors.require(request.host)
        if mirror.private:
            principal = await self._parts.access.authenticate(request.headers.get("authorization"))
            principal.require(Action.READ, mirror.bucket.username)
        path = request.raw_path
        path = path[len(PREFIX) - 1 :] if path.startswith(PREFIX) else path
        asked = Asked(mirror, *read_target(path, request.raw_query, mirror))
        deadline, wait = time.monotonic() + self._parts.patience, _ROUND_WAIT
        while time.monotonic() < deadline:
            facts = await self.gather(request, asked, continues=exchange.continues)
            decision = decide(facts)
            if await self._perform(exchange, asked, decision):
                self._parts.on_answer(type(decision).__name__)
                return
            await asyncio.sleep(wait)
            wait = min(_LONGEST_WAIT, 1.2 * wait)
        raise Unavailable("The process that fills this key does not answer; try again.", retry_after=2)

    async def gather(self, request: Request, asked: Asked, *, continues: bool = False) -> Facts:
        """Everything the decision needs, asked once.

        What this process knows by heart is looked at last, in one moment with the decision. A fill that
        landed just before is no danger: beginning another one fails, because the key has moved.
        """
        parts = self._parts
        bucket, key = asked.mirror.bucket, asked.target.key
        record = await parts.keys.get(bucket, key) if key is not None and asked.policy.mode is not Mode.BYPASS else None
        live = parts.engine.live(bucket, key) if key is not None else None
        filling = live is not None
        if live is None and record is None and key is not None:
            filling = await parts.ledger.fill_owner(bucket, key, parts.clock()) is not None
        return Facts(
            method=request.method,
            target=asked.target,
            policy=asked.policy,
            headers=request.headers,
            record=record,
            filling=filling,
            filling_target=live.request.target if live is not None else None,
            now=parts.clock(),
            cooling_until=parts.engine.cooling_until(bucket, key) if key is not None else 0.0,
            loop=self._is_loop(request.headers),
            continues=continues,
        )

    def _is_loop(self, headers: dict[str, str]) -> bool:
        passed = f"{headers.get('cdn-loop', '')},{headers.get('via', '')}".replace(",", " ").split()
        return FORWARDED not in headers and self._parts.via_name in passed

    async def _perform(self, exchange: Exchange, asked: Asked, decision: Decision) -> bool:
        """Do what was decided; False when the facts have changed and must be gathered again."""
        match decision:
            case Refuse(code, msg, retry_after):
                await exchange.refuse(code, msg, retry_after)
            case PassThrough(reason):
                await self._pass_through(exchange, asked, reason)
            case StoreHit(record, stale):
                detail = f"hit; detail=stale-{stale}" if stale else "hit"
                return await self._store_hit(exchange, asked, record, detail)
            case Revalidate(record):
                return await self._follow(exchange, asked, record)
            case JoinFill(stored):
                return await self._follow(exchange, asked, stored)
            case StartFill():
                return await self._follow(exchange, asked, None)
        return True

    async def _store_hit(self, exchange: Exchange, asked: Asked, record: Record, status: str) -> bool:
        if exchange.edge is not None and (exchange.edge.store_failed or 0) >= 500:
            if await self._around_store(exchange, asked, record):
                return True
        try:
            return await self._parts.stored.send(
                exchange, record, lambda found: self._dressed(exchange, asked, found, status)
            )
        except StoredBytesMissing as error:
            log.error("stored_bytes_missing", bucket=str(record.bucket), key=record.key, msg=error.msg)
            return await self._follow(exchange, asked, None, lost=record)
        except StoreUnavailable:
            if exchange.started or not await self._around_store(exchange, asked, record):
                raise
            return True

    def _dressed(self, exchange: Exchange, asked: Asked, record: Record, status: str) -> Dressed:
        """A stored copy as the client of this mirror sees it."""
        now = self._parts.clock()
        shown = _guarded(exchange, asked, of_record(record))
        if asked.policy.mode is Mode.IMMUTABLE and not any(
            name.lower() == "cache-control" for name, _ in shown.headers
        ):
            shown = replace(shown, headers=(*shown.headers, ("cache-control", "public, max-age=31536000, immutable")))
        extra = [("age", str(max(0, int(now - record.validated_at)))), *self._marks(status)]
        written = exchange.request.written
        lifetime = edge_lifetime(asked.mirror, asked.policy, asked.target, written, record, now)
        return Dressed(shown, extra, lifetime)

    async def _around_store(self, exchange: Exchange, asked: Asked, record: Record) -> bool:
        """The store does not answer: the same version from the origin; False when it has another, or does not answer."""
        if asked.policy.rewrite_links is not None:
            return False
        dressed = self._dressed(exchange, asked, record, "hit; fwd=bypass; detail=store_unavailable")
        url = source_url(asked.mirror, asked.policy, asked.target)
        return await self._detour.send(exchange, url, record, dressed.shown, dressed.extra)

    async def _follow(
        self, exchange: Exchange, asked: Asked, stored: Record | None, *, lost: Record | None = None
    ) -> bool:
        """Begin or join the fill and read along.

        ``stored`` is the copy to fall back on; ``lost`` one whose bytes the store has lost, to be replaced.
        """
        exchange.lifetime = 0
        first_range = _first_range(exchange)
        try:
            live = await self._parts.engine.fill(_fill_request(asked, stored or lost), first_range, _conditions(stored))
            if isinstance(live, KeyMoved):
                return False
            if isinstance(live, Elsewhere):
                return await self._forwarding.ask(exchange, asked.mirror.bucket, asked.target.key or "", live.owner)
            return await self._read_along(exchange, asked, live, stored)
        except CephStorageError as error:
            if isinstance(error, OriginChanged) and stored is None and not exchange.started:
                return False  # nothing of the old version was sent: the new one serves as well
            if stored is None or exchange.started:
                raise
            return await self._stale(exchange, asked, stored, error)

    async def _stale(self, exchange: Exchange, asked: Asked, stored: Record, error: CephStorageError) -> bool:
        """A stored copy beats any origin error."""
        return await self._store_hit(exchange, asked, stored, f"hit; detail=stale-{error.code}")

    async def _read_along(self, exchange: Exchange, asked: Asked, live: LiveTransfer, stored: Record | None) -> bool:
        live.spool.borrow()
        late = live.answered
        try:
            head = await live.head()
            match head:
                case Flowing(source):
                    if live.request.target != asked.target.canonical:
                        await self._pass_through(exchange, asked, "target")
                        return True
                    shown = _guarded(exchange, asked, of_source(source, live.length))
                    answer = judge(exchange, shown)
                    body = LiveBytes(live, answer.span.end if answer.span is not None else None)
                    if exchange.sliced and answer.outcome is Outcome.PARTIAL and answer.span is not None:
                        await exchange.unless_gone(body.whole(answer.span))
                    await send(exchange, shown, body, answer, self._marks("fwd=uri-miss; stored"))
                    return True
                case Confirmed():
                    return await self._confirmed(exchange, asked)
                case NotStored():
                    return await self._not_stored(exchange, asked, head, stored)
                case Refused() if late:
                    return False  # the error belongs to those who waited for it; the fill is about to end
                case Refused():
                    return await self._refused(exchange, asked, head, stored)
        finally:
            live.spool.close()

    async def _confirmed(self, exchange: Exchange, asked: Asked) -> bool:
        """The origin said 304: the stored copy is as good as new."""
        assert asked.target.key is not None
        now = self._parts.clock()
        record = await self._parts.keys.get(asked.mirror.bucket, asked.target.key)
        if record is None:
            return False
        await self._parts.keys.touch(record.bucket, record.key, record.generation, now)
        fresh = replace(record, validated_at=now)
        return await self._store_hit(exchange, asked, fresh, "hit; fwd=stale; fwd-status=304")

    async def _not_stored(self, exchange: Exchange, asked: Asked, head: NotStored, stored: Record | None) -> bool:
        response = head.take()
        if response is not None and exchange.sliced and response.status == 206:
            await response.close()
            response = None
        if stored is not None and head.status >= 400:
            if response is not None:
                await response.close()
            return await self._stale(exchange, asked, stored, OriginUnreachable(f"The origin answered {head.status}."))
        if response is None:
            await self._pass_through(exchange, asked, head.reason)
        else:
            await hand_on(exchange, response, self._marks(f"fwd=uri-miss; detail={head.reason}"))
        return True

    async def _refused(self, exchange: Exchange, asked: Asked, head: Refused, stored: Record | None) -> bool:
        if stored is not None:
            return await self._stale(exchange, asked, stored, OriginUnreachable(f"The origin answered {head.status}."))
        headers = [pair for pair in end_to_end(head.headers) if pair[0].lower() != "set-cookie"]
        marks = self._marks(f"fwd=uri-miss; fwd-status={head.status}")
        await exchange.whole(head.status, [*headers, *marks], head.body)
        return True

    async def _pass_through(self, exchange: Exchange, asked: Asked, reason: str) -> None:
        """Hand the origin's answer on."""
        request = exchange.request
        whole = request.method != "GET" or (exchange.sliced and not _asked_for_a_range(exchange))
        wanted = OriginRequest(
            source_url(asked.mirror, asked.policy, asked.target),
            method=request.method,
            headers=(*passed_headers(request.headers, asked.policy.pass_headers), *_trail(request.headers)),
            range=None if whole else parse_range(request.headers.get("range")),
            if_range=None if whole else request.headers.get("if-range"),
        )
        response = await self._parts.origin.open(wanted)
        if response.status == 206 and not (answers_range(response, wanted) and _joinable(exchange, response)):
            await response.close()
            response = await self._parts.origin.open(replace(wanted, range=None, if_range=None))
        await hand_on(exchange, response, self._marks(f"fwd=bypass; detail={reason}"))

    def _marks(self, status: str) -> list[tuple[str, str]]:
        """Every answer explains itself: Cache-Status (RFC 9211) and Via (RFC 9110 section 7.6.3)."""
        return [("cache-status", f"{CACHE}; {status}"), ("via", f"1.1 {self._parts.via_name}")]


def _asked_for_a_range(exchange: Exchange) -> bool:
    """Whether a slice is not the first, so that the edge's client has asked for a range.

    For the first one the edge gets all: it can't tell a slice of what is not stored from a whole body.
    """
    wanted = parse_range(exchange.request.headers.get("range"))
    return wanted is not None and bool(wanted.first)


def _joinable(exchange: Exchange, response: OriginResponse) -> bool:
    """Whether the edge may put a 206 beside other slices: by its ETag it sees that they are of one version."""
    etag = valid_etag(response.headers.get("etag"))
    return not exchange.sliced or (etag is not None and is_strong(etag))


def _first_range(exchange: Exchange) -> RangeRequest | None:
    """The client's range when it should be fetched first: it lies far ahead, or is a large piece among others.

    A piece that is asked for as such can be joined with the others without a byte twice; a whole answer
    that is cut short has sent some already.
    """
    headers = exchange.request.headers
    wanted = parse_range(headers.get("range")) if "if-range" not in headers else None
    if wanted is None or wanted.first is None or wanted.first >= SEGMENT:
        return wanted
    return wanted if wanted.last is not None and wanted.last >= SEGMENT else None


def _guarded(exchange: Exchange, asked: Asked, shown: Representation) -> Representation:
    """What a private mirror shows through the edge: no cache of anybody else's on the way may keep it."""
    if not asked.mirror.private or exchange.edge is None:
        return shown
    kept = tuple(pair for pair in shown.headers if pair[0].lower() not in {"cache-control", "expires"})
    return replace(shown, headers=(*kept, ("cache-control", "private")))


def _fill_request(asked: Asked, stored: Record | None) -> TransferRequest:
    assert asked.target.key is not None
    return TransferRequest(
        Kind.FILL,
        asked.mirror.bucket,
        asked.target.key,
        url=source_url(asked.mirror, asked.policy, asked.target),
        mirror_host=asked.mirror.host,
        target=asked.target.canonical,
        seen_generation=stored.generation if stored is not None else 0,
        drop_cookies=asked.policy.cookies is Cookies.DROP,
        rewrite_links=asked.policy.rewrite_links,
    )


def _conditions(stored: Record | None) -> dict[str, str]:
    """The conditional headers that ask whether a stored copy is still good (RFC 9111 section 4.3.1)."""
    if stored is None or stored.origin is None:
        return {}
    validators = stored.origin.validators
    pairs = (("If-None-Match", validators.etag), ("If-Modified-Since", validators.last_modified))
    return {name: value for name, value in pairs if value is not None}


def _trail(headers: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, headers[name]) for name in ("via", "cdn-loop") if name in headers)
