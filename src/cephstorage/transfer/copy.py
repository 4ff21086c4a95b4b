"""Copies of keys: the store makes them from the source's very version, and they are landed as everything is.

    row with its plan ──> key lease ──> the store copies ──> publish (and, for a rename, the source goes): one transaction

A copy that its process did not live to see is made again by whoever takes it over; no client's bytes are needed for it.
"""

import asyncio
import contextlib

from cephstorage.domain.errors import CephStorageError
from cephstorage.domain.records import Record
from cephstorage.domain.transfers import Lease, Plan, TransferRequest
from cephstorage.ports.ledger import NewTransfer
from cephstorage.transfer.landing import Landing
from cephstorage.transfer.parts import Parts, new_transfer

_PATIENCE = 30.0


class Copies:
    """Makes copies. Times in seconds; whoever owns this renews what ``leases`` names."""

    def __init__(self, parts: Parts, landing: Landing, lease: float, patience: float) -> None:
        self._parts = parts
        self._landing = landing
        self._lease = lease
        self._patience = patience
        self._landings: dict[asyncio.Task[Record], tuple[Lease, int]] = {}

    def leases(self) -> list[tuple[Lease, int, int | None]]:
        """The leases of the copies under way, with their bytes done and total."""
        return [(lease, size, size) for lease, size in self._landings.values()]

    async def settle(self) -> None:
        """Wait until the copies under way have ended (orderly stop)."""
        if self._landings:
            await asyncio.wait(self._landings, timeout=_PATIENCE)

    async def begin(self, request: TransferRequest, source: Record) -> tuple[str, asyncio.Task[Record]]:
        """Note a copy of a record's version durably and begin it; its token, and the task that goes on whoever waits.

        Raises BucketNotFound, PreconditionFailed; the task also StoredBytesMissing, StoreUnavailable, StoreFull.
        """
        new, now = new_transfer(request), self._parts.clock()
        plan = self._landing.plan_copy(request, source, Lease(new.id, self._parts.owner, 1))
        lease = await self._parts.ledger.begin_upload(new, plan, self._parts.owner, now, now + self._lease)
        landing = asyncio.create_task(self._land(new, lease, plan))
        self._landings[landing] = (lease, plan.size)
        landing.add_done_callback(self._ended)
        return new.token, landing

    def _ended(self, landing: asyncio.Task[Record]) -> None:
        del self._landings[landing]
        if not landing.cancelled():
            landing.exception()  # the row tells it to whoever asks later

    async def _land(self, new: NewTransfer, lease: Lease, plan: Plan) -> Record:
        try:
            return await self._landing.copy(new.request, lease, plan, self._patience)
        except CephStorageError as error:
            with contextlib.suppress(CephStorageError):
                await self._parts.ledger.fail(lease, self._parts.clock(), error)
            raise
