"""Following a fill: begin or join it, read along, and act on what the origin answered.

The copy that is stored already stands behind everything here: it is what a client gets when the origin fails.
"""

from dataclasses import replace

import structlog

from cephstorage.domain.errors import CephStorageError, OriginChanged, OriginUnreachable, StoredBytesMissing
from cephstorage.domain.mirrors import source_url
from cephstorage.domain.ranges import RangeRequest, parse_range
from cephstorage.domain.records import Record
from cephstorage.domain.transfers import Kind, TransferRequest
from cephstorage.domain.validators import Outcome
from cephstorage.proxy.answer import LiveBytes, judge, of_source, send
from cephstorage.proxy.exchange import Exchange
from cephstorage.proxy.forward import Forwarding
from cephstorage.proxy.mirror_copies import StoredCopies
from cephstorage.proxy.mirror_passing import PassingThrough
from cephstorage.proxy.mirror_request import Asked, MirrorParts, guarded
from cephstorage.transfer.engine import Elsewhere, KeyMoved
from cephstorage.transfer.fetch import SEGMENT
from cephstorage.transfer.live import Confirmed, Flowing, LiveTransfer, NotStored, Refused

log = structlog.get_logger()


class FollowedFills:
    """Lets requests follow the fill of their key. Each method returns False when the key must be looked at again."""

    def __init__(self, parts: MirrorParts, copies: StoredCopies, passing: PassingThrough) -> None:
        self._parts = parts
        self._copies = copies
        self._passing = passing
        self._forwarding = Forwarding(parts.peers, parts.ledger, parts.engine.owner, parts.clock)

    async def stored(self, exchange: Exchange, asked: Asked, record: Record, status: str) -> bool:
        """Answer with the stored copy; one whose bytes the store has lost is filled anew."""
        try:
            return await self._copies.send(exchange, asked, record, status)
        except StoredBytesMissing as error:
            log.error("stored_bytes_missing", bucket=str(record.bucket), key=record.key, msg=error.msg)
            return await self.follow(exchange, asked, None, lost=record)

    async def follow(
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
        return await self.stored(exchange, asked, stored, f"hit; detail=stale-{error.code}")

    async def _read_along(self, exchange: Exchange, asked: Asked, live: LiveTransfer, stored: Record | None) -> bool:
        live.spool.borrow()
        late = live.answered
        try:
            head = await live.head()
            match head:
                case Flowing(source):
                    if live.request.target != asked.target.canonical:
                        await self._passing.send(exchange, asked, "target")
                        return True
                    asked = asked.answered(200, source.content_type)
                    shown = guarded(exchange, asked, of_source(source, live.length))
                    answer = judge(exchange, shown)
                    body = LiveBytes(live, answer.span.end if answer.span is not None else None)
                    if exchange.sliced and answer.outcome is Outcome.PARTIAL and answer.span is not None:
                        await exchange.unless_gone(body.whole(answer.span))
                    await send(exchange, shown, body, answer, self._parts.marks("fwd=uri-miss; stored"))
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
        fresh = replace(record, validated_at=now, invalidated_at=None)
        return await self.stored(exchange, asked, fresh, "hit; fwd=stale; fwd-status=304")

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
            await self._passing.send(exchange, asked, head.reason)
        else:
            await self._passing.hand_on(exchange, asked, response, f"fwd=uri-miss; detail={head.reason}")
        return True

    async def _refused(self, exchange: Exchange, asked: Asked, head: Refused, stored: Record | None) -> bool:
        if stored is not None:
            return await self._stale(exchange, asked, stored, OriginUnreachable(f"The origin answered {head.status}."))
        kind = next((value for name, value in head.headers if name.lower() == "content-type"), "")
        asked = asked.answered(head.status, kind)
        headers = [pair for pair in asked.end_to_end(head.headers) if pair[0].lower() != "set-cookie"]
        marks = self._parts.marks(f"fwd=uri-miss; fwd-status={head.status}")
        await exchange.whole(head.status, [*headers, *marks], head.body)
        return True


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
        rewrite_links=asked.policy.rewrite_links,
        terms=asked.mirror.terms_for(asked.target.path),
    )


def _conditions(stored: Record | None) -> dict[str, str]:
    """The conditional headers that ask whether a stored copy is still good (RFC 9111 section 4.3.1)."""
    if stored is None or stored.origin is None:
        return {}
    validators = stored.origin.validators
    pairs = (("If-None-Match", validators.etag), ("If-Modified-Since", validators.last_modified))
    return {name: value for name, value in pairs if value is not None}
