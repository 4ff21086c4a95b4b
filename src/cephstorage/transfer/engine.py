"""The transfer engine: it owns every movement of bytes, so that no request has to.

    create from URL ─┐                       ┌─> readers follow the spool
    mirror miss ─────┼─> claim ─> fetch ─────┤
    warm-up ─────────┘            (spool)    └─> verify ─> store ─> publish
    upload ──────────────────────────────────────^

One engine runs per process; engines of many processes share the ledger. A transfer belongs to the
engine that holds its lease; leases of dead processes are taken over, and the fence keeps a process that
only seemed dead from doing harm.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass

import structlog

from cephstorage.domain.digests import Digest
from cephstorage.domain.errors import CephStorageError, TransferCancelled
from cephstorage.domain.names import BucketName
from cephstorage.domain.ranges import RangeRequest
from cephstorage.domain.records import Record
from cephstorage.domain.transfers import Kind, Lease, Transfer, TransferRequest
from cephstorage.transfer.attempt import Attempts
from cephstorage.transfer.claims import Claiming, renew_for_ever
from cephstorage.transfer.cooling import Cooling
from cephstorage.transfer.copy import Copies
from cephstorage.transfer.fetch import SEGMENT
from cephstorage.transfer.intake import Limits
from cephstorage.transfer.landing import Landing
from cephstorage.transfer.live import LiveTransfer
from cephstorage.transfer.parts import EngineOptions, Parts, new_transfer
from cephstorage.transfer.sight import Sight
from cephstorage.transfer.upload import Uploads

log = structlog.get_logger()

_UNTAKEN = 5.0


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Another process fills the key: ask there."""

    owner: str


@dataclass(frozen=True, slots=True)
class KeyMoved:
    """The key changed since it was looked at: look again."""


