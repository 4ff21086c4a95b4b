"""Answering with an object: conditions, ranges, headers, body. The same for stored copies and fills under way."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cephstorage.domain.records import Record
from cephstorage.domain.transfers import SourceFacts
from cephstorage.domain.validators import Answer, Outcome, Validators, evaluate
from cephstorage.ports.store import ObjectReader
from cephstorage.proxy.exchange import Exchange
from cephstorage.transfer.live import LiveTransfer

PIECE = 256 * 1024
Headers = Sequence[tuple[str, str]]


class Bytes(Protocol):
    """Where the body comes from."""

    def read_now(self, position: int, size: int) -> bytes | bytearray | None:
        """Bytes at hand, None when one has to wait."""
        ...

    async def read(self, position: int, size: int) -> bytes | bytearray:
        """Bytes, waited for; empty at the end."""
        ...

    def file(self) -> int | None:
        """A file that holds the whole body at its place, for sendfile."""
        ...


@dataclass(frozen=True, slots=True)
class Representation:
    """An object as clients see it: the same during the fill, from the store and after a restart."""

    validators: Validators
    content_type: str
    length: int | None
    headers: Headers = ()


def of_record(record: Record) -> Representation:
    """A stored copy's representation."""
    kept = record.origin.headers if record.origin is not None else ()
    return Representation(record.validators, record.content_type, record.size, kept)


def of_source(source: SourceFacts, length: int | None) -> Representation:
    """A running fill's representation."""
    kept = source.origin.headers if source.origin is not None else ()
    return Representation(source.public, source.content_type, length, kept)


@dataclass(slots=True)
class LiveBytes:
    """One reader of a running transfer, who says how far it means to read."""

    live: LiveTransfer
    until: int | None

    def read_now(self, position: int, size: int) -> bytes | bytearray | None:
        """Bytes that are in the spool."""
        return self.live.read_now(position, size)

    async def read(self, position: int, size: int) -> bytes | bytearray:
        """Bytes as soon as they are in the spool."""
        return await self.live.read(position, size, self.until)

    def file(self) -> int | None:
        """The spool, once it is whole and verified."""
        return self.live.spool.file() if self.live.complete and self.live.verified else None


def judge(exchange: Exchange, shown: Representation) -> Answer:
    """What the request's conditions and Range come to."""
    request = exchange.request
    return evaluate(request.headers, shown.validators, shown.length, method=request.method)


async def send(exchange: Exchange, shown: Representation, source: Bytes, answer: Answer, extra: Headers) -> None:
    """Send the answer. The head waits for the first bytes, so that an early error still gets a clean answer."""
    headers = [*_validator_headers(shown), *extra]
    if answer.outcome in {Outcome.NOT_MODIFIED, Outcome.PRECONDITION_FAILED}:
        await exchange.start(answer.outcome.value, headers)
        await exchange.end()
        return
    if answer.outcome is Outcome.UNSATISFIABLE:
        await exchange.whole(416, [*headers, ("content-range", f"bytes */{shown.length}")], b"")
        return
    headers += [*shown.headers, ("content-type", shown.content_type), ("accept-ranges", "bytes")]
    start, end = (answer.span.start, answer.span.end) if answer.span is not None else (0, shown.length)
    if answer.outcome is Outcome.PARTIAL:
        headers.append(("content-range", f"bytes {start}-{(end or 0) - 1}/{shown.length}"))
    if end is not None:
        headers.append(("content-length", str(end - start)))
    if exchange.request.method == "HEAD":
        await exchange.start(answer.outcome.value, headers)
        await exchange.end()
        return
    await _send_body(exchange, source, answer.outcome.value, headers, start, end)


def _validator_headers(shown: Representation) -> list[tuple[str, str]]:
    pairs = (("etag", shown.validators.etag), ("last-modified", shown.validators.last_modified))
    return [(name, value) for name, value in pairs if value is not None]


async def _send_body(
    exchange: Exchange, source: Bytes, status: int, headers: Headers, start: int, end: int | None
) -> None:
    if end is not None and end - start <= PIECE:
        data = source.read_now(start, end - start) if end > start else b""
        if data is not None and len(data) == end - start:
            await exchange.start(status, headers)
            await exchange.end(data)
            return
    file = source.file()
    if file is not None and end is not None:
        await exchange.start(status, headers)
        if await exchange.write_file(file, start, end):
            await exchange.end()
            return
    await exchange.unless_gone(_stream(exchange, source, status, headers, start, end))


async def _stream(
    exchange: Exchange, source: Bytes, status: int, headers: Headers, position: int, end: int | None
) -> None:
    while end is None or position < end:
        size = PIECE if end is None else min(PIECE, end - position)
        data = source.read_now(position, size)
        if data is None:
            data = await source.read(position, size)
        if not exchange.started:
            await exchange.start(status, headers)
        if not data:
            break
        position += len(data)
        await exchange.write(data)
    if end is None or position == end:
        await exchange.end()


async def send_stored(
    exchange: Exchange, shown: Representation, reader: ObjectReader, answer: Answer, extra: Headers
) -> None:
    """Send a stored version and close it."""
    try:
        await send(exchange, shown, reader, answer, extra)
    finally:
        await reader.close()
