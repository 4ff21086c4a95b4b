"""Handing an origin's or a peer's answer on, piece by piece, storing nothing."""

from collections.abc import Sequence

from cephstorage.domain.edge import ACCEL_BUFFERING, ACCEL_EXPIRES, ACCEL_REDIRECT, INTERNAL_PREFIX
from cephstorage.domain.errors import OriginBroken, OriginProtocol
from cephstorage.domain.storability import connection_headers
from cephstorage.ports.origin import OriginResponse
from cephstorage.proxy.exchange import Exchange
from cephstorage.transfer.intake import content_range

_CONDITIONS = ("if-none-match", "if-modified-since", "if-match", "if-unmodified-since")
_HARMLESS = ("accept", "accept-language")


def passed_headers(headers: dict[str, str], allowed: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The client's headers that travel to the origin: conditions, content negotiation, what a rule allows.

    Cookies and credentials are not among them unless the rule names them.
    """
    names = dict.fromkeys((*_CONDITIONS, *_HARMLESS, *(name.lower() for name in allowed)))
    return tuple((name, headers[name]) for name in names if name in headers)


def end_to_end(headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The answer's headers without those that belong to the one hop, and without the length (set anew)."""
    dropped = connection_headers(headers) | {"content-length", "date", "via", "cache-status"}
    return [(name, value) for name, value in headers if name.lower() not in dropped]


def header(headers: Sequence[tuple[str, str]], name: str) -> str:
    """The first value under a lower-case name; empty when there is none."""
    return next((value for each, value in headers if each.lower() == name), "")


def for_edge(response: OriginResponse) -> tuple[int, list[tuple[str, str]]]:
    """What a peer's answer says to the edge: how long it may keep it, and where it finds the bytes."""
    lifetime = response.headers.get(ACCEL_EXPIRES, "")
    pairs = [(name.lower(), value) for name, value in response.raw_headers]
    kept = [
        pair for pair in pairs if pair[0] in {ACCEL_REDIRECT, ACCEL_BUFFERING} or pair[0].startswith(INTERNAL_PREFIX)
    ]
    return (int(lifetime) if lifetime.isdecimal() else 0), kept


async def hand_on(
    exchange: Exchange,
    response: OriginResponse,
    extra: Sequence[tuple[str, str]],
    shown: Sequence[tuple[str, str]] | None = None,
) -> None:
    """Send the answer as it comes; a broken body cuts the connection. A slice for the edge is read whole before.

    ``shown`` are its own headers if not all that are end-to-end; ``extra`` are ours.
    """
    headers = [*(end_to_end(response.raw_headers) if shown is None else shown), *extra]
    announced = response.headers.get("content-length")
    if announced is not None and (response.length is not None or exchange.request.method == "HEAD"):
        headers.append(("content-length", announced))
    try:
        if exchange.request.method == "HEAD" or response.status in {204, 304}:
            await exchange.start(response.status, headers)
            await exchange.end()
        else:
            await exchange.unless_gone(_stream(exchange, response, headers))
    finally:
        await response.close()


async def _stream(exchange: Exchange, response: OriginResponse, headers: list[tuple[str, str]]) -> None:
    if exchange.sliced and response.status == 206:
        part = await _part(response)
        await exchange.start(response.status, headers)
        await exchange.end(part)
        return
    await exchange.start(response.status, headers)
    async for chunk in response.chunks():
        await exchange.write(chunk)
    await exchange.end()


async def _part(response: OriginResponse) -> bytes:
    """The body of a 206, whole: it is as long as its place says. Raises OriginProtocol, OriginBroken."""
    answered = content_range(response)
    size = len(answered.span) if answered is not None and answered.span is not None else 0
    part = bytearray()
    async for chunk in response.chunks():
        part += chunk
        if len(part) > size:
            raise OriginProtocol("The origin's 206 holds more bytes than its Content-Range says.")
    if len(part) < size:
        raise OriginBroken("The origin's 206 holds fewer bytes than its Content-Range says.")
    return bytes(part)
