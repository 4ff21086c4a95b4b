"""Whose turn it is: queued transfers are claimed as places get free, and the leases of what runs are renewed.

A lease names its owner and a fence. It is renewed long before it ends; who finds it lost, stops.
"""

import asyncio
from collections.abc import Callable

from cephstorage.domain.errors import CephStorageError
from cephstorage.domain.transfers import Lease, Transfer
from cephstorage.transfer.parts import EngineOptions, Parts
from cephstorage.transfer.sight import Sight
from cephstorage.waking import woken

_POLL = 0.5
_BEAT = 1.0
_EAGER = 8


class Claiming:
    """Keeps the places of background transfers busy. ``begin`` starts one that has been claimed."""

    def __init__(self, parts: Parts, options: EngineOptions, sight: Sight, begin: Callable[[Transfer], None]) -> None:
        self._ledger = parts.ledger
        self._owner = parts.owner
        self._clock = parts.clock
        self._options = options
        self._sight = sight
        self._begin = begin
        self._free = options.concurrency
        self._due = asyncio.Event()
        self._ends = False

    def wake(self) -> None:
        """Transfers were queued, or leases ended."""
        self._due.set()

    def end(self) -> None:
        """Claim nothing more."""
        self._ends = True
        self._due.set()

    def free(self) -> None:
        """A transfer that was claimed has ended."""
        self._free += 1
        self._due.set()

    async def run(self) -> None:
        """Claim until the end. Claims made at the same moment share one commit, so that many are made when many wait."""
        eager = 1
        while not self._ends:
            if not await self._sight.clear():
                await self._wait_due()
                continue
            claims = (self._claim() for _ in range(min(eager, self._free)))
            claimed = [transfer for transfer in await asyncio.gather(*claims) if transfer is not None]
            for transfer in claimed:
                self._free -= 1
                self._begin(transfer)
            eager = _EAGER if claimed else 1
            if not claimed or self._free == 0:
                await self._wait_due()

    async def _claim(self) -> Transfer | None:
        now = self._clock()
        try:
            return await self._ledger.claim(self._owner, now, now + self._options.lease, self._options.claims)
        except CephStorageError as error:
            self._sight.lost("claim_failed", error)
            return None

    async def _wait_due(self) -> None:
        if self._ends:
            return
        await woken(self._due, _POLL)
        self._due.clear()


async def renew_for_ever(
    parts: Parts,
    lease: float,
    sight: Sight,
    held: Callable[[], list[tuple[Lease, int, int | None]]],
    lost: Callable[[str], None],
) -> None:
    """Renew what is ``held`` (with bytes done and total) for ``lease`` seconds more; tell of what was ``lost``."""
    while True:
        await asyncio.sleep(_BEAT)
        if not (leases := held()):
            continue
        now = parts.clock()
        try:
            gone = await parts.ledger.renew(leases, now, now + lease)
        except CephStorageError as error:
            sight.lost("renew_failed", error)
            continue
        for ended in gone:
            lost(ended.transfer_id)
