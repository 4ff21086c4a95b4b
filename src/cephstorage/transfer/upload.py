"""Uploads: a body on its way into a spool, in steps of bounded size, hashed as it comes; then its landing.

An upload gets its row only when its body is whole and right: until then there is nothing to resume. Where a quota
bounds the bucket it gets one at its beginning, which holds its room.
Once its landing has begun it no longer depends on the client.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

from cephstorage.domain.digests import Digest, caller_md5
from cephstorage.domain.errors import CephStorageError, LengthMismatch, StoreFull, StoreUnavailable
from cephstorage.domain.records import Record
from cephstorage.domain.transfers import Lease, TransferRequest
from cephstorage.ports.ledger import NewTransfer
from cephstorage.transfer.digest import SpoolDigest
from cephstorage.transfer.intake import Limits
from cephstorage.transfer.landing import Landing
from cephstorage.transfer.parts import Parts, new_transfer
from cephstorage.transfer.room import Room
from cephstorage.transfer.spool import Spool

_STEP = 1 << 20
_PATIENCE = 30.0


class Uploads:
    """Takes uploads. Times in seconds; whoever owns this renews what ``leases`` names.

    ``patience``: how long a client waits for a store that fails. Meanwhile the body takes room in the spool.
    """

    def __init__(self, parts: Parts, limits: Limits, landing: Landing, lease: float, patience: float) -> None:
        self._parts = parts
        self._limits = limits
        self._landing = landing
        self._lease = lease
        self._patience = patience
        self._landings: dict[asyncio.Task[Record], tuple[Lease, int]] = {}
        self._receiving: dict[Lease, tuple[Spool, int | None]] = {}

    def leases(self) -> list[tuple[Lease, int, int | None]]:
        """The leases of what is under way, with bytes done and total."""
        receiving = [(lease, spool.spans.total(), length) for lease, (spool, length) in self._receiving.items()]
        return receiving + [(lease, size, size) for lease, size in self._landings.values()]

    async def settle(self) -> None:
        """Wait until the landings under way have ended (orderly stop)."""
        if self._landings:
            await asyncio.wait(self._landings, timeout=_PATIENCE)

    async def take(
        self,
        request: TransferRequest,
        body: AsyncIterator[bytes],
        length: int | None,
        promised: tuple[Digest, ...],
        *,
        bounded: bool,
    ) -> Record:
        """Spool a body, verify it, land it. Nothing of it is visible before. ``bounded``: there are quotas.

        Raises UploadInterrupted, LengthMismatch, Md5Mismatch, DigestMismatch, TooLarge, StoreFull, QuotaExceeded and
        what landing raises.
        """
        new = new_transfer(request)
        with self._full_spool():
            self._limits.admit(new.id, length or 0)
        try:
            room = await self._reserve(new, length) if bounded else None
            spool = self._parts.spools.open(new.id)
        except BaseException:
            self._parts.spools.release(new.id)
            raise
        if room is not None:
            self._receiving[room.lease] = (spool, length)
        try:
            with self._full_spool():
                size, md5 = await self._receive(request, body, length, promised, spool, room)
        except BaseException:
            self._parts.spools.remove(new.id)
            spool.close()
            if room is not None:
                del self._receiving[room.lease]
                await self._give_back(room.lease)
            raise
        landing = asyncio.create_task(self._land(new, spool, size, md5, room))
        if room is not None:
            del self._receiving[room.lease]
        self._landings[landing] = (Lease(new.id, self._parts.owner, 1), size)
        landing.add_done_callback(self._landings.pop)
        return await asyncio.shield(landing)

    async def _reserve(self, new: NewTransfer, length: int | None) -> Room:
        """Note the upload with room for its body, as far as its length is known. Raises QuotaExceeded, BucketNotFound."""
        parts, now, size = self._parts, self._parts.clock(), length or 0
        expected = parts.ledger.expect_upload(new, size, size, parts.owner, now, now + self._lease)
        lease, enough_for = await expected
        return Room(parts.ledger, parts.clock, lease, enough_for)

    async def _give_back(self, lease: Lease) -> None:
        """Forget an upload whose body did not come whole; else its room is free when the lease ends."""
        with contextlib.suppress(CephStorageError):
            await asyncio.shield(self._parts.ledger.discard(lease))

    @contextlib.contextmanager
    def _full_spool(self) -> Iterator[None]:
        """Say what is really wrong when the spool is full of what waits for the store."""
        try:
            yield
        except StoreFull as error:
            if not self._landing.waits:
                raise
            reason = "The object store does not answer, and the spool is full of what waits for it; send it again."
            raise StoreUnavailable(reason, retry_after=error.retry_after) from error

    async def _receive(
        self,
        request: TransferRequest,
        body: AsyncIterator[bytes],
        length: int | None,
        promised: tuple[Digest, ...],
        spool: Spool,
        room: Room | None,
    ) -> tuple[int, str]:
        """The size and md5 of a body that is in the spool and as promised."""
        digest = SpoolDigest(spool, self._parts.hashing)
        expected = (*caller_md5(request.md5), *promised)
        digest.expect(expected)
        size = await spool_body(body, spool, digest, self._limits, room)
        if length is not None and size != length:
            raise LengthMismatch(f"The body has {size} bytes; Content-Length says {length}.")
        digest.verify(expected, repr(request.key))
        return size, digest.md5()

    async def _land(self, new: NewTransfer, spool: Spool, size: int, md5: str, room: Room | None) -> Record:
        now = self._parts.clock()
        lease = Lease(new.id, self._parts.owner, 1)
        try:
            plan = self._landing.plan(new.request, None, lease, size, md5)
            if room is None:
                lease = await self._parts.ledger.begin_upload(new, plan, self._parts.owner, now, now + self._lease)
            return await self._landing.land(new.request, lease, spool, plan, self._patience)
        except CephStorageError as error:
            with contextlib.suppress(CephStorageError):
                await self._parts.ledger.fail(lease, self._parts.clock(), error)
            raise
        finally:
            self._parts.spools.remove(new.id)
            spool.close()


async def spool_body(
    body: AsyncIterator[bytes], spool: Spool, digest: SpoolDigest, limits: Limits, room: Room | None = None
) -> int:
    """Write and hash a body; return its length. Raises StoreFull, TooLarge, QuotaExceeded and what ``body`` raises."""
    position, pending = 0, bytearray()
    async for chunk in body:
        pending += chunk
        if len(pending) >= _STEP:
            position = await _flush(spool, digest, limits, room, position, pending)
    return await _flush(spool, digest, limits, room, position, pending)


async def _flush(
    spool: Spool, digest: SpoolDigest, limits: Limits, room: Room | None, position: int, pending: bytearray
) -> int:
    if not pending:
        return position
    end = position + len(pending)
    if room is not None:
        await room.grow(end)
    limits.grow(spool.name, end)
    await spool.put(position, bytes(pending))
    spool.publish(position, len(pending))
    pending.clear()
    await digest.follow(end)
    return end
