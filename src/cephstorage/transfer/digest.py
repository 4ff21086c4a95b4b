"""Digests of a spool, computed by following it: bytes are hashed in threads as the front moves.

Whatever order the spans arrive in, and whether this process or a dead one wrote them, every byte is
hashed exactly once, from the page cache, in order.
"""

import asyncio
import hashlib
import os
import threading
from collections.abc import Iterable
from concurrent.futures import Executor, ThreadPoolExecutor

from cephstorage.domain.digests import HASH_NAMES, Digest
from cephstorage.domain.errors import DigestMismatch, Md5Mismatch
from cephstorage.transfer.spool import Spool

_CHUNK = 1 << 20
_STEP = 1 << 23
_LESS_URGENT = 10


def hashing_threads() -> ThreadPoolExecutor:
    """Threads for digests, as many as can run at once, which give way to those that move bytes.

    Hashing costs more than everything else that is done with a byte, and nobody waits for it but the landing. (On
    Linux each thread has a nice value of its own: setpriority(2).)
    """

    def give_way() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LESS_URGENT)

    return ThreadPoolExecutor(os.cpu_count() or 1, "hashing", initializer=give_way)


class SpoolDigest:
    """md5 (always: the record needs it) and whatever else was promised, over the spool's contiguous front.

    ``threads``: where the hashing is done; by default where the event loop does other short work.
    """

    def __init__(self, spool: Spool, threads: Executor | None = None) -> None:
        self._spool = spool
        self._threads = threads
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
            work = asyncio.get_running_loop().run_in_executor(self._threads, self._hash_and_close, step)
            work.add_done_callback(lambda done: done.exception())
            await asyncio.shield(work)

    def _hash_and_close(self, end: int) -> None:
        try:
            with self._turn:
                self._hash(end)
        finally:
            self._spool.close()

    def _hash(self, end: int) -> None:
        buffer = memoryview(bytearray(max(0, min(_CHUNK, end - self._done))))
        while self._done < end:
            count = self._spool.read_into(buffer[: end - self._done], self._done)
            if not count:
                msg = f"the spool {self._spool.name} ends at {self._done}, before {end}"
                raise OSError(msg)
            for hasher in self._hashes.values():
                hasher.update(buffer[:count])
            self._done += count

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
            raise DigestMismatch(f"Nothing was stored: another digest was declared: {said}.")
