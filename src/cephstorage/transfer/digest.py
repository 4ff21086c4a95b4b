"""Digests of a spool, computed by following it: bytes are hashed in threads as the front moves.

Whatever order the spans arrive in, and whether this process or a dead one wrote them, every byte is
hashed exactly once, from the page cache, in order.
"""

import asyncio
import hashlib
import threading
from collections.abc import Iterable

from cephstorage.domain.digests import HASH_NAMES, Digest
from cephstorage.domain.errors import DigestMismatch, Md5Mismatch
from cephstorage.transfer.spool import Spool

_CHUNK = 1 << 18
_STEP = 1 << 23


class SpoolDigest:
    """md5 (always: the record needs it) and whatever else was promised, over the spool's contiguous front."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._hashes = {"md5": hashlib.md5(usedforsecurity=False)}
        self._done = 0
        self._turn = threading.Lock()

    async def follow(self, end: int) -> None:
        """Hash on to ``end``, in bounded steps; every byte before it must be in the spool.

        A cancelled caller does not stop the thread, so the turn belongs to the thread: who follows next
        goes on after it.
        """
        while self._done < end:
            self._spool.borrow()
            step = min(end, self._done + _STEP)
            work = asyncio.get_running_loop().run_in_executor(None, self._hash_and_close, step)
            work.add_done_callback(lambda done: done.exception())
            await asyncio.shield(work)

    def _hash_and_close(self, end: int) -> None:
        try:
            with self._turn:
                self._hash(end)
        finally:
            self._spool.close()

    def _hash(self, end: int) -> None:
        while self._done < end:
            data = self._spool.read(self._done, min(_CHUNK, end - self._done))
            if not data:
                msg = f"the spool {self._spool.name} ends at {self._done}, before {end}"
                raise OSError(msg)
            for hasher in self._hashes.values():
                hasher.update(data)
            self._done += len(data)

    def expect(self, promised: Iterable[Digest]) -> bool:
        """Compute these algorithms too; False when hashing has gone too far to begin one."""
        missing = {digest.algorithm for digest in promised} - self._hashes.keys()
        if missing and self._done:
            return False
        for algorithm in missing:
            self._hashes[algorithm] = hashlib.new(HASH_NAMES[algorithm], usedforsecurity=False)
        return True

    def md5(self) -> str:
        """The md5 of what was hashed, in hex."""
        return self._hashes["md5"].hexdigest()

    def verify(self, promised: Iterable[Digest], what: str) -> None:
        """Raise Md5Mismatch (the caller's promise) or DigestMismatch (the origin's) unless every digest matches."""
        for digest in promised:
            found = self._hashes[digest.algorithm].digest()
            if found == digest.value:
                continue
            said = f"the {digest.algorithm} of {what} should be {digest.value.hex()} but is {found.hex()}"
            if digest.promised_by_caller:
                raise Md5Mismatch(f"Nothing was stored: {said}.")
            raise DigestMismatch(f"Nothing was stored: the origin declared another digest: {said}.")
