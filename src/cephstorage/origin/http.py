"""Origins over HTTP/1.1: one request goes out, one answer comes back that gives its own connection back.

What the client library would decide by itself is switched off: redirects, cookies, decompression,
proxies from the environment, rewriting of URLs. Every connection is made by the guard.
"""

import asyncio
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from http import HTTPStatus
from pathlib import Path

import aiohttp
from yarl import URL

from cephstorage.domain.errors import InvalidSetting, OriginProtocol, RedirectRefused, TooManyRedirects
from cephstorage.domain.policy import Redirects
from cephstorage.lending import Lent
from cephstorage.origin.failures import FOREIGN, before_answer, in_body, shown_cause
from cephstorage.origin.guard import ConnectGuard, GuardedResolver
from cephstorage.origin.hops import REDIRECTS, Headers, Hop, first_hop
from cephstorage.origin.passage import WORTH_IT, SplicedBody
from cephstorage.origin.reach import PLAIN, Reach
from cephstorage.ports.origin import Framing, OriginRequest

MAX_REDIRECTS = 5
READ_BUFFER = 512 * 1024
"""Bytes; the client reads up to twice as much ahead of its consumer, and a piece is what has been read."""
_FIRST_BUFFER = 64 * 1024
"""The same before anybody consumes: what has been read is in the way of who waits for the head, or moves the body past
the client."""
MAX_HEADER = 64 * 1024
_NO_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_BODILESS = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_STATUSES_END = 600
_OURS = frozenset({"accept-encoding", "range", "if-range", "via", "cdn-loop", "host", "connection", "content-length"})


