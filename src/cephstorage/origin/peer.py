"""Peers: the other processes of the service. On this machine over a unix socket, on others over TCP.

Each process takes forwarded requests on a unix socket beside its lock file. Other machines reach it where
its owner name says, at the address on which it serves; a sibling that takes the connection there hands
the request on once more.
"""

import socket
from collections.abc import Callable, Sequence

import aiohttp
from yarl import URL

from cephstorage.domain.errors import OriginUnreachable
from cephstorage.domain.storability import HOP_BY_HOP
from cephstorage.origin.failures import FOREIGN, before_answer, shown_cause
from cephstorage.origin.hops import first_hop
from cephstorage.origin.http import HttpOriginResponse

_KEEP_ALIVE = {socket.TCP_KEEPIDLE: 5, socket.TCP_KEEPINTVL: 3, socket.TCP_KEEPCNT: 3}
"""tcp(7): a machine that fell silent is noticed after about 15 s, as long as a lease."""
_NOT_OURS = ("accept", "accept-encoding", "user-agent")


class ProcessPeers:
    """The port ``Peers``: one client session per owner, kept while it answers.

    ``near`` gives the unix socket of an owner of this machine, None for others.
    """

    def __init__(self, near: Callable[[str], str | None]) -> None:
        self._near = near
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    def near(self, owner: str) -> bool:
        """Whether the owner's process is one of this machine."""
        return self._near(owner) is not None

    async def forward(
        self, owner: str, method: str, target: str, headers: Sequence[tuple[str, str]]
    ) -> HttpOriginResponse:
        """Send the request to the owner's process as it is. Raises OriginUnreachable."""
        passed = [(name, value) for name, value in headers if name.lower() not in HOP_BY_HOP]
        path, address = self._near(owner), owner.partition("@")[2]
        if path is None and not address:
            raise OriginUnreachable("The process that fills the key has no address for other machines.")
        url = f"http://{'peer' if path is not None else address}{target}"
        try:
            answer = await self._session(owner, path).request(
                method, URL(url, encoded=True), headers=passed, allow_redirects=False
            )
        except FOREIGN as error:
            await self._drop(owner)
            trouble = before_answer(error, "the process that fills the key")
            raise OriginUnreachable(trouble.msg) from shown_cause(error)
        return HttpOriginResponse(answer, first_hop(url, ()))

    def _session(self, owner: str, path: str | None) -> aiohttp.ClientSession:
        if owner not in self._sessions:
            self._sessions[owner] = aiohttp.ClientSession(
                connector=_tcp() if path is None else aiohttp.UnixConnector(path, limit=0),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=2.0, sock_read=120.0),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=_NOT_OURS,
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


def _tcp() -> aiohttp.TCPConnector:
    def make(address: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, _ = address
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEP_ALIVE.items():
            made.setsockopt(socket.IPPROTO_TCP, option, value)
        return made

    return aiohttp.TCPConnector(limit=0, socket_factory=make)
