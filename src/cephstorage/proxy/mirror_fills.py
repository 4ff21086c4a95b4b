"""Following a fill: begin or join it, read along, and act on what the origin answered.

The copy that is stored already stands behind everything here: it is what a client gets when the origin fails.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from cephstorage.domain.absences import Absence, repeatable
from cephstorage.domain.decision import JoinFill, is_failure, stands_in
from cephstorage.domain.errors import (
    CephStorageError,
    OriginChanged,
    OriginUnreachable,
    StaleForbidden,
    StoredBytesMissing,
)
from cephstorage.domain.freshness import freshness_of_answer
from cephstorage.domain.mirrors import source_url
from cephstorage.domain.policy import Mode
from cephstorage.domain.ranges import RangeRequest, parse_range
from cephstorage.domain.records import OriginFacts, Record
from cephstorage.domain.transfers import Kind, SourceFacts, TransferRequest
from cephstorage.domain.validators import Outcome
from cephstorage.domain.variants import alike, fill_headers, varies_of
from cephstorage.proxy.answer import LiveBytes, judge, of_source, send
from cephstorage.proxy.exchange import Exchange
from cephstorage.proxy.forward import Forwarding
from cephstorage.proxy.mirror_copies import StoredCopies
from cephstorage.proxy.mirror_passing import PassingThrough
from cephstorage.proxy.mirror_request import Asked, MirrorParts, guarded
from cephstorage.proxy.passthrough import header
from cephstorage.services.confirmations import confirmed_record, note_confirmation
from cephstorage.transfer.engine import Elsewhere, KeyMoved
from cephstorage.transfer.fetch import SEGMENT
from cephstorage.transfer.live import Confirmed, Flowing, Landed, LiveTransfer, NotStored, Refused

log = structlog.get_logger()

_BETWEEN_READERS = 1.0
_BETWEEN_SLICES = 30.0
"""Seconds without a reader after which nobody reads a fill any more; an edge asks for a slice after its client has taken the last."""


@dataclass(frozen=True, slots=True)
class Pursuit:
    """One request that needs the origin.

    ``stored`` is the copy to fall back on; ``lost`` one that can't be used, to be replaced. ``why`` is what Cache-Status
    calls the reason (``fwd`` of RFC 9211 section 2.2).
    """

    exchange: Exchange
    asked: Asked
    stored: Record | None = None
    lost: Record | None = None
    why: str = "uri-miss"


class FollowedFills:
    """Lets requests follow the fill of their key. Each method returns False when the key must be looked at again."""

    def __init__(self, parts: MirrorParts, copies: StoredCopies, passing: PassingThrough) -> None:
        self._parts = parts
        self._copies = copies
        self._passing = passing
        self._forwarding = Forwarding(parts.peers, parts.ledger, parts.engine.owner, parts.clock)
        self._refreshing: set[asyncio.Task[None]] = set()

    async def stored(self, exchange: Exchange, asked: Asked, record: Record, status: str) -> bool:
        """Answer with the stored copy; one whose bytes the store has lost is filled anew."""
        try:
            return await self._copies.send(exchange, asked, record, status)
        except StoredBytesMissing as error:
            log.error("stored_bytes_missing", bucket=str(record.bucket), key=record.key, msg=error.msg)
            return await self.follow(Pursuit(exchange, asked, lost=record))

    def refresh(self, exchange: Exchange, asked: Asked, record: Record) -> None:
        """Ask the origin about a copy that is served meanwhile (RFC 5861 section 3). One question a key, as for fills."""
        task = asyncio.create_task(self._refresh(fill_request(exchange, asked, record), record))
        self._refreshing.add(task)
        task.add_done_callback(self._refreshing.discard)

    async def _refresh(self, request: TransferRequest, record: Record) -> None:
        try:
            live = await self._parts.engine.fill(request, None, conditions(record))
            if isinstance(live, LiveTransfer) and live.is_first_reader():
                head = await live.head()
                if isinstance(head, Confirmed):
                    await note_confirmation(self._parts.keys, record, head.facts, self._parts.clock())
                live.drop_untaken()
        except CephStorageError as error:
            log.warning("refresh_failed", bucket=str(record.bucket), key=record.key, code=error.code, msg=error.msg)

    async def follow(self, pursuit: Pursuit) -> bool:
        """Begin or join the fill and read along."""
        exchange, asked, stored = pursuit.exchange, pursuit.asked, pursuit.stored
        exchange.lifetime = 0
        request = fill_request(exchange, asked, stored or pursuit.lost)
        running = self._parts.engine.live(request.bucket, request.key)
        late = running is not None and running.answered
        try:
            live = await self._parts.engine.fill(request, _first_range(exchange), conditions(stored))
            if isinstance(live, KeyMoved):
                return False
            if isinstance(live, Elsewhere) and exchange.ours and asked.mirror.private:
                return False  # a visit has no token to show to another process: it waits
            if isinstance(live, Elsewhere):
                exchange.decision = JoinFill.__name__
                return await self._forwarding.ask(exchange, asked.mirror.bucket, asked.target.key or "", live.owner)
            return await self._read_along(pursuit, live, late=late)
        except CephStorageError as error:
            if isinstance(error, OriginChanged) and stored is None and not exchange.started:
                return False  # nothing of the old version was sent: the new one serves as well
            if stored is None or exchange.started or isinstance(error, StaleForbidden):
                raise
            return await self.stale(pursuit, stored, error)

    async def stale(self, pursuit: Pursuit, stored: Record, error: CephStorageError) -> bool:
        """A stored copy beats any origin error, unless the mode obeys an origin that forbids it."""
        if not self._stands_in(pursuit, stored):
            raise StaleForbidden(
                f"The origin wants its stored answer confirmed before it is used, and gives no word. {error.msg}",
                retry_after=error.retry_after,
            ) from error
        return await self.stored(pursuit.exchange, pursuit.asked, stored, f"hit; detail=stale-{error.code}")

    def _stands_in(self, pursuit: Pursuit, stored: Record) -> bool:
        headers = pursuit.exchange.request.headers
        return stands_in(pursuit.asked.policy, stored, headers, self._parts.clock())

    def cover(self, pursuit: Pursuit, status: int) -> Record | None:
        """The copy that stands in for an answer with this status; None when the answer counts."""
        stored = pursuit.stored
        if stored is None or not is_failure(pursuit.asked.policy.mode, status):
            return None
        return stored if self._stands_in(pursuit, stored) else None

    async def _read_along(self, pursuit: Pursuit, live: LiveTransfer, *, late: bool) -> bool:
        """``late``: the answer was there before the request came."""
        live.spool.borrow()
        live.readers += 1
        live.kept |= pursuit.exchange.ours
        first = live.is_first_reader()
        try:
            head = await live.head()
            match head:
                case Flowing(source):
                    await self._flowing(pursuit, live, source, collapsed=not first)
                    return True
                case Confirmed(facts):
                    return await self._confirmed(pursuit, live, facts, first=first)
                case NotStored():
                    return await self._not_stored(pursuit, head, theirs=not first and self._differs(pursuit, live))
                case Landed():
                    return False
                case Refused() if late:
                    return False  # the error belongs to those who waited for it; the fill is about to end
                case Refused():
                    return await self._refused(pursuit, head, theirs=not first and self._differs(pursuit, live))
        finally:
            live.spool.close()
            self._parts.engine.left(live, _BETWEEN_SLICES if pursuit.exchange.sliced else _BETWEEN_READERS)

    def _differs(self, pursuit: Pursuit, live: LiveTransfer) -> bool:
        """Whether the origin was asked with other headers than this request would have shown it."""
        return fill_headers(pursuit.asked.policy, pursuit.exchange.request.headers) != live.request.headers

    async def _flowing(self, pursuit: Pursuit, live: LiveTransfer, source: SourceFacts, *, collapsed: bool) -> None:
        exchange, asked = pursuit.exchange, pursuit.asked
        if live.request.target != asked.target.canonical:
            await self._passing.send(exchange, asked, "target")
            return
        if not alike(varies_of(source.origin), fill_headers(asked.policy, exchange.request.headers)):
            await self._passing.send(exchange, asked, "vary")
            return
        asked = asked.answered(200, source.content_type)
        shown = guarded(exchange, asked, of_source(source, live.length))
        answer = judge(exchange, shown, whole=not collapsed)
        body = LiveBytes(live, answer.span.end if answer.span is not None else None)
        if exchange.sliced and not exchange.whole_will_do and answer.outcome is Outcome.PARTIAL and answer.span:
            await exchange.unless_gone(body.whole(answer.span))
        else:
            exchange.flows = not live.complete
        status = f"fwd={pursuit.why}{'; collapsed' if collapsed else ''}; stored"
        await send(exchange, shown, body, answer, [*self._age(asked, source), *self._parts.marks(status)])

    def _age(self, asked: Asked, source: SourceFacts) -> list[tuple[str, str]]:
        """Age of what a cache on the way has kept already, or what this fill began to read a while ago."""
        if source.origin is None or not source.origin.response_time:
            return []
        age = int(freshness_of_answer(source.origin, self._parts.clock()).age)
        return [("age", str(age))] if asked.policy.mode is Mode.ORIGIN or source.origin.age else []

    async def _confirmed(self, pursuit: Pursuit, live: LiveTransfer, facts: OriginFacts, *, first: bool) -> bool:
        """The origin said 304: the stored copy is as good as new."""
        asked, now = pursuit.asked, self._parts.clock()
        assert asked.target.key is not None
        record = await self._parts.keys.get(asked.mirror.bucket, asked.target.key)
        if record is None or record.generation != live.request.seen_generation:
            return False
        fresh = confirmed_record(record, facts, now)
        if first:
            fresh = await note_confirmation(self._parts.keys, record, facts, now)
        collapsed = "" if first else "; collapsed"
        return await self.stored(pursuit.exchange, asked, fresh, f"fwd={pursuit.why}; fwd-status=304{collapsed}")

    async def _not_stored(self, pursuit: Pursuit, head: NotStored, *, theirs: bool) -> bool:
        """``theirs``: the answer was asked for as somebody else would have it."""
        exchange, asked = pursuit.exchange, pursuit.asked
        response = head.take() if not theirs else None
        if response is not None and exchange.sliced and response.status == 206:
            await response.close()
            response = None
        if (cover := self.cover(pursuit, head.status)) is not None:
            if response is not None:
                await response.close()
            return await self.stale(pursuit, cover, OriginUnreachable(f"The origin answered {head.status}."))
        if response is None:
            await self._passing.send(exchange, asked, head.reason)
        else:
            why = f"fwd={pursuit.why}; fwd-status={head.status}; detail={head.reason}"
            await self._passing.hand_on(exchange, asked, response, why)
        return True

    async def _refused(self, pursuit: Pursuit, head: Refused, *, theirs: bool) -> bool:
        if (cover := self.cover(pursuit, head.status)) is not None:
            return await self.stale(pursuit, cover, OriginUnreachable(f"The origin answered {head.status}."))
        if theirs and header(head.headers, "vary"):
            await self._passing.send(pursuit.exchange, pursuit.asked, "vary")
            return True
        self._remember(pursuit.asked, head)
        marks = self._parts.marks(f"fwd={pursuit.why}; fwd-status={head.status}")
        await refused(pursuit.exchange, pursuit.asked, head, marks)
        return True

    def _remember(self, asked: Asked, head: Refused) -> None:
        """Keep an answer in mind for as long as a rule or the origin says."""
        policy = asked.answered(head.status, header(head.headers, "content-type")).policy
        if (times := repeatable(policy, head.status, head.headers, self._parts.clock())) is not None:
            headers = tuple(pair for pair in head.headers if pair[0].lower() != "age")  # it will have grown
            absence = Absence(head.status, headers, head.body, *times)
            self._parts.absences.remember(asked.mirror, asked.target.canonical, absence)


async def refused(
    exchange: Exchange, asked: Asked, answer: Refused | Absence, extra: Sequence[tuple[str, str]]
) -> None:
    """Hand on an origin's answer that is an error and held whole."""
    asked = asked.answered(answer.status, header(answer.headers, "content-type"))
    headers = [pair for pair in asked.end_to_end(answer.headers) if pair[0].lower() != "set-cookie"]
    await exchange.whole(answer.status, [*headers, *extra], answer.body)


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


def fill_request(exchange: Exchange, asked: Asked, stored: Record | None) -> TransferRequest:
    """The fill that a request wants. ``stored`` is the version that it means to replace."""
    assert asked.target.key is not None
    return TransferRequest(
        Kind.FILL,
        asked.mirror.bucket,
        asked.target.key,
        url=source_url(asked.mirror, asked.policy, asked.target),
        mirror_host=asked.mirror.host,
        target=asked.target.canonical,
        seen_generation=stored.generation if stored is not None else 0,
        rewrite_links=asked.policy.rewrite_links,
        terms=asked.mirror.terms_for(asked.target.path),
        headers=fill_headers(asked.policy, exchange.request.headers),
    )


def conditions(stored: Record | None) -> dict[str, str]:
    """The conditional headers that ask whether a stored copy is still good (RFC 9111 section 4.3.1)."""
    if stored is None or stored.origin is None:
        return {}
    validators = stored.origin.validators
    pairs = (("If-None-Match", validators.etag), ("If-Modified-Since", validators.last_modified))
    return {name: value for name, value in pairs if value is not None}
