"""One attempt at a transfer, from its claim to its end: fetched, verified, landed, or given back.

    planned before ──> land it again, or find it stored
    else ──> fetch (the digest follows the spool) ──> verify ──> land
    failed ──> queued again with its spool, or ended

What an attempt leaves is durable: the row says what happened, and the spool holds what is worth going on with.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace

import structlog

from cephstorage.domain.errors import (
    CephStorageError,
    DatabaseUnavailable,
    DigestMismatch,
    LeaseLost,
    LengthMismatch,
    Md5Mismatch,
    OriginChanged,
    QuotaExceeded,
    TransferError,
    Unavailable,
    UploadInterrupted,
)
from cephstorage.domain.records import Record
from cephstorage.domain.transfers import Kind, Phase, Plan, SourceFacts, Transfer
from cephstorage.transfer.cooling import Cooling
from cephstorage.transfer.digest import SpoolDigest
from cephstorage.transfer.fetch import Fetch
from cephstorage.transfer.intake import Limits
from cephstorage.transfer.landing import Landing
from cephstorage.transfer.live import Flowing, LiveTransfer
from cephstorage.transfer.parts import EngineOptions, Parts
from cephstorage.transfer.room import Room
from cephstorage.transfer.spool import WORTH_A_JOURNAL

log = structlog.get_logger()

_DISTRUST = 10.0
_COOL = 5.0
_MOST_CLAIMS = 100


class Attempts:
    """Carries transfers, each in a task that the engine gives it.

    ``wake`` is called when a transfer that was queued again is due. ``stopping``: who is cancelled gives its lease back.
    """

    def __init__(
        self,
        parts: Parts,
        options: EngineOptions,
        limits: Limits,
        landing: Landing,
        cooling: Cooling,
        wake: Callable[[], None],
    ) -> None:
        self._parts = parts
        self._options = options
        self._ledger = parts.ledger
        self._limits = limits
        self._landing = landing
        self._cooling = cooling
        self._wake = wake
        self.stopping = False

    async def carry(self, live: LiveTransfer, transfer: Transfer | None) -> None:
        """See one transfer to its end, or give it back."""
        try:
            record = await self._finish_planned(live, transfer) or await self._move(live)
            self._parts.spools.end(live.spool)
            live.landed(record)
            if record is not None:
                self._parts.refusals.fits(live.request)
            self._tell(live, "nothing" if record is None else "landed")
        except asyncio.CancelledError:
            live.failed(Unavailable("The service is stopping; ask again."))
            if live.unread:
                await self._forget_unread(live)
            elif self.stopping:
                with contextlib.suppress(CephStorageError):
                    await self._ledger.release(live.lease, self._parts.clock())
            raise
        except LeaseLost as error:
            live.failed(error)
        except QuotaExceeded as error:
            self._parts.refusals.note(live.request, error)
            await (
                self._leave_out(live) if live.request.kind is Kind.FILL else self._settle_failure(live, transfer, error)
            )
        except CephStorageError as error:
            await self._settle_failure(live, transfer, error)
        except Exception as error:
            log.exception("transfer_crashed", key=live.request.key, bucket=str(live.request.bucket))
            failure = CephStorageError("The transfer failed because of a fault in the service; see its log.")
            failure.__cause__ = error
            await self._settle_failure(live, transfer, failure)

    async def _leave_out(self, live: LiveTransfer) -> None:
        """A fill that does not fit: its readers have it from the spool if it is whole, and are decided anew if not."""
        with contextlib.suppress(CephStorageError):
            await self._ledger.discard(live.lease)
        self._parts.spools.end(live.spool)
        if live.verified:
            live.landed(None)
        else:
            live.failed(OriginChanged("The copy was not kept: it does not fit in the quota."))
        self._tell(live, "nothing")

    async def _forget_unread(self, live: LiveTransfer) -> None:
        """Nothing of a dropped fill is kept: whoever asks next begins anew."""
        with contextlib.suppress(CephStorageError):
            await self._ledger.discard(live.lease)
        self._parts.spools.end(live.spool)
        self._tell(live, "unread")

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
        if record is None and transfer.request.kind is Kind.COPY:
            return await self._landing.copy(live.request, live.lease, transfer.plan, again=True)
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
        if live.request.kind is Kind.UPLOAD:
            raise UploadInterrupted("The service ended before the upload was whole; send it again.")
        live.room = await self._room(live)
        fetch = Fetch(live, self._parts.origin, self._limits, self._parts.chance)
        noting: list[asyncio.Task[None]] = []
        fetch.clock = self._parts.clock
        fetch.expected = self._parts.expected
        digest = SpoolDigest(live.spool, self._parts.hashing)
        note = lambda: noting.extend(self._noting(live, Phase.FETCHING))  # noqa: E731 - called at most once
        following = asyncio.create_task(_follow(live, digest, note))
        try:
            whole = await fetch.run()
        finally:
            following.cancel()
            await asyncio.gather(following, *noting, return_exceptions=True)
        if not whole:
            if live.room is not None and live.room.refused is not None:
                self._parts.refusals.note(live.request, live.room.refused)
            self._spare_origin(live, live.refusal_wait())
            await self._ledger.discard(live.lease)
            return None
        return await self._verify_and_land(live, digest)

    async def _room(self, live: LiveTransfer) -> Room | None:
        """Where the transfer's room in quotas is reserved; None where nothing bounds it."""
        if live.bounded is None:
            live.bounded = await self._ledger.bounded(live.request.bucket)
        return Room(self._ledger, self._parts.clock, live.lease) if live.bounded else None

    def _spare_origin(self, live: LiveTransfer, wait: float | None) -> None:
        """After a failed revalidation leave the origin alone for a moment: the stored copy serves. None: it did not fail."""
        if wait is not None and live.request.seen_generation > 0:
            self._cooling.cool(live.request.bucket, live.request.key, max(_COOL, wait))

    async def _verify_and_land(self, live: LiveTransfer, digest: SpoolDigest) -> Record | None:
        assert live.source is not None
        assert live.length is not None
        live.source = replace(live.source, length=live.length)
        if live.length == 0:
            await live.spool.put(0, b"")  # there was no byte that the part file was made for
        noting = self._noting(live, Phase.VERIFYING)
        digest.expect(live.promised)
        await digest.follow(live.length)
        digest.verify(live.promised, repr(live.request.key))
        live.settle()
        await asyncio.gather(*noting)
        if 0 < live.policy.max_size < live.length:
            await self._ledger.discard(live.lease)  # its length was not announced: its readers have it, nobody else
            return None
        if live.room is not None:
            await live.room.hold(live.length)
        plan = self._landing.plan(live.request, live.source, live.lease, live.length, digest.md5())
        return await self._land(live, plan)

    def _noting(self, live: LiveTransfer, phase: Phase) -> list[asyncio.Task[None]]:
        """Note a phase beside the work. A small object is landed sooner than noted, and fetched anew sooner than resumed."""
        if live.length is not None and live.length <= WORTH_A_JOURNAL:
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
            self._cooling.cool(request.bucket, request.key, _DISTRUST)
        self._spare_origin(live, error.retry_after or 0.0)
        delay = self._options.retry.delay(attempts, self._parts.chance(), error.retry_after)
        durable = request.kind in {Kind.FETCH, Kind.WARM} or isinstance(error, Unavailable | OriginChanged)
        now = self._parts.clock()
        try:
            if error.retryable and durable and delay is not None:
                if isinstance(error, OriginChanged):
                    self._parts.spools.end(live.spool)
                elif live.verified:
                    live.spool.keep()
                await self._ledger.requeue(lease, now, now + delay, error)
                asyncio.get_running_loop().call_later(delay, self._wake)
            else:
                nothing_came = request.kind is Kind.FILL and live.source is None
                await (self._ledger.discard(lease) if nothing_came else self._ledger.fail(lease, now, error))
                self._parts.spools.end(live.spool)
        except CephStorageError as trouble:
            log.error("transfer_state_not_saved", key=request.key, code=trouble.code, msg=trouble.msg)
        live.failed(error)
        self._tell(live, error.code)


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


async def _follow(live: LiveTransfer, digest: SpoolDigest, resumable: Callable[[], None]) -> None:
    """Hash the spool while it grows. ``resumable`` is called when there is something that can be gone on with."""
    if not isinstance(await live.head(), Flowing):
        return
    digest.expect(live.promised)
    noted = False
    while True:
        if not noted and live.spool.spans.total() > WORTH_A_JOURNAL:
            resumable()
            noted = True
        front = live.front
        await digest.follow(front)
        if front == live.front:
            await live.changed()
