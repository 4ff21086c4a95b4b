"""Room in quotas for what this process moves: reserved when the length is known, or as it becomes known.

Only transfers to bounded buckets have a ``Room``. It ends with the lease under which it was reserved, so that nobody
has to give it back.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from cephstorage.domain.errors import DatabaseUnavailable, QuotaExceeded
from cephstorage.domain.names import BucketName
from cephstorage.domain.transfers import Kind, Lease, TransferRequest
from cephstorage.ports.ledger import TransferLedger

log = structlog.get_logger()

_AHEAD = 4 << 20
"""Bytes that a body of unknown length reserves ahead, if they fit."""


class Refusals:
    """Tells the operator of what did not fit: counted each time, logged when it begins.

    A mirror's readers never hear of it, so that a log line a bucket stands for all copies that are not kept, until
    there is room again.
    """

    def __init__(self) -> None:
        self.on_refusal: Callable[[Kind], None] = lambda _: None
        self._out: set[BucketName] = set()

    def note(self, request: TransferRequest, error: QuotaExceeded) -> None:
        """Something did not fit."""
        self.on_refusal(request.kind)
        if request.kind is Kind.FILL and request.bucket not in self._out:
            self._out.add(request.bucket)
            log.warning("mirror_copies_not_kept", bucket=str(request.bucket), key=request.key, msg=error.msg)

    @contextmanager
    def noted(self, request: TransferRequest) -> Iterator[None]:
        """Note what does not fit in here."""
        try:
            yield
        except QuotaExceeded as error:
            self.note(request, error)
            raise

    def fits(self, request: TransferRequest) -> None:
        """Something did fit."""
        if request.kind is Kind.FILL and request.bucket in self._out:
            self._out.discard(request.bucket)
            log.info("mirror_copies_kept_again", bucket=str(request.bucket))


class Room:
    """What a transfer has reserved. ``refused``: why the object is too large for it, once that is known."""

    def __init__(self, ledger: TransferLedger, clock: Callable[[], float], lease: Lease, enough_for: int = -1) -> None:
        self._ledger = ledger
        self._clock = clock
        self.lease = lease
        self._enough_for = enough_for
        self.refused: QuotaExceeded | None = None

    async def hold(self, size: int, ahead: int = 0) -> None:
        """See to it that there is room for an object of ``size`` bytes, and for more if it fits.

        A database that does not answer now is asked by the commit. Raises QuotaExceeded, LeaseLost.
        """
        if size <= self._enough_for:
            return
        try:
            self._enough_for = await self._ledger.reserve(self.lease, size, size + ahead, self._clock())
        except DatabaseUnavailable:
            return
        except QuotaExceeded as error:
            self.refused = error
            raise

    async def grow(self, size: int) -> None:
        """The same for a body that may go on."""
        await self.hold(size, _AHEAD)
