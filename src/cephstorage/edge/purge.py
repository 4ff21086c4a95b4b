"""Telling an edge to forget: one small request for each slice, because nginx's module drops exact keys only."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from itertools import islice

import aiohttp
from yarl import URL

from cephstorage.domain.edge import HELD, HELD_PATH, PURGE_PATH, PURGED, purge_headers, purge_ranges
from cephstorage.domain.errors import EdgeUnreachable

_AT_ONCE = 64
_ABREAST = 8
_PATIENCE = aiohttp.ClientTimeout(total=5.0, sock_connect=1.0)


class HttpEdgeCaches:
    """The port ``EdgeCaches`` over HTTP. ``secret`` is asked for at each call: it is loaded after the start."""

    def __init__(self, secret: Callable[[], str], slice_size: int) -> None:
        self._secret = secret
        self._slice_size = slice_size
        self._session: aiohttp.ClientSession | None = None

    async def forget(self, edge: str, host: str, target: str, size: int) -> None:
        """Drop every slice (port ``EdgeCaches``), slice 0 first. Raises EdgeUnreachable at the first that is not dropped."""
        slices = purge_ranges(size, self._slice_size)
        await self._forget_slices(edge, host, target, islice(slices, 1))
        while batch := list(islice(slices, _AT_ONCE)):
            lanes = (batch[number::_ABREAST] for number in range(_ABREAST))
            await asyncio.gather(*(self._forget_slices(edge, host, target, lane) for lane in lanes))

    async def _forget_slices(self, edge: str, host: str, target: str, slices: Iterable[str]) -> None:
        for span in slices:
            await self._forget_slice(edge, dict(purge_headers(self._secret(), host, target, span)))

    async def _forget_slice(self, edge: str, headers: dict[str, str]) -> None:
        status, _ = await self._ask("GET", edge, PURGE_PATH, headers)
        if status not in PURGED:
            raise _refused(edge, status)

    async def holds(self, edge: str, host: str, target: str) -> bool:
        """Whether the first slice is in the cache (port ``EdgeCaches``). Raises EdgeUnreachable."""
        first = next(iter(purge_ranges(0, self._slice_size)))
        status, said = await self._ask(
            "HEAD", edge, HELD_PATH, dict(purge_headers(self._secret(), host, target, first))
        )
        if HELD not in said:
            raise _refused(edge, status)
        return said[HELD] == "HIT"

    async def _ask(self, method: str, edge: str, path: str, headers: dict[str, str]) -> tuple[int, Mapping[str, str]]:
        url = URL(edge.rstrip("/") + path, encoded=True)
        try:
            async with self._client().request(method, url, headers=headers, allow_redirects=False) as answer:
                return answer.status, answer.headers
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise EdgeUnreachable(f"The edge at {edge} does not answer purges: {type(error).__name__}.") from error

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, limit_per_host=4 * _ABREAST),
                timeout=_PATIENCE,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session

    async def close(self) -> None:
        """Drop every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def _refused(edge: str, status: int) -> EdgeUnreachable:
    hint = "; its configuration has another secret: render it anew" if status == 403 else ""
    return EdgeUnreachable(f"The edge at {edge} answers {status} to a purge{hint}.")
