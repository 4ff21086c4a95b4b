"""The SSRF guard: the last word before a socket is made, on the very address it will connect to.

The decision on an address is pure (``cephstorage.domain.addresses``); here it is bound to sockets, to
ports and to our own endpoints. Every connection passes, whatever led to it: a name, a literal, a
redirect, a retry.
"""

import asyncio
import socket
from collections.abc import Iterable
from contextlib import closing
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from cephstorage.domain.addresses import Address, Network, parse_address, refused_class
from cephstorage.domain.errors import ForbiddenAddress

DEFAULT_PORTS = frozenset({80, 443})
AddressInfo = tuple[Any, Any, int, str, tuple[Any, ...]]


class ConnectGuard:
    """Says which endpoints may be connected to.

    ``allowed_networks`` and ``allowed_ports`` come on top of public addresses and ports 80, 443.
    ``denied_endpoints`` are (address, port) of our own service; they are refused even inside an
    allowed network, and a wildcard (``0.0.0.0``, ``::``) stands for every address of this machine.
    """

    def __init__(
        self,
        allowed_networks: Iterable[Network] = (),
        allowed_ports: Iterable[int] = (),
        denied_endpoints: Iterable[tuple[str, int]] = (),
    ) -> None:
        self._networks = tuple(allowed_networks)
        self._ports = DEFAULT_PORTS | frozenset(allowed_ports)
        self._denied = set(denied_endpoints)
        self._own: frozenset[tuple[str, int]] = frozenset()
        self._own_names: frozenset[tuple[str, int]] = frozenset()

    def deny_endpoint(self, address: str, port: int) -> None:
        """Refuse one more endpoint of ours, for instance once the port that was bound is known."""
        self._denied.add((address, port))

    def deny_parts(self, names: Iterable[tuple[str, int]], addresses: Iterable[tuple[str, int]]) -> None:
        """Refuse these endpoints, parts of this installation, in place of those that were told before.

        ``names`` are hosts as they are configured, ``addresses`` where these lead.
        """
        self._own_names = frozenset((_plain(host), port) for host, port in names)
        self._own = frozenset(addresses)

    def check_port(self, host: str, port: int) -> None:
        """Raise ForbiddenAddress unless the port is allowed."""
        if port not in self._ports:
            raise ForbiddenAddress(
                f"Port {port} of {host!r} may not be reached; the operator can add it to the allowed origin ports."
            )

    def check(self, host: str, sockaddr: tuple[Any, ...]) -> None:
        """Raise ForbiddenAddress unless a connection to ``sockaddr`` may be opened for ``host``."""
        address, port = str(sockaddr[0]), int(sockaddr[1])
        self.check_port(host, port)
        refused = refused_class(address, self._networks)
        if refused is not None:
            raise ForbiddenAddress(
                f"{host!r} leads to a {refused} address, which may not be reached; "
                "the operator can add its network to the allowed origin networks."
            )
        if (_plain(host), port) in self._own_names or self._is_among(self._own, sockaddr):
            raise ForbiddenAddress(f"{host!r}, port {port}, is a part of this installation; it can't be an origin.")
        if self._is_among(self._denied, sockaddr):
            raise ForbiddenAddress(f"{host!r}, port {port}, is this service itself; it can't be its own origin.")

    def socket_for(self, info: AddressInfo) -> socket.socket:
        """A socket for an address that has passed: the ``socket_factory`` of every connection."""
        family, kind, protocol, _, sockaddr = info
        self.check(str(sockaddr[0]), sockaddr)
        return socket.socket(family, kind, protocol)

    def _is_among(self, endpoints: Iterable[tuple[str, int]], sockaddr: tuple[Any, ...]) -> bool:
        address = parse_address(str(sockaddr[0]))
        for denied, port in endpoints:
            if port != sockaddr[1]:
                continue
            ours = parse_address(denied)
            if address == ours or ((ours.is_unspecified or address.is_unspecified) and _is_local(address, sockaddr)):
                return True
        return False


def _plain(host: str) -> str:
    return host.lower().rstrip(".")


def _is_local(address: Address, sockaddr: tuple[Any, ...]) -> bool:
    """Whether the address is one of this machine's: only those can be bound."""
    version_6 = address.version == 6
    try:
        with closing(socket.socket(socket.AF_INET6 if version_6 else socket.AF_INET, socket.SOCK_DGRAM)) as probe:
            probe.bind((str(address), 0, *(sockaddr[2:] if version_6 else ())))
    except OSError:
        return False
    return True


class GuardedResolver(AbstractResolver):
    """Resolves a name once and keeps the addresses that the guard lets through: those are connected to."""

    def __init__(self, guard: ConnectGuard, timeout: float) -> None:
        self._guard = guard
        self._timeout = timeout
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The allowed addresses of ``host``. Raises ForbiddenAddress when there are addresses but none is allowed."""
        async with asyncio.timeout(self._timeout):
            found = await self._resolver.resolve(host, port, family)
        allowed, refusal = [], None
        for result in found:
            try:
                self._guard.check(host, (result["host"], result["port"]))
            except ForbiddenAddress as error:
                refusal = refusal or error
            else:
                allowed.append(result)
        if refusal is not None and not allowed:
            raise refusal
        return allowed

    async def close(self) -> None:
        """Nothing is held."""
