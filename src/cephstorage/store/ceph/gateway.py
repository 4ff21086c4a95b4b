"""The exchange with RGW: one signed request goes out, one answer comes back, or one error of our tree.

One HTTP client, one time limit and one translation of errors for everything that is asked of Ceph. What
S3's operations mean stands in ``s3``.
"""

import asyncio
import hashlib
import ssl
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

import aiohttp
from yarl import URL

from cephstorage.domain.errors import StoreMisconfigured
from cephstorage.domain.sigv4 import UNSIGNED, Query, authorised, query_of
from cephstorage.store.ceph.config import CephConfig
from cephstorage.store.ceph.failures import FOREIGN, of_exception, of_refusal
from cephstorage.store.ceph.xml import error_code

_KEEP_ALIVE = 50.0
"""Seconds; RGW closes an idle connection after 65."""
READ_AHEAD = 256 * 1024
"""Bytes; the client reads up to twice as much ahead of who consumes a body."""
_MOST_ANSWER = 16 << 20


class Body(Protocol):
    """Bytes to send, once, in pieces."""

    size: int
    on_piece: Callable[[], None]

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The pieces. ``on_piece`` is called after each."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that was read whole; header names in lower case. ``code`` is S3's, when it is an error with a body."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    code: str = ""


class Gateway:
    """Requests to one RGW. The first one opens the connection pool in its loop; ``close`` at the end."""

    def __init__(self, config: CephConfig, clock: Callable[[], float] = time.time) -> None:
        self.config = config
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Drop every connection. Idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def ask(
        self,
        method: str,
        path: str,
        query: Query = (),
        headers: Mapping[str, str] | None = None,
        body: bytes | Body = b"",
        *,
        fine: Collection[int | str] = (),
        timeout: float | None = None,
        signs_body: bool = False,
    ) -> Answer:
        """Send a request and read its answer.

        ``fine``: statuses and S3 codes that are answers, too, beside 2xx; all others raise what they mean.
        ``timeout``: seconds without progress. ``signs_body``: what is not S3 wants its body signed.
        """
        config, seconds = self.config, timeout or self.config.timeout
        try:
            async with asyncio.timeout(seconds) as limit:
                if not isinstance(body, bytes):
                    body.on_piece = lambda: limit.reschedule(asyncio.get_running_loop().time() + seconds)
                payload = hashlib.sha256(body).hexdigest() if signs_body and isinstance(body, bytes) else UNSIGNED
                response = await self._send(config, method, path, query, headers or {}, body, payload)
                answer = await _read(response, method)
        except FOREIGN as error:
            raise of_exception(error, config.gateway) from error
        if answer.status < HTTPStatus.MULTIPLE_CHOICES and not answer.code:
            return answer
        if answer.status in fine or answer.code in fine:
            return answer
        raise of_refusal(answer.status, answer.code, f"{method} {path}", config.gateway)

    async def open(self, path: str, query: Query, position: int) -> tuple[aiohttp.ClientResponse, int]:
        """A GET from ``position`` on whose body is read by the caller, who closes it; and its status.

        Raises what the answer means unless it is 200, 206, 404 or 416.
        """
        config = self.config
        headers = {"range": f"bytes={position}-"} if position else {}
        try:
            async with asyncio.timeout(config.timeout):
                response = await self._send(config, "GET", path, query, headers, b"")
        except FOREIGN as error:
            raise of_exception(error, config.gateway) from error
        if response.status in {200, 206, 404, 416}:
            return response, response.status
        response.close()
        raise of_refusal(response.status, "", f"GET {path}", config.gateway)

    async def get_anonymously(self, target: str) -> bytes:
        """What anybody gets at a path and query of the gateway; empty when it is refused."""
        config = self.config
        try:
            async with asyncio.timeout(config.timeout):
                url = URL(f"{config.base}{target}", encoded=True)
                response = await self._pool().get(url, headers={"host": config.host}, allow_redirects=False)
                answer = await _read(response, "GET")
        except FOREIGN as error:
            raise of_exception(error, config.gateway) from error
        return answer.body if answer.status == HTTPStatus.OK else b""

    async def _send(
        self,
        config: CephConfig,
        method: str,
        path: str,
        query: Query,
        headers: Mapping[str, str],
        body: bytes | Body,
        payload: str = UNSIGNED,
    ) -> aiohttp.ClientResponse:
        session = self._pool()
        pairs = list(query)
        named = {"host": config.host, **headers}
        signed = authorised(config.credentials, method, path, pairs, named, self._clock(), payload)
        if method in {"PUT", "POST"}:
            signed["content-length"] = str(len(body) if isinstance(body, bytes) else body.size)
        text = query_of(pairs)
        url = URL(f"{config.base}{path}{'?' if text else ''}{text}", encoded=True)
        return await session.request(method, url, headers=signed, data=body or None, allow_redirects=False)

    def _pool(self) -> aiohttp.ClientSession:
        if self._session is None:
            try:
                self._session = _session(self.config)
            except OSError as error:
                raise StoreMisconfigured(
                    f"The setting ceph_ca_file names {self.config.ca_file}, which can't be read: {error.strerror}."
                ) from error
        return self._session


async def _read(response: aiohttp.ClientResponse, method: str) -> Answer:
    """Read an answer. A connection on which a request failed is not used again.

    RGW may have answered before it read the body, and would then take the rest of it for the next request.
    """
    try:
        body = await response.content.read(_MOST_ANSWER)
        while not response.content.at_eof() and len(body) < _MOST_ANSWER:
            body += await response.content.read(_MOST_ANSWER)
    except BaseException:
        response.close()
        raise
    failed = response.status >= HTTPStatus.BAD_REQUEST
    code = error_code(body) if method != "HEAD" else ""
    if failed and method in {"PUT", "POST"}:
        response.close()
    else:
        response.release()
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status, headers, body, code)


def _session(config: CephConfig) -> aiohttp.ClientSession:
    tls: ssl.SSLContext | bool = True
    if config.gateway.startswith("https:"):
        tls = ssl.create_default_context()
        if config.ca_file is not None:
            tls.load_verify_locations(config.ca_file)
    connector = aiohttp.TCPConnector(
        ssl=tls, limit=config.connections, keepalive_timeout=_KEEP_ALIVE, enable_cleanup_closed=False
    )
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=config.connect_timeout),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        read_bufsize=READ_AHEAD,
        skip_auto_headers=("accept-encoding", "user-agent", "content-type", "accept"),
    )