class HttpOrigin:
    """The port ``Origin`` on aiohttp. Timeouts are in seconds; ``start`` before use, ``close`` at the end.

    ``connect_timeout`` holds for name resolution, and for connecting with TLS; ``read_timeout`` for
    silence. ``via_name`` marks every request (Via, RFC 9110 7.6.3; CDN-Loop, RFC 8586) so that loops
    are seen. ``ca_file`` adds a private CA to the system's; InvalidSetting when it can't be read.
    """

    def __init__(
        self,
        guard: ConnectGuard,
        *,
        connect_timeout: float,
        read_timeout: float,
        user_agent: str,
        via_name: str,
        limit_per_host: int,
        ca_file: Path | None = None,
    ) -> None:
        self._guard = guard
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._user_agent = user_agent
        self._via_name = via_name
        self._limit_per_host = limit_per_host
        self._tls = _tls_context(ca_file)
        self._pool: Lent[aiohttp.ClientSession] | None = None
        self._former: list[Lent[aiohttp.ClientSession]] = []

    async def start(self) -> None:
        """Open the connection pool in the running loop."""
        self._pool = self._new_pool()

    def reconnect(self) -> None:
        """Make a new connection for every request from now on: the guard forbids more than it did before.

        A connection that is kept alive passes no guard. What is under way ends on its connection.
        """
        if self._pool is not None:
            before, self._pool = self._pool, self._new_pool()
            self._former = [pool for pool in (*self._former, before) if not pool.closed]
            before.retire()

    def _new_pool(self) -> Lent[aiohttp.ClientSession]:
        session = self._new_session()
        return Lent(session, session.close)

    def _new_session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            ssl=self._tls,
            limit=0,
            limit_per_host=self._limit_per_host,
            resolver=GuardedResolver(self._guard, self._connect_timeout),
            socket_factory=self._guard.socket_for,
        )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=self._timeout(PLAIN),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=_FIRST_BUFFER,
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER,
        )

    async def close(self) -> None:
        """Drop every connection."""
        pools = [*self._former, *([self._pool] if self._pool is not None else [])]
        self._pool, self._former = None, []
        await asyncio.gather(*(pool.close() for pool in pools))

    async def open(self, request: OriginRequest, reach: Reach = PLAIN) -> "HttpOriginResponse":
        """Send the request, follow redirects, return when the last answer's headers are there (port ``Origin``).

        ``reach`` holds until a redirect leaves the host.
        """
        hop = first_hop(request.url, request.headers)
        seen = {hop.url}
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._ask(request, hop, reach)
            if response.status not in REDIRECTS or request.method not in {"GET", "HEAD"}:
                return response
            if request.redirects is Redirects.PASS:
                return response
            await response.close()
            if request.redirects is Redirects.REFUSE:
                raise RedirectRefused(f"{hop.name} answered with a redirect, which a rule of the mirror refuses.")
            before, hop = hop, hop.redirected(response.headers.get("location"))
            reach = reach if hop.same_place(before) else PLAIN
            if hop.url in seen:
                raise TooManyRedirects(f"{hop.name} redirects in a loop.")
            seen.add(hop.url)
        raise TooManyRedirects(f"More than {MAX_REDIRECTS} redirects; the last one leads to {hop.name}.")

    async def _ask(self, request: OriginRequest, hop: Hop, reach: Reach) -> "HttpOriginResponse":
        assert self._pool is not None, "start() comes first"
        self._guard.check_port(hop.host, hop.port)
        pool = self._pool
        pool.take()
        try:
            answer = await pool.thing.request(
                request.method,
                URL(hop.url, encoded=True),
                headers=self._headers(request, hop.headers, reach.headers(request.method, hop, time.time())),
                data=request.body.chunks if request.body is not None else None,
                allow_redirects=False,
                timeout=self._timeout(reach),
                ssl=reach.tls or True,
                server_hostname=reach.tls_name if hop.scheme == "https" else None,
            )
            return HttpOriginResponse(answer, hop, pool.give_back, self._timeout(reach).sock_read)
        except FOREIGN as error:
            pool.give_back()
            raise before_answer(error, hop.name) from shown_cause(error)
        except BaseException:
            pool.give_back()
            raise

    def _timeout(self, reach: Reach) -> aiohttp.ClientTimeout:
        connect = self._connect_timeout if reach.connect_timeout is None else reach.connect_timeout
        read = self._read_timeout if reach.read_timeout is None else reach.read_timeout
        # waiting for one of limit_per_host included
        return aiohttp.ClientTimeout(total=None, connect=connect + read, sock_connect=connect, sock_read=read)

    def _headers(self, request: OriginRequest, extra: Headers, shown: Headers) -> list[tuple[str, str]]:
        """``extra`` came with the request; ``shown`` is for this origin and wins."""
        named = {name.lower(): value for name, value in extra}
        replaced = _OURS | {name.lower() for name, _ in shown}
        headers = [*shown, *((name, value) for name, value in extra if name.lower() not in replaced)]
        if "user-agent" not in named:
            headers.append(("User-Agent", self._user_agent))
        headers.append(("Accept-Encoding", request.encodings))
        for name, own in (("Via", f"1.1 {self._via_name}"), ("CDN-Loop", self._via_name)):
            before = named.get(name.lower())
            headers.append((name, f"{before}, {own}" if before else own))
        if request.body is not None and request.body.length is not None:
            headers.append(("Content-Length", str(request.body.length)))
        if request.range is not None:
            headers.append(("Range", request.range.header()))
            if request.if_range is not None:
                headers.append(("If-Range", request.if_range))
        return headers


