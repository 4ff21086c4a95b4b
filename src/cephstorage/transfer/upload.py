"""A body on its way into a spool: in steps of bounded size, hashed as it comes, never held as a whole."""

from collections.abc import AsyncIterator

from cephstorage.transfer.digest import SpoolDigest
from cephstorage.transfer.intake import Limits
from cephstorage.transfer.spool import Spool

_STEP = 1 << 20
_ADMISSION_STEP = 64 << 20


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
    if position // _ADMISSION_STEP != end // _ADMISSION_STEP or end > limits.max_object_size:
        limits.admit(spool.name, end)
    await spool.put(position, bytes(pending))
    spool.publish(position, len(pending))
    pending.clear()
    await digest.follow(end)
    return end
