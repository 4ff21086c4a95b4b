"""Answering with an object: conditions, ranges, headers, body. The same for stored copies and fills under way."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cephstorage.domain.errors import StoreUnavailable
from cephstorage.domain.metadata import metadata_headers
from cephstorage.domain.ranges import Span
from cephstorage.domain.records import OriginFacts, Record
from cephstorage.domain.transfers import SourceFacts
from cephstorage.domain.validators import Answer, Outcome, Validators, evaluate, http_date
from cephstorage.ports.store import ObjectReader
from cephstorage.proxy.exchange import Exchange
from cephstorage.transfer.live import LiveTransfer

PIECE = 256 * 1024
Headers = Sequence[tuple[str, str]]
_CONTENT = frozenset({Outcome.FULL, Outcome.PARTIAL})


class Bytes(Protocol):
    """Where the body comes from: a file that is whole, or one that grows."""

    def read_now(self, position: int, size: int) -> bytes | bytearray | None:
        """Bytes at hand, None when one has to wait."""
        ...

    async def ready(self, position: int) -> int:
        """Wait for the byte at ``position``; up to where bytes may be read from there. ``position`` at the end."""
        ...

    async def read(self, position: int, size: int) -> bytes | bytearray:
        """Bytes that are ready, read from wherever they lie."""
        ...

    def file(self) -> int | None:
        """The file that holds the body at its place, for sendfile."""
        ...


@dataclass(frozen=True, slots=True)
class Representation:
    """An object as clients see it: the same during the fill, from the store and after a restart.

    ``date`` is that of the origin's answer (empty: not known), None for an object of our own.
    """

    validators: Validators
    content_type: str
    length: int | None
    headers: Headers = ()
    date: str | None = None


def of_record(record: Record) -> Representation:
    """A stored copy's representation."""
    kept = record.origin.headers if record.origin is not None else ()
    if record.metadata:
        kept = (*kept, *metadata_headers(record.metadata))
    return Representation(record.validators, record.content_type, record.size, kept, _date(record.origin))


def of_source(source: SourceFacts, length: int | None) -> Representation:
    """A running fill's representation."""
    kept = source.origin.headers if source.origin is not None else ()
    return Representation(source.public, source.content_type, length, kept, _date(source.origin))


def _date(origin: OriginFacts | None) -> str | None:
    """When the origin's answer was made; one without a Date, when it came (RFC 9110 section 6.6.1)."""
    if origin is None:
        return None
    return origin.date or (http_date(origin.response_time) if origin.response_time else "")


@dataclass(slots=True)
class StoredBytes:
    """A stored version: all of it is ready."""

    reader: ObjectReader

    def read_now(self, position: int, size: int) -> bytes | bytearray | None:
        """Bytes from the page cache."""
        return self.reader.read_now(position, size)

    async def ready(self, position: int) -> int:
        """The end of the version."""
        return max(position, self.reader.size)

    async def read(self, position: int, size: int) -> bytes | bytearray:
        """Bytes from the store."""
        return await self.reader.read(position, size)

    def file(self) -> int | None:
        """The version's file."""
        return self.reader.file()


@dataclass(slots=True)
class ReadBytes:
    """Bytes that were read already; ``start`` is where they lie in the object."""

    data: bytes
    start: int

    def read_now(self, position: int, size: int) -> bytes | bytearray | None:
        """A part of them."""
        return self.data[position - self.start : position - self.start + size]

    async def ready(self, position: int) -> int:
        """Their end."""
        return max(position, self.start + len(self.data))

    async def read(self, position: int, size: int) -> bytes | bytearray:
        """A part of them."""
        return self.data[position - self.start : position - self.start + size]

    def file(self) -> int | None:
        """They are in no file."""
        return None


@dataclass(slots=True)
class LiveBytes:
    """One reader of a running transfer, who says how far it means to read."""

    live: LiveTransfer
    until: int | None

    def read_now(self, position: int, size: int) -> bytes | bytearray | None:
        """Bytes that are in the spool."""
        return self.live.read_now(position, size)

    async def ready(self, position: int) -> int:
        """Up to where the spool may be read."""
        return await self.live.readable(position, self.until)

    async def read(self, position: int, size: int) -> bytes | bytearray:
        """Bytes from the spool."""
        return await self.live.read(position, size, self.until)

    async def whole(self, span: Span) -> None:
        """Wait until all of a span may be read, or its object ends. Raises the transfer's error before that."""
        position = span.start
        while position < span.end and (ready := await self.ready(position)) > position:
            position = ready

    def file(self) -> int | None:
        """The spool: what is ready in it lies at its place."""
        return self.live.spool.file()


