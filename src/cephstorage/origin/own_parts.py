"""The endpoints of this installation's own parts (RGW, database), which are no origins.

They may be configured by name, and a name may lead elsewhere tomorrow, so they are looked up again and again.
"""

import asyncio
import socket
from collections.abc import Callable, Collection

import structlog

from cephstorage.origin.guard import ConnectGuard

log = structlog.get_logger()
Endpoint = tuple[str, int]
_EVERY = 30.0
_PATIENCE = 2.0


class OwnParts:
    """Keeps the guard informed, and tells when it forbids other endpoints than before."""

    def __init__(self, guard: ConnectGuard, on_change: Callable[[], None]) -> None:
        self._guard = guard
        self._on_change = on_change
        self._refused: tuple[set[Endpoint], set[Endpoint]] = (set(), set())
        self._inner: Collection[Endpoint] = ()
        self._public: Collection[Endpoint] = ()
        self._known: dict[Endpoint, frozenset[Endpoint]] = {}
        self._task: asyncio.Task[None] | None = None

    def refuse(self, inner: Collection[Endpoint], public: Collection[Endpoint]) -> None:
        """Refuse these endpoints from now on: ``inner`` by name and by address, ``public`` by name.

        Everybody reaches the public ones anyway; to look them up would only tell the world's name servers of us.
        """
        self._inner, self._public = inner, public
        addresses = [address for endpoint in inner for address in self._known.get(endpoint, ())]
        refused = ({*inner, *public}, set(addresses))
        if refused != self._refused:
            self._refused = refused
            self._guard.deny_parts(*refused)
            self._on_change()

    async def look_up(self, inner: Collection[Endpoint], *, again: bool = False) -> None:
        """Learn the addresses of endpoints, also (``again``) of known ones. What leads nowhere now keeps those it had."""
        wanted = [endpoint for endpoint in inner if again or endpoint not in self._known]
        for endpoint, found in zip(wanted, await asyncio.gather(*map(_addresses, wanted)), strict=True):
            if found:
                self._known[endpoint] = found

    def start(self) -> None:
        """Begin to look them up again and again."""
        self._task = asyncio.create_task(self._for_ever())

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _for_ever(self) -> None:
        while True:
            await asyncio.sleep(_EVERY)
            await self.look_up(self._inner, again=True)
            self.refuse(self._inner, self._public)


async def _addresses(endpoint: Endpoint) -> frozenset[Endpoint]:
    host, port = endpoint
    try:
        async with asyncio.timeout(_PATIENCE):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        log.warning("own_part_not_found", host=host, port=port)
        return frozenset()
    return frozenset((str(info[4][0]), port) for info in found)
