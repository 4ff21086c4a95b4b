"""Peers on this machine: each process takes forwarded requests on a unix socket beside its lock file."""

from collections.abc import Callable, Sequence

import aiohttp
from yarl import URL

from cephstorage.domain.storability import HOP_BY_HOP
from cephstorage.origin.failures import FOREIGN, before_answer, shown_cause
from cephstorage.origin.hops import first_hop
from cephstorage.origin.http import HttpOriginResponse


class SocketPeers:
    """The port ``Peers``: one client session per owner, kept while it answers."""

    def __init__(self, address_of: Callable[[str], str]) -> None:
        self._address_of = address_of
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def forward(
        self, owner: str, method: str, target: str, headers: Sequence[tuple[str, str]]
    ) -> HttpOriginResponse:
        """Send the request to the owner's process as it is. Raises OriginUnreachable."""
        url = f"http://peer{target}"
        passed = [(name, value) for name, value in headers if name.lower() not in HOP_BY_HOP]
        try:
            answer = await self._session(owner).request(
                method, URL(url, encoded=True), headers=passed, allow_redirects=False
            )
        except FOREIGN as error:
            await self._drop(owner)
            raise before_answer(error, "the process that fills the key") from shown_cause(error)
        return HttpOriginResponse(answer, first_hop(url, ()))

    def _session(self, owner: str) -> aiohttp.ClientSession:
        if owner not in self._sessions:
            self._sessions[owner] = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(self._address_of(owner), limit=0),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=2.0, sock_read=120.0),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._sessions[owner]

    async def _drop(self, owner: str) -> None:
        session = self._sessions.pop(owner, None)
        if session is not None:
            await session.close()

    async def close(self) -> None:
        """Drop every connection."""
        for owner in list(self._sessions):
            await self._drop(owner)