class TransferEngine:
    """Runs transfers. All methods belong on one event loop."""

    def __init__(self, parts: Parts, options: EngineOptions) -> None:
        self._parts = parts
        self._options = options
        self._ledger = parts.ledger
        self._landing = Landing(parts.store, parts.landing, parts.clock, parts.chance)
        self._running: dict[str, tuple[LiveTransfer, asyncio.Task[None]]] = {}
        self._fills: dict[tuple[BucketName, str], LiveTransfer] = {}
        self._starting: dict[tuple[BucketName, str], asyncio.Task[LiveTransfer | Elsewhere | KeyMoved]] = {}
        self._cooling = Cooling(parts.clock)
        self._landed = asyncio.Event()
        self._chores: list[asyncio.Task[None]] = []
        limits = Limits(parts.spools, options.max_object_size)
        self._uploads = Uploads(parts, limits, self._landing, options.lease, options.upload_patience)
        self._copies = Copies(parts, self._landing, options.lease, options.upload_patience)
        self._sight = Sight(parts.ledger, options.lease, wall=parts.clock)
        self._claiming = Claiming(parts, options, self._sight, self._claimed)
        self._attempts = Attempts(parts, options, limits, self._landing, self._cooling, self._claiming.wake)

    @property
    def owner(self) -> str:
        """The name under which this engine holds leases."""
        return self._parts.owner

    @property
    def landed(self) -> asyncio.Event:
        """Set whenever a landing or a delete may have left bytes to remove."""
        return self._landed

    def start(self) -> None:
        """Begin to claim and to renew."""
        renewing = renew_for_ever(self._parts, self._options.lease, self._sight, self._held, self._lost)
        self._chores = [asyncio.create_task(self._claiming.run()), asyncio.create_task(renewing)]

    async def hand_over(self) -> None:
        """Claim nothing more and give back what no request waits for, so that others go on with it at once.

        Fills and uploads go on: their clients get until ``stop`` to finish.
        """
        self._attempts.stopping = True
        self._claiming.end()
        await asyncio.gather(*self._chores[:1], return_exceptions=True)
        await asyncio.sleep(0)  # what was claimed last has to begin before it can be given back
        served = {id(live) for live in self._fills.values()}
        await self._end(task for live, task in self._running.values() if id(live) not in served)

    async def stop(self) -> None:
        """Stop in order: nothing new, uploads land, the rest is given back with its spool for the next start."""
        await self.hand_over()
        self._landing.hurry()
        await self._uploads.settle()
        await self._copies.settle()
        await self._end(task for _, task in self._running.values())
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)

    async def _end(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        running = list(tasks)
        for task in running:
            _cancel(task)
        await asyncio.gather(*running, return_exceptions=True)

    def wake(self) -> None:
        """Tell the engine that transfers were queued or leases ended."""
        self._claiming.wake()

    def live(self, bucket: BucketName, key: str) -> LiveTransfer | None:
        """The fill of this key that runs in this process."""
        return self._fills.get((bucket, key))

    def progress(self, transfer_id: str) -> tuple[int, int | None] | None:
        """Bytes done and total of a transfer that runs in this process, fresher than its row."""
        running = self._running.get(transfer_id)
        return (running[0].spool.spans.total(), running[0].length) if running is not None else None

    def cooling_until(self, bucket: BucketName, key: str) -> float:
        """Until when the origin is left alone for this key; 0.0 when it is not."""
        return self._cooling.until(bucket, key)

    def cool(self, bucket: BucketName, key: str, seconds: float) -> None:
        """Leave the origin alone for this key."""
        self._cooling.cool(bucket, key, seconds)

    async def fill(
        self, request: TransferRequest, first_range: RangeRequest | None, revalidating: Mapping[str, str]
    ) -> LiveTransfer | Elsewhere | KeyMoved:
        """Begin the single fill of a key, or join the one that runs in this process."""
        name = (request.bucket, request.key)
        while (live := self._fills.get(name)) is not None and live.unread:
            await asyncio.wait({self._running[live.lease.transfer_id][1]})
        if live is not None:
            return live
        starting = self._starting.get(name)
        if starting is None:
            starting = asyncio.create_task(self._begin_fill(request, first_range, revalidating))
            self._starting[name] = starting
            starting.add_done_callback(lambda _: self._starting.pop(name, None))
        return await asyncio.shield(starting)

    async def _begin_fill(
        self, request: TransferRequest, first_range: RangeRequest | None, revalidating: Mapping[str, str]
    ) -> LiveTransfer | Elsewhere | KeyMoved:
        now = self._parts.clock()
        slot = await self._ledger.begin_fill(new_transfer(request), self.owner, now, now + self._options.lease)
        if slot.lease is None:
            return Elsewhere(slot.owner) if slot.owner is not None else KeyMoved()
        if slot.left_over is not None:
            live = LiveTransfer(slot.left_over.request, slot.lease, self._parts.spools.open(slot.lease.transfer_id))
            live.source = slot.left_over.source
        else:
            live = LiveTransfer(request, slot.lease, self._parts.spools.begin(slot.lease.transfer_id))
        live.bounded = slot.bounded
        live.first_range = first_range
        live.revalidating = revalidating
        self._run(live, slot.left_over)
        return live

    def left(self, live: LiveTransfer, linger: float) -> None:
        """A reader has ended, or gone. A fill that nobody reads for ``linger`` seconds is dropped if a rule says so."""
        live.readers -= 1
        if live.readers == 0 and not live.finishes:
            asyncio.get_running_loop().call_later(linger, self._drop_unread, live)

    def _drop_unread(self, live: LiveTransfer) -> None:
        running = self._running.get(live.lease.transfer_id)
        if running is not None and live.readers == 0 and not live.finishes:
            live.unread = True
            _cancel(running[1])

    async def upload(
        self,
        request: TransferRequest,
        body: AsyncIterator[bytes],
        length: int | None,
        promised: tuple[Digest, ...],
        *,
        bounded: bool = False,
    ) -> Record:
        """Store a body; see ``Uploads.take``."""
        with self._parts.refusals.noted(request):
            record = await self._uploads.take(request, body, length, promised, bounded=bounded)
        self._landed.set()
        return record

    async def copy(self, request: TransferRequest, source: Record) -> tuple[str, asyncio.Task[Record]]:
        """Begin a copy; see ``Copies.begin``."""
        with self._parts.refusals.noted(request):
            token, landing = await self._copies.begin(request, source)
        landing.add_done_callback(lambda _: self._landed.set())
        return token, landing

    async def cancel(self, token: str) -> Transfer:
        """End a transfer by its token, here at once, elsewhere at its next heartbeat."""
        transfer = await self._ledger.cancel(token, self._parts.clock())
        self._abandon(transfer.id)
        self._parts.spools.remove(transfer.id)
        self._landed.set()
        return transfer

    def _lost(self, transfer_id: str) -> None:
        """A lease was not there any more when it was to be renewed."""
        if not self._landing.publishes(transfer_id):
            self._abandon(transfer_id)

    def _abandon(self, transfer_id: str) -> None:
        if (running := self._running.get(transfer_id)) is not None:
            live, task = running
            live.failed(TransferCancelled("The transfer was cancelled or taken over by another process."))
            _cancel(task)

    def _held(self) -> list[tuple[Lease, int, int | None]]:
        """The leases of what runs, with bytes done and total."""
        held = [(live.lease, live.spool.spans.total(), live.length) for live, _ in self._running.values()]
        return held + self._uploads.leases() + self._copies.leases()

    def _claimed(self, transfer: Transfer) -> None:
        """Carry on what was queued, or left by another owner.

        A fill whose readers have not come over yet begins with a segment: had the whole been asked for, it would be cut
        where they go on, with what is under way by then fetched in vain.
        """
        lease = Lease(transfer.id, self.owner, transfer.fence)
        try:
            spool = self._parts.spools.open(transfer.id)
        except CephStorageError as error:
            log.error("spool_not_opened", key=transfer.request.key, code=error.code, msg=error.msg)
            self._claiming.free()  # the lease ends by itself, and whoever claims it then may be able to
            return
        live = LiveTransfer(transfer.request, lease, spool)
        live.source = transfer.source
        if transfer.request.kind is Kind.FILL and live.source is not None and live.source.resume_validator is not None:
            live.first_range = RangeRequest(0, SEGMENT - 1)
        self._run(live, transfer, claimed=True)

    def _run(self, live: LiveTransfer, transfer: Transfer | None, *, claimed: bool = False) -> None:
        """Carry a transfer in a task of its own."""
        name = (live.request.bucket, live.request.key)
        if live.request.mirror_host is not None:
            self._fills[name] = live
        task = asyncio.create_task(self._attempts.carry(live, transfer))
        self._running[live.lease.transfer_id] = (live, task)

        def ended(_: asyncio.Task[None]) -> None:
            self._running.pop(live.lease.transfer_id, None)
            self._parts.spools.release(live.lease.transfer_id)
            if self._fills.get(name) is live:
                del self._fills[name]
            live.spool.close()
            asyncio.get_running_loop().call_later(_UNTAKEN, live.drop_untaken)
            self._landed.set()
            if claimed:
                self._claiming.free()

        task.add_done_callback(ended)
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, live.spool.prepare)  # after the origin has been asked, before it answers


def _cancel(task: "asyncio.Task[None]") -> None:
    """Have a transfer end. One that was told before is cleaning up after itself: a second time would stop that."""
    if not task.cancelling():
        task.cancel()
