"""Passing through: the origin is asked as the client asked, and its answer is handed on, stored nowhere."""

from collections.abc import AsyncIterator
from dataclasses import replace

from cephstorage.domain.decision import READS
from cephstorage.domain.errors import PathDenied, TooLarge
from cephstorage.domain.forwarding import forwarded
from cephstorage.domain.invalidation import invalidated
from cephstorage.domain.mirrors import source_url
from cephstorage.domain.policy import Methods, Mode
from cephstorage.domain.ranges import parse_range
from cephstorage.domain.validators import is_strong, valid_etag
from cephstorage.ports.origin import OriginRequest, OriginResponse, RequestBody
from cephstorage.proxy.exchange import Exchange
from cephstorage.proxy.mirror_request import Asked, MirrorParts
from cephstorage.proxy.passthrough import hand_on, passed_headers
from cephstorage.transfer.intake import answers_range


class PassingThrough:
    """Hands origins' answers on."""

    def __init__(self, parts: MirrorParts) -> None:
        self._parts = parts

    async def send(self, exchange: Exchange, asked: Asked, reason: str) -> None:
        """Hand the origin's answer on."""
        request = exchange.request
        whole = request.method != "GET" or (exchange.sliced and not _asked_for_a_range(exchange))
        wanted = OriginRequest(
            source_url(asked.mirror, asked.policy, asked.target),
            method=request.method,
            headers=(*_passed(asked, request.headers), *_trail(request.headers)),
            range=None if whole else parse_range(request.headers.get("range")),
            if_range=None if whole else request.headers.get("if-range"),
            mirror=asked.mirror.host,
            encodings=_encodings(asked, request.headers),
            body=self._body(exchange) if request.method not in READS else None,
        )
        wanted = asked.ask(wanted)
        response = await self._parts.origin.open(wanted)
        if response.status == 206 and not (answers_range(response, wanted) and _joinable(exchange, response)):
            await response.close()
            response = await self._parts.origin.open(replace(wanted, range=None, if_range=None))
        await self._invalidate(asked, request.method, response)
        why = "fwd=method" if reason == "method" else f"fwd=bypass; detail={reason}"
        await self.hand_on(exchange, asked, response, why)

    def _body(self, exchange: Exchange) -> RequestBody | None:
        """The request's body. Raises TooLarge for one that announces more than is taken."""
        headers, most = exchange.request.headers, self._parts.max_body
        announced = headers.get("content-length", "")
        length = int(announced) if announced.isdecimal() else None
        if length is None and "transfer-encoding" not in headers:
            return None
        if length is not None and length > most:
            raise _too_large(most)
        return RequestBody(_bounded(exchange.body(), most), length)

    async def _invalidate(self, asked: Asked, method: str, response: OriginResponse) -> None:
        targets = invalidated(asked.mirror, asked.policy, method, asked.target, response.status, response.headers)
        try:
            await self._parts.invalidate(asked.mirror, targets)
        except BaseException:
            await response.close()
            raise

    async def hand_on(self, exchange: Exchange, asked: Asked, response: OriginResponse, status: str) -> None:
        """Hand an open answer on as the rules have it. Raises PathDenied for one that a rule denies."""
        asked = asked.answered(response.status, response.headers.get("content-type", ""))
        if asked.policy.mode is Mode.DENY:
            await response.close()
            raise PathDenied("A rule of this mirror denies what the origin answers.")
        headers = asked.end_to_end(response.raw_headers)
        await hand_on(exchange, response, self._parts.marks(status), headers)


def _passed(asked: Asked, headers: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """The client's headers: all that are harmless to a cache in front of an origin, few to the origin of a replica."""
    if asked.policy.mode is Mode.ORIGIN or asked.policy.methods is Methods.PASS:
        return forwarded(headers, asked.policy.pass_headers, without=("range", "if-range"))
    return passed_headers(headers, asked.policy.pass_headers)


def _encodings(asked: Asked, headers: dict[str, str]) -> str:
    """The content codings that may come: those of the client where it has the origin's own answers."""
    return headers.get("accept-encoding", "identity") if asked.policy.mode is Mode.ORIGIN else "identity"


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"A mirror passes on bodies of at most {most} bytes.")


async def _bounded(chunks: AsyncIterator[bytes], most: int) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > most:
            raise _too_large(most)
        yield chunk


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


def _trail(headers: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, headers[name]) for name in ("via", "cdn-loop") if name in headers)
