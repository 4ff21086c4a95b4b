"""Whether this engine may claim: not while the index is gone, nor in the first moment when it is back.

After a long outage every lease has ended, though owners live and go on with their transfers: they could
not renew. They do so within a beat of the index being back, and whoever claims waits for that long, so
that nothing under way is taken from the living and done twice. The same holds when all the machine stood still (it was
suspended, its clock was set): leases end by the clock on the wall.
"""

import time
from collections.abc import Callable

import structlog

from cephstorage.domain.errors import CephStorageError
from cephstorage.ports.ledger import TransferLedger

log = structlog.get_logger()

_GRACE = 3.0
"""Seconds: a beat of the owners, the time in which they notice, and one more."""


class Sight:
    """Of one engine. ``lease`` is in seconds: leases outlive an outage that is shorter. They end by ``wall``."""

    def __init__(
        self,
        ledger: TransferLedger,
        lease: float,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._lease = lease
        self._clock = clock
        self._wall = wall
        self._looked_at: float | None = None
        self._lost_at: float | None = None
        self._claim_from = 0.0

    def lost(self, what: str, error: CephStorageError) -> None:
        """Note that the index does not answer; say so once."""
        if self._lost_at is None:
            self._lost_at = self._clock()
            log.warning(what, code=error.code, msg=error.msg)

    async def clear(self) -> bool:
        """Whether to claim now. To be asked every second or so."""
        before, self._looked_at = self._looked_at, self._wall()
        if before is not None and self._looked_at - before > max(self._lease / 2, _GRACE):
            self._claim_from = self._clock() + _GRACE
        if self._lost_at is not None:
            try:
                await self._ledger.owners()
            except CephStorageError:
                return False
            gone, self._lost_at = self._clock() - self._lost_at, None
            if gone > self._lease / 2:
                self._claim_from = self._clock() + _GRACE
        return self._clock() >= self._claim_from
