"""Uploads: a body on its way into a spool, in steps of bounded size, hashed as it comes; then its landing.

An upload gets its row only when its body is whole and right: until then there is nothing to resume.
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

    def leases(self) -> list[tuple[Lease, int, int | None]]:
        """The leases of the landings under way, with their bytes done and total."""
        return [(lease, size, size) for lease, size in self._landings.values()]

    async def settle(self) -> None:
        """Wait until the landings under way have ended (orderly stop)."""
        if self._landings:
            await asyncio.wait(self._landings, timeout=_PATIENCE)

    async def take(
        self, request: TransferRequest, body: AsyncIterator[bytes], length: int | None, promised: tuple[Digest, ...]
    ) -> Record:
        """Spool a body, verify it, land it. Nothing of it is visible before.

        Raises UploadInterrupted, LengthMismatch, Md5Mismatch, DigestMismatch, TooLarge, StoreFull and
        what landing raises.
        """
        new = new_transfer(request)
        with self._room():
            self._limits.admit(new.id, length or 0)
        spool = self._parts.spools.open(new.id)
        try:
            with self._room():
                size, md5 = await self._receive(request, body, length, promised, spool)
        except BaseException:
            self._parts.spools.remove(new.id)
            spool.close()
            raise
        landing = asyncio.create_task(self._land(new, spool, size, md5))
        self._landings[landing] = (Lease(new.id, self._parts.owner, 1), size)
        landing.add_done_callback(self._landings.pop)
        return await asyncio.shield(landing)

    @contextlib.contextmanager
    def _room(self) -> Iterator[None]:
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
    ) -> tuple[int, str]:
        """The size and md5 of a body that is in the spool and as promised."""
        digest = SpoolDigest(spool, self._parts.hashing)
        expected = (*caller_md5(request.md5), *promised)
        digest.expect(expected)
        size = await spool_body(body, spool, digest, self._limits)
        if length is not None and size != length:
            raise LengthMismatch(f"The body has {size} bytes; Content-Length says {length}.")
        digest.verify(expected, repr(request.key))
        return size, digest.md5()

    async def _land(self, new: NewTransfer, spool: Spool, size: int, md5: str) -> Record:
        now = self._parts.clock()
        lease = Lease(new.id, self._parts.owner, 1)
        try:
            plan = self._landing.plan(new.request, None, lease, size, md5)
            lease = await self._parts.ledger.begin_upload(new, plan, self._parts.owner, now, now + self._lease)
            return await self._landing.land(new.request, lease, spool, plan, self._patience)
        except CephStorageError as error:
            with contextlib.suppress(CephStorageError):
                await self._parts.ledger.fail(lease, self._parts.clock(), error)
            raise
        finally:
            self._parts.spools.remove(new.id)
            spool.close()


async def spool_body(body: AsyncIterator[bytes], spool: Spool, digest: SpoolDigest, limits: Limits) -> int:
    """Write and hash a body; return its length. Raises StoreFull, TooLarge and what ``body`` raises."""
    position, pending = 0, bytearray()
    async for chunk in body:
        pending += chunk
        if len(pending) >= _STEP:
            position = await _flush(spool, digest, limits, position, pending)
    return await _flush(spool, digest, limits, position, pending)


async def _flush(spool: Spool, digest: SpoolDigest, limits: Limits, position: int, pending: bytearray) -> int:
    if not pending:
        return position
    end = position + len(pending)
    limits.grow(spool.name, end)
    await spool.put(position, bytes(pending))
    spool.publish(position, len(pending))
    pending.clear()
    await digest.follow(end)
    return end