class HttpOriginResponse:
    """The port ``OriginResponse``. ``length`` is 0 for answers that never have a body (HEAD, 204, 304).

    ``silence``: seconds that the origin may send nothing, on the way past the client library; None: it has no such way.
    """

    def __init__(
        self,
        answer: aiohttp.ClientResponse,
        hop: Hop,
        give_back: Callable[[], None] | None = None,
        silence: float | None = None,
    ) -> None:
        self._answer = answer
        self._give_back = [give_back] if give_back is not None else []
        self._silence = silence
        self._passage: SplicedBody | None = None
        self._hop = hop
        self.status: int = answer.status
        self.raw_headers: Headers = tuple(
            (name.decode("latin-1"), _readable(value.decode("latin-1"))) for name, value in answer.raw_headers
        )
        self.headers: Mapping[str, str] = _joined(self.raw_headers)
        self.url = hop.url
        self.server = ""
        self.on_broken: Callable[[], None] = lambda: None
        """Told when the body breaks off."""
        _check_status(answer, hop)
        self.framing, self.length = _framing(answer, self.headers, hop)
        self._lost = _connection_end(answer) if self.framing is Framing.CLOSE else None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives, without waiting for more than there is (port ``OriginResponse``)."""
        content = self._answer.content
        content.set_read_chunk_size(READ_BUFFER)
        try:
            while data := await content.readany():
                yield data
            if self._lost is not None and self._lost.done() and (lost := self._lost.exception()) is not None:
                raise lost
        except FOREIGN as error:
            if kept := content._read_nowait(-1):  # noqa: SLF001 - what came before the break is good, and paid for
                yield kept
            self.on_broken()
            raise in_body(error, self._hop.name) from shown_cause(error)

    def passage(self) -> SplicedBody | None:
        """Splice what is left of a body with a length over plain HTTP (port ``OriginResponse``)."""
        connection, content = self._answer.connection, self._answer.content
        if connection is None or self._silence is None or self.length is None or content.exception() is not None:
            return None
        protocol, transport = connection.protocol, connection.transport
        left = self.length - content.total_bytes
        if protocol is None or transport is None or left < WORTH_IT or transport.get_extra_info("sslcontext"):
            return None
        ahead = bytearray()
        while len(ahead) < content.total_bytes:  # reading makes room, which may bring more
            ahead += content.read_nowait()
        protocol.pause_reading()
        socket, left = transport.get_extra_info("socket").fileno(), self.length - len(ahead)
        self._passage = SplicedBody(socket, bytes(ahead), left, self._silence, self._hop.name, content.feed_eof)
        return self._passage

    async def close(self) -> None:
        """Give the connection back if the body was read to its end, else drop it. Idempotent."""
        if self._passage is not None and self._passage.end():
            self.on_broken()
        if self._answer.content.at_eof() and self._answer.content.exception() is None:
            self._answer.release()
        else:
            self._answer.close()
        while self._give_back:
            self._give_back.pop()()

    def on_close(self, give_back: Callable[[], None]) -> None:
        """Call this, too, when the answer is closed."""
        self._give_back.append(give_back)


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:
            why = error.strerror or error
            raise InvalidSetting(f"origin_ca_file: {ca_file} holds no certificates that can be read: {why}.") from error
    return context


def _readable(value: str) -> str:
    """A field's value with spaces for what no value may hold and no server can send on (RFC 9110 section 5.5)."""
    return _NO_VALUE.sub(" ", value)


def _check_status(answer: aiohttp.ClientResponse, hop: Hop) -> None:
    """Raise OriginProtocol for a status that is no final one (RFC 9110 section 15): nobody asked for an upgrade."""
    if not HTTPStatus.OK <= answer.status < _STATUSES_END:
        answer.close()
        raise OriginProtocol(f"{hop.name} answers with status {answer.status}, which ends no request in HTTP.")


def _joined(pairs: Headers) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in pairs:
        name = name.lower()  # noqa: PLW2901 - one name, spelt one way
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def _framing(answer: aiohttp.ClientResponse, headers: Mapping[str, str], hop: Hop) -> tuple[Framing, int | None]:
    """How this answer's body ends (RFC 9112 section 6.3), and its length if that is announced.

    A transfer coding beyond chunked was not asked for (no TE was sent) and would reach readers as content.
    """
    if answer.method == "HEAD" or answer.status in _BODILESS:
        return Framing.LENGTH, 0
    if (coding := headers.get("transfer-encoding")) is not None:
        if coding.strip().lower() != "chunked":
            answer.close()
            raise OriginProtocol(f"{hop.name} applies a transfer coding that was not asked for.")
        return Framing.CHUNKED, None
    length = headers.get("content-length")
    return (Framing.CLOSE, None) if length is None else (Framing.LENGTH, int(length))


def _connection_end(answer: aiohttp.ClientResponse) -> "asyncio.Future[None] | None":
    """Tells of a reset: the client library takes one for the clean end of a body that ends with its connection."""
    protocol = answer.connection.protocol if answer.connection is not None else None
    ended = protocol.closed if protocol is not None else None
    if ended is not None:
        ended.add_done_callback(lambda future: future.cancelled() or future.exception())
    return ended
