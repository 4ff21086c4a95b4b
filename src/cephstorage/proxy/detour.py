"""A mirror's stored version from its origin, while the store does not answer.

Only ever the very same version: the origin must show the strong validator that it had when the copy was
made, and the same length. The client sees what the store would have given: the record's validators and
headers, conditions and ranges judged by the record. Nothing is stored.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from cephstorage.domain.errors import CephStorageError, OriginBroken
from cephstorage.domain.handover import needs_bytes
from cephstorage.domain.ranges import RangeRequest, Span
from cephstorage.domain.records import Record
from cephstorage.domain.validators import Answer, Outcome
from cephstorage.ports.origin import Framing, Origin, OriginRequest, OriginResponse, Version
from cephstorage.proxy.answer import Headers, Representation, content_head, judge, send_head
from cephstorage.proxy.exchange import Exchange
from cephstorage.transfer.intake import answers_range, strong_validator


@dataclass(slots=True)
class Detour:
    """Asks origins for versions that the store can't give at the moment."""

    origin: Origin

    async def send(
        self, exchange: Exchange, source: OriginRequest, record: Record, shown: Representation, extra: Headers
    ) -> bool:
        """Answer from ``source``, the origin; False when it does not have the version, with nothing sent yet."""
        answer = judge(exchange, shown)
        if not needs_bytes(answer, exchange.request.method, record.size):
            await send_head(exchange, shown, answer, extra)
            return True
        span = answer.span or Span(0, record.size)
        response = await self._same_version(source, record, span if answer.outcome is Outcome.PARTIAL else None)
        if response is None:
            return False
        try:
            await exchange.unless_gone(_pass(exchange, response, span, content_head(shown, answer, extra), answer))
        finally:
            await response.close()
        return True

    async def _same_version(self, source: OriginRequest, record: Record, part: Span | None) -> OriginResponse | None:
        """The origin's answer if it is of the record's version and holds the bytes that are wanted."""
        origin = record.origin
        validator = origin.validators.strong(origin.date) if origin is not None else None
        if validator is None:
            return None
        wanted = RangeRequest(part.start, part.end - 1) if part is not None else None
        version = Version(validator, record.size)
        asked = replace(source, range=wanted, if_range=validator if wanted is not None else None, version=version)
        try:
            response = await self.origin.open(asked)
        except CephStorageError:
            return None
        if strong_validator(response) == validator and _holds(response, asked, record.size):
            return response
        await response.close()
        return None


def _holds(response: OriginResponse, asked: OriginRequest, size: int) -> bool:
    if response.status == 206:
        return answers_range(response, asked) and (response.headers["content-range"].rpartition("/")[2] == str(size))
    return response.status == 200 and response.framing is not Framing.CLOSE and response.length in {None, size}


async def _pass(exchange: Exchange, response: OriginResponse, span: Span, headers: Headers, answer: Answer) -> None:
    skip = span.start if response.status == 200 else 0
    pieces = _exactly(response, skip, len(span))
    if exchange.sliced:
        whole = b"".join([piece async for piece in pieces])
        await exchange.start(answer.outcome.value, headers)
        await exchange.end(whole)
        return
    await exchange.start(answer.outcome.value, headers)
    async for piece in pieces:
        await exchange.write(piece)
    await exchange.end()


async def _exactly(response: OriginResponse, skip: int, size: int) -> AsyncIterator[bytes]:
    """``size`` bytes of the body after the first ``skip``. Raises OriginBroken when there are fewer."""
    async for chunk in response.chunks():
        dropped = min(skip, len(chunk))
        skip -= dropped
        piece = chunk[dropped : dropped + size]
        size -= len(piece)
        if piece:
            yield piece
        if size == 0:
            return
    raise OriginBroken("The origin's body ended before the stored version's length.")