def judge(exchange: Exchange, shown: Representation, *, whole: bool = False) -> Answer:
    """What the request's conditions and Range come to.

    The edge asks for the first slice of an object whose length it can't know: of an empty one it gets all. ``whole``: it
    gets all of any, if its client wants all.
    """
    request = exchange.request
    if exchange.sliced and shown.length == 0:
        return Answer(Outcome.FULL, Span(0, 0))
    headers = request.headers
    if whole and exchange.whole_will_do:
        headers = {name: value for name, value in headers.items() if name != "range"}
    return evaluate(headers, shown.validators, shown.length, method=request.method, date=shown.date)


async def send(exchange: Exchange, shown: Representation, source: Bytes, answer: Answer, extra: Headers) -> None:
    """Send the answer. The head waits for the first bytes, so that an early error still gets a clean answer."""
    if answer.outcome not in _CONTENT or exchange.request.method == "HEAD":
        await send_head(exchange, shown, answer, extra)
        return
    start, end = (answer.span.start, answer.span.end) if answer.span is not None else (0, shown.length)
    await _send_body(exchange, source, answer.outcome.value, content_head(shown, answer, extra), start, end)


async def send_head(exchange: Exchange, shown: Representation, answer: Answer, extra: Headers) -> None:
    """Send an answer that has no body: a met or failed condition, no such range, HEAD, an empty object."""
    if answer.outcome is Outcome.UNSATISFIABLE:
        beyond = ("content-range", f"bytes */{shown.length}")
        await exchange.whole(416, [*validator_headers(shown), *extra, beyond], b"")
        return
    content = answer.outcome in _CONTENT
    headers = content_head(shown, answer, extra) if content else [*validator_headers(shown), *extra]
    await exchange.start(answer.outcome.value, headers)
    await exchange.end()


def content_head(shown: Representation, answer: Answer, extra: Headers) -> list[tuple[str, str]]:
    """The headers of an answer with content."""
    headers = [*validator_headers(shown), *extra, *shown.headers]
    headers += [("content-type", shown.content_type), ("accept-ranges", "bytes")]
    start, end = (answer.span.start, answer.span.end) if answer.span is not None else (0, shown.length)
    if answer.outcome is Outcome.PARTIAL:
        headers.append(("content-range", f"bytes {start}-{(end or 0) - 1}/{shown.length}"))
    if end is not None:
        headers.append(("content-length", str(end - start)))
    return headers


def validator_headers(shown: Representation) -> list[tuple[str, str]]:
    """ETag and Last-Modified, as far as there are any."""
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
    await exchange.unless_gone(_stream(exchange, source, status, headers, start, end))


async def _stream(
    exchange: Exchange, source: Bytes, status: int, headers: Headers, position: int, end: int | None
) -> None:
    while end is None or position < end:
        ready = await source.ready(position)
        if not exchange.started:
            await exchange.start(status, headers)
        if ready <= position:
            break
        position = await _send_ready(exchange, source, position, ready if end is None else min(ready, end), end)
    if end is None or position == end:
        await exchange.end()


async def _send_ready(exchange: Exchange, source: Bytes, position: int, ready: int, end: int | None) -> int:
    """Send bytes that are ready, past Python where that can be done; return where to go on.

    A body of unknown length is framed in chunks, which only the server can write.
    """
    file = source.file()
    if end is not None and file is not None and await exchange.write_file(file, position, ready):
        return ready
    size = min(PIECE, ready - position)
    data = source.read_now(position, size) or await source.read(position, size)
    if not data:
        raise StoreUnavailable(f"The stored bytes end at {position}, before their length.")
    await exchange.write(data)
    return position + len(data)


async def send_stored(
    exchange: Exchange, shown: Representation, reader: ObjectReader, answer: Answer, extra: Headers
) -> None:
    """Send a stored version and close it. Of a store that may break in mid-read, a slice is read whole before its head."""
    source: Bytes = StoredBytes(reader)
    try:
        if exchange.sliced and reader.file() is None and answer.span is not None:
            source = ReadBytes(await _read_whole(source, answer.span), answer.span.start)
        await send(exchange, shown, source, answer, extra)
    finally:
        await reader.close()


async def _read_whole(source: Bytes, span: Span) -> bytes:
    pieces, position = [], span.start
    while position < span.end:
        piece = await source.read(position, span.end - position)
        if not piece:
            raise StoreUnavailable(f"The stored bytes end at {position}, before their length.")
        pieces.append(piece)
        position += len(piece)
    return b"".join(pieces)
