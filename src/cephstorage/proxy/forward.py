"""Forwarding: a request for a key that another process fills is answered by that process.

The answer is decided anew when the owner can't be reached, ends before anything was passed on, or stays silent
while its lease ends; one that breaks off in its body is gone on with (``going_on``). So a request meets dead owners only as a
wait.
"""

import asyncio
from collections.abc import Callable

from cephstorage.domain.edge import ACCEL_REDIRECT, DISK_LOCATION
from cephstorage.domain.errors import DatabaseUnavailable, OriginUnreachable, TransferError
from cephstorage.domain.names import BucketName
from cephstorage.ports.ledger import TransferLedger
from cephstorage.ports.origin import OriginResponse
from cephstorage.ports.peers import Peers
from cephstorage.proxy.exchange import FORWARDED, Exchange
from cephstorage.proxy.going_on import CutOff, Promise
from cephstorage.proxy.passthrough import for_edge, hand_on

CACHE = "CephStorage"
"""Our name in Cache-Status."""
_MOST_HOPS = 3
_OWNED_EVERY = 2.0
"""Seconds between two looks at whether a silent owner still is one."""


class Forwarding:
    """Hands requests to owners. ``name`` is this process's own."""

    def __init__(self, peers: Peers, ledger: TransferLedger, name: str, clock: Callable[[], float]) -> None:
        self._peers = peers
        self._ledger = ledger
        self._name = name
        self._clock = clock

    async def ask(self, exchange: Exchange, bucket: BucketName, key: str, owner: str) -> bool:
        """Let the owner of the fill answer; False when it can't be reached, or ends before anything was passed on.

        A request that came from another machine goes on to the owner's process on this one, and no further. A place
        on another machine's disk is no answer here: the key is stored by now, and decided anew.
        """
        request = exchange.request
        passed = [name.strip() for name in request.headers.get(FORWARDED, "").split(",") if name.strip()]
        if passed and (len(passed) >= _MOST_HOPS or not self._peers.near(owner)):
            return False
        trail = ", ".join([*passed, self._name])
        internal = request.internal if exchange.edge is not None else {}
        own = ((name, value) for name, value in request.headers.items() if name != FORWARDED)
        headers = [*own, *internal.items(), (FORWARDED, trail)]
        asking = asyncio.ensure_future(self._peers.forward(owner, request.method, request.target, headers))
        try:
            await self._while_owned(asking, owner, bucket, key)
            if not asking.done():
                return False
            response = asking.result()
        except OriginUnreachable:
            return False
        finally:
            asking.cancel()
        if response.headers.get(ACCEL_REDIRECT, "").startswith(DISK_LOCATION) and not self._peers.near(owner):
            await response.close()
            return False
        exchange.lifetime, said = for_edge(response) if exchange.edge is not None else (0, [])
        watching = asyncio.create_task(self._while_it_comes(exchange, response, owner, bucket, key))
        try:
            await hand_on(exchange, response, [("cache-status", response.headers.get("cache-status", CACHE)), *said])
        except TransferError as error:
            if not exchange.started:
                return False
            if (promise := Promise.of(response)) is None:
                raise
            raise CutOff(promise, error) from error
        finally:
            watching.cancel()
        return True

    async def _while_it_comes(
        self, exchange: Exchange, response: OriginResponse, owner: str, bucket: BucketName, key: str
    ) -> None:
        """Give up an answer that stands still, when who sends it does not fill the key any more.

        While the client takes nothing, nobody can tell: a fill that has ended well is still being read there.
        """
        seen = -1
        while exchange.writing or exchange.sent != seen or await self._still_fills(owner, bucket, key):
            seen = exchange.sent
            await asyncio.sleep(_OWNED_EVERY)
        await response.close()

    async def _while_owned(
        self, asking: "asyncio.Future[OriginResponse]", owner: str, bucket: BucketName, key: str
    ) -> None:
        """Wait for the owner's answer as long as it is the owner: a frozen process is silent, but its lease ends."""
        while not (await asyncio.wait({asking}, timeout=_OWNED_EVERY))[0]:
            if not await self._still_fills(owner, bucket, key):
                return

    async def _still_fills(self, owner: str, bucket: BucketName, key: str) -> bool:
        try:
            found = await self._ledger.fill_owner(bucket, key, self._clock())
        except DatabaseUnavailable:
            return True  # nobody else can have taken it over
        return found == owner
