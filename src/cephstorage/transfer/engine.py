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
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, replace

import structlog

from cephstorage.domain.digests import Digest
from cephstorage.domain.errors import (
    CephStorageError,
    DatabaseUnavailable,
    DigestMismatch,
    LeaseLost,
    LengthMismatch,
    Md5Mismatch,
    OriginChanged,
    TransferCancelled,
    TransferError,
    Unavailable,
    UploadInterrupted,
)
from cephstorage.domain.names import BucketName
from cephstorage.domain.ranges import RangeRequest
from cephstorage.domain.records import Record
from cephstorage.domain.transfers import Kind, Lease, Phase, Plan, SourceFacts, Transfer, TransferRequest
from cephstorage.transfer.digest import SpoolDigest
from cephstorage.transfer.fetch import Fetch
from cephstorage.transfer.intake import Limits
from cephstorage.transfer.landing import Landing
from cephstorage.transfer.live import Flowing, LiveTransfer
from cephstorage.transfer.parts import EngineOptions, Parts, new_transfer
from cephstorage.transfer.sight import Sight
from cephstorage.transfer.upload import Uploads

log = structlog.get_logger()

_POLL = 0.5
_BEAT = 1.0
_DISTRUST = 10.0
_COOL = 5.0
_MOST_COOLING = 10_000
_UNTAKEN = 5.0
_WORTH_NOTING = 1 << 20
_EAGER = 8
_MOST_CLAIMS = 100


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
        self._limits = Limits(parts.spools, options.max_object_size)
        self._landing = Landing(parts.store, parts.landing, parts.clock, parts.chance)
        self._running: dict[str, tuple[LiveTransfer, asyncio.Task[None]]] = {}
        self._fills: dict[tuple[BucketName, str], LiveTransfer] = {}
        self._starting: dict[tuple[BucketName, str], asyncio.Task[LiveTransfer | Elsewhere | KeyMoved]] = {}
        self._cooling: dict[tuple[BucketName, str], float] = {}
        self._free = options.concurrency
        self._due = asyncio.Event()
        self._landed = asyncio.Event()
        self._chores: list[asyncio.Task[None]] = []
        self._uploads = Uploads(parts, self._limits, self._landing, options.lease, options.upload_patience)
        self._sight = Sight(parts.ledger, options.lease)
        self._stopping = False

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
        self._chores = [asyncio.create_task(self._claim_for_ever()), asyncio.create_task(self._renew_for_ever())]

    async def hand_over(self) -> None:
        """Claim nothing more and give back what no request waits for, so that others go on with it at once.

        Fills and uploads go on: their clients get until ``stop`` to finish.
        """
        self._stopping = True
        self._due.set()
        await asyncio.gather(*self._chores[:1], return_exceptions=True)
        await asyncio.sleep(0)  # what was claimed last has to begin before it can be given back
        served = {id(live) for live in self._fills.values()}
        await self._end(task for live, task in self._running.values() if id(live) not in served)

    async def stop(self) -> None:
        """Stop in order: nothing new, uploads land, the rest is given back with its spool for the next start."""
        await self.hand_over()
        self._landing.hurry()
        await self._uploads.settle()
        await self._end(task for _, task in self._running.values())
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)

    async def _end(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        running = list(tasks)
        for task in running:
            if not task.cancelling():  # one that was cancelled before is cleaning up after itself
                task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def wake(self) -> None:
        """Tell the engine that transfers were queued or leases ended."""
        self._due.set()

    def live(self, bucket: BucketName, key: str) -> LiveTransfer | None:
        """The fill of this key that runs in this process."""
        return self._fills.get((bucket, key))

    def progress(self, transfer_id: str) -> tuple[int, int | None] | None:
        """Bytes done and total of a transfer that runs in this process, fresher than its row."""
        running = self._running.get(transfer_id)
        return (running[0].spool.spans.total(), running[0].length) if running is not None else None

    def cooling_until(self, bucket: BucketName, key: str) -> float:
        """Until when the origin is left alone for this key; 0.0 when it is not."""
        return self._cooling.get((bucket, key), 0.0)

    def cool(self, bucket: BucketName, key: str, seconds: float) -> None:
        """Leave the origin alone for this key."""
        if len(self._cooling) >= _MOST_COOLING:
            now = self._parts.clock()
            self._cooling = {name: until for name, until in self._cooling.items() if until > now}
        self._cooling[(bucket, key)] = self._parts.clock() + seconds

    async def fill(
        self, request: TransferRequest, first_range: RangeRequest | None, revalidating: Mapping[str, str]
    ) -> LiveTransfer | Elsewhere | KeyMoved:
        """Begin the single fill of a key, or join the one that runs in this process."""
        name = (request.bucket, request.key)
        if (live := self._fills.get(name)) is not None:
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
        slot = await self._ledger.begin_fill(new_transfer(request), self.owner, *self._lease_times())
        if slot.lease is None:
            return Elsewhere(slot.owner) if slot.owner is not None else KeyMoved()
        live = self._live(slot.left_over.request if slot.left_over else request, slot.lease)
        if slot.left_over is not None:
            live.source = slot.left_over.source
        live.first_range = first_range
        live.revalidating = revalidating
        self._run(live, slot.left_over)
        return live

    async def upload(
        self, request: TransferRequest, body: AsyncIterator[bytes], length: int | None, promised: tuple[Digest, ...]
    ) -> Record:
        """Store a body; see ``Uploads.take``."""
        record = await self._uploads.take(request, body, length, promised)
        self._landed.set()
        return record

    async def cancel(self, token: str) -> Transfer:
        """End a transfer by its token, here at once, elsewhere at its next heartbeat."""
        transfer = await self._ledger.cancel(token, self._parts.clock())
        self._abandon(transfer.id)
        self._parts.spools.remove(transfer.id)
        self._landed.set()
        return transfer

    def _abandon(self, transfer_id: str) -> None:
        if (running := self._running.get(transfer_id)) is not None:
            live, task = running
            live.failed(TransferCancelled("The transfer was cancelled or taken over by another process."))
            task.cancel()

    def _lease_times(self) -> tuple[float, float]:
        now = self._parts.clock()
        return now, now + self._options.lease

    def _live(self, request: TransferRequest, lease: Lease) -> LiveTransfer:
        return LiveTransfer(request, lease, self._parts.spools.open(lease.transfer_id))

    def _run(self, live: LiveTransfer, transfer: Transfer | None, *, claimed: bool = False) -> None:
        """Carry a transfer in a task of its own."""
        name = (live.request.bucket, live.request.key)
        if live.request.mirror_host is not None:
            self._fills[name] = live
        task = asyncio.create_task(self._carry(live, transfer))
        self._running[live.lease.transfer_id] = (live, task)

        def ended(_: asyncio.Task[None]) -> None:
            self._running.pop(live.lease.transfer_id, None)
            if self._fills.get(name) is live:
                del self._fills[name]
            live.spool.close()
            asyncio.get_running_loop().call_later(_UNTAKEN, live.drop_untaken)
            if claimed:
                self._free += 1
                self._due.set()

        task.add_done_callback(ended)

    async def _carry(self, live: LiveTransfer, transfer: Transfer | None) -> None:
        """See one transfer to its end, or give it back."""
        try:
            record = await self._finish_planned(live, transfer) or await self._move(live)
            self._parts.spools.remove(live.lease.transfer_id)
            self._landed.set()
            live.landed(record)
            self._tell(live, "nothing" if record is None else "landed")
        except asyncio.CancelledError:
            live.failed(Unavailable("The service is stopping; ask again."))
            if self._stopping:
                with contextlib.suppress(CephStorageError):
                    await self._ledger.release(live.lease, self._parts.clock())
            raise
        except LeaseLost as error:
            live.failed(error)
        except CephStorageError as error:
            await self._settle_failure(live, transfer, error)
        except Exception as error:
            log.exception("transfer_crashed", key=live.request.key, bucket=str(live.request.bucket))
            failure = CephStorageError("The transfer failed because of a fault in the service; see its log.")
            failure.__cause__ = error
            await self._settle_failure(live, transfer, failure)

    def _tell(self, live: LiveTransfer, end: str) -> None:
        self._parts.on_ended(live.request, end, max(0, live.spool.spans.total() - live.begun_with))

    async def _finish_planned(self, live: LiveTransfer, transfer: Transfer | None) -> Record | None:
        """Pick up a landing that was begun by an owner who died, or who gave up waiting for the store.

        What is in the spool goes on under the same plan if it is what was planned, so that parts which the
        store has already are not sent again. An upload fails whose bytes are neither here nor stored: they
        can't be asked for again.
        """
        if transfer is None or transfer.plan is None:
            return None
        if await _holds_planned(live, transfer.plan):
            _show_planned(live, transfer.plan)
            return await self._land(live, transfer.plan, again=True)
        record = await self._landing.finish(live.request, live.lease, transfer.plan)
        if record is None and transfer.request.kind is Kind.UPLOAD:
            raise UploadInterrupted("The service ended before the upload was stored; send it again.")
        return record

    async def _land(self, live: LiveTransfer, plan: Plan, *, again: bool = False) -> Record:
        """Land a verified spool. A fill can wait for the store: its readers have the spool."""
        patience = self._options.fill_patience if live.request.mirror_host is not None else 0.0
        return await self._landing.land(live.request, live.lease, live.spool, plan, patience, again=again)

    async def _move(self, live: LiveTransfer) -> Record | None:
        """Fetch, verify, land. None when the origin's answer left nothing to land."""
        if live.lease.fence > _MOST_CLAIMS:
            raise TransferError(
                f"Begun {live.lease.fence} times without an end, as if it killed its process; given up."
            )
        fetch = Fetch(live, self._parts.origin, self._limits, self._parts.chance)
        noting: list[asyncio.Task[None]] = []
        fetch.clock = self._parts.clock
        fetch.expected = self._parts.expected
        fetch.on_source = lambda: noting.extend(self._noting(live, Phase.FETCHING))
        digest = SpoolDigest(live.spool, self._parts.hashing)
        following = asyncio.create_task(_follow(live, digest))
        try:
            whole = await fetch.run()
        finally:
            following.cancel()
            await asyncio.gather(following, *noting, return_exceptions=True)
        if not whole:
            self._spare_origin(live, live.refusal_wait())
            await self._ledger.discard(live.lease)
            return None
        return await self._verify_and_land(live, digest)

    def _spare_origin(self, live: LiveTransfer, wait: float | None) -> None:
        """After a failed revalidation leave the origin alone for a moment: the stored copy serves. None: it did not fail."""
        if wait is not None and live.request.seen_generation > 0:
            self.cool(live.request.bucket, live.request.key, max(_COOL, wait))

    async def _verify_and_land(self, live: LiveTransfer, digest: SpoolDigest) -> Record | None:
        assert live.source is not None
        assert live.length is not None
        live.source = replace(live.source, length=live.length)
        noting = self._noting(live, Phase.VERIFYING)
        digest.expect(live.promised)
        await digest.follow(live.length)
        digest.verify(live.promised, repr(live.request.key))
        live.settle()
        await asyncio.gather(*noting)
        if 0 < live.policy.max_size < live.length:
            await self._ledger.discard(live.lease)  # its length was not announced: its readers have it, nobody else
            return None
        plan = self._landing.plan(live.request, live.source, live.lease, live.length, digest.md5())
        return await self._land(live, plan)

    def _noting(self, live: LiveTransfer, phase: Phase) -> list[asyncio.Task[None]]:
        """Note a phase beside the work. A small object is landed sooner than noted, and fetched anew sooner than resumed."""
        if live.length is not None and live.length < _WORTH_NOTING:
            return []
        return [asyncio.ensure_future(self._note(live, phase))]

    async def _note(self, live: LiveTransfer, phase: Phase) -> None:
        """Note a phase. The bytes go on without the index: what is not noted is only shown and resumed less well."""
        with contextlib.suppress(DatabaseUnavailable):
            await self._ledger.set_phase(live.lease, phase, self._parts.clock(), live.source)

    async def _settle_failure(self, live: LiveTransfer, transfer: Transfer | None, error: CephStorageError) -> None:
        """Queue another attempt or end the transfer, and tell the readers."""
        request, lease = live.request, live.lease
        attempts = (transfer.attempts if transfer is not None else 0) + 1
        log.warning(
            "transfer_attempt_failed", key=request.key, bucket=str(request.bucket), code=error.code, attempt=attempts
        )
        if isinstance(error, Md5Mismatch | DigestMismatch | LengthMismatch):
            self.cool(request.bucket, request.key, _DISTRUST)
        self._spare_origin(live, error.retry_after or 0.0)
        delay = self._options.retry.delay(attempts, self._parts.chance(), error.retry_after)
        durable = request.kind in {Kind.FETCH, Kind.WARM} or isinstance(error, Unavailable | OriginChanged)
        now = self._parts.clock()
        try:
            if error.retryable and durable and delay is not None:
                if isinstance(error, OriginChanged):
                    self._parts.spools.remove(lease.transfer_id)
                elif live.verified:
                    live.spool.keep()
                await self._ledger.requeue(lease, now, now + delay, error)
                asyncio.get_running_loop().call_later(delay, self.wake)
            else:
                nothing_came = request.kind is Kind.FILL and live.source is None
                await (self._ledger.discard(lease) if nothing_came else self._ledger.fail(lease, now, error))
                self._parts.spools.remove(lease.transfer_id)
        except CephStorageError as trouble:
            log.error("transfer_state_not_saved", key=request.key, code=trouble.code, msg=trouble.msg)
        live.failed(error)
        self._tell(live, error.code)
        self._landed.set()

    async def _claim_for_ever(self) -> None:
        """Keep the free places busy. Claims made at the same moment share one commit, so that many are made when many wait."""
        eager = 1
        while not self._stopping:
            if not await self._sight.clear():
                await self._wait_due()
                continue
            claims = (self._claim_one() for _ in range(min(eager, self._free)))
            claimed = [transfer for transfer in await asyncio.gather(*claims) if transfer is not None]
            for transfer in claimed:
                live = self._live(transfer.request, Lease(transfer.id, self.owner, transfer.fence))
                live.source = transfer.source
                self._free -= 1
                self._run(live, transfer, claimed=True)
            eager = _EAGER if claimed else 1
            if not claimed or self._free == 0:
                await self._wait_due()

    async def _claim_one(self) -> Transfer | None:
        try:
            return await self._ledger.claim(self.owner, *self._lease_times(), self._options.claims)
        except CephStorageError as error:
            self._sight.lost("claim_failed", error)
            return None

    async def _wait_due(self) -> None:
        if self._stopping:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._due.wait(), _POLL)
        self._due.clear()

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_BEAT)
            held = [(live.lease, live.spool.spans.total(), live.length) for live, _ in self._running.values()]
            held += self._uploads.leases()
            if not held:
                continue
            try:
                lost = await self._ledger.renew(held, *self._lease_times())
            except CephStorageError as error:
                self._sight.lost("renew_failed", error)
                continue
            for lease in lost:
                self._abandon(lease.transfer_id)


async def _holds_planned(live: LiveTransfer, plan: Plan) -> bool:
    """Whether the spool is exactly what was planned. Another attempt may have fetched other bytes since."""
    if live.spool.spans.total() != plan.size or live.front != plan.size or plan.size == 0:
        return False
    digest = SpoolDigest(live.spool)
    await digest.follow(plan.size)
    return digest.md5() == plan.md5


def _show_planned(live: LiveTransfer, plan: Plan) -> None:
    """Let readers have a spool that was verified when it was planned."""
    source = live.source or SourceFacts(
        url=live.request.url or "",
        length=plan.size,
        resume_validator=None,
        public=plan.public,
        content_type=plan.content_type,
        origin=plan.origin,
    )
    live.announce(Flowing(replace(source, length=plan.size)))
    live.settle()


async def _follow(live: LiveTransfer, digest: SpoolDigest) -> None:
    """Hash the spool while it grows."""
    if not isinstance(await live.head(), Flowing):
        return
    digest.expect(live.promised)
    while True:
        front = live.front
        await digest.follow(front)
        if front == live.front:
            await live.changed()
