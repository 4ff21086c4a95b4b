"""A spool: a sparse part file that grows while readers follow, and that a killed process leaves usable.

It is ``<id>.part`` (the bytes at their final positions) and ``<id>.spans`` (``journal.py``: what is held). Bytes go
first, the journal after them, so the journal never claims too much.
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from cephstorage.domain.errors import StoreFull
from cephstorage.domain.ranges import SpanSet
from cephstorage.files import read_now, remove_quietly
from cephstorage.ports.origin import Passage
from cephstorage.transfer.journal import begin_journal, entry, open_journal, read_journal

P = ParamSpec("P")
T = TypeVar("T")

WORTH_A_JOURNAL = 1 << 20
"""Bytes; up to there an object is fetched anew sooner than resumed."""


class Spool:
    """One part file. ``put`` writes in a thread; everything else is short, but for a ``read`` that misses the cache.

    ``spans`` is what readers may see; it changes only through ``publish``, on the event loop.
    """

    def __init__(self, path: Path, fd: int | None, make: Callable[[], int]) -> None:
        """``make`` makes the part file; ``fd`` is the one that is there already, perhaps with what is left in it."""
        self.path = path
        self._fd = fd
        self._make = make
        self._users = 1
        self._lock = threading.Lock()
        held = None if fd is None else read_journal(path.with_suffix(".spans"), fd)
        self._journal = None if held is None else open_journal(path)
        self.spans = held or SpanSet()
        if fd is not None and held is None:
            remove_quietly(path.with_suffix(".spans"))
            os.ftruncate(fd, 0)

    @property
    def name(self) -> str:
        """The id of the transfer it belongs to."""
        return self.path.stem

    async def put(self, position: int, data: bytes) -> None:
        """Put bytes at their place and note them in the journal. Raises StoreFull."""
        await self._apart(self._write, position, data)

    async def draw(self, passage: Passage, position: int, most: int) -> int:
        """Have a body's next bytes moved to their place, and note them; how many. Raises StoreFull, OriginBroken."""
        return await self._apart(self._draw, passage, position, most)

    async def drop(self, passage: Passage, most: int) -> int:
        """Have a body's next bytes moved nowhere; how many. Raises OriginBroken."""
        return await self._apart(_drop, passage, most)

    async def _apart(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Work in a thread. A cancelled caller does not stop it, so the thread keeps the file open for itself."""

        def run() -> T:
            try:
                return work(*args, **kwargs)
            except OSError as error:
                raise StoreFull(f"The spool's disk refuses bytes: {error.strerror}.", retry_after=30) from error
            finally:
                self.close()

        self.borrow()
        running = asyncio.get_running_loop().run_in_executor(None, run)
        running.add_done_callback(lambda done: done.exception())
        return await asyncio.shield(running)

    def _write(self, position: int, data: bytes) -> None:
        view, start, file = memoryview(data), position, self.file()
        while view:
            count = os.pwrite(file, view, position)
            view, position = view[count:], position + count
        self._note(start, position)

    def _draw(self, passage: Passage, position: int, most: int) -> int:
        count = passage.move(self.file(), position, most)
        if count:
            self._note(position, position + count)
        return count

    def _note(self, start: int, end: int) -> None:
        """Add to the journal. It begins late: a small object is fetched anew sooner than two files are made.

        A spool that was removed or replaced (its owner had stalled) has nothing to note any more.
        """
        with self._lock:
            if self._journal is None:
                if self.spans.total() + end - start <= WORTH_A_JOURNAL or os.fstat(self._opened()).st_nlink == 0:
                    return
                self._journal = begin_journal(self.path, self._opened(), self.spans)
            os.write(self._journal, entry(start, end))

    def keep(self) -> None:
        """Write the journal of what is held now, however little: it is to be found again."""
        with self._lock:
            if self._journal is None and os.fstat(self._opened()).st_nlink > 0:
                self._journal = begin_journal(self.path, self._opened(), self.spans)

    def publish(self, position: int, size: int) -> None:
        """Let readers see bytes that ``put`` has written."""
        self.spans.add(position, position + size)

    def read_now(self, position: int, size: int) -> bytes | bytearray | None:
        """Bytes from the page cache, without waiting."""
        return read_now(self.file(), position, size)

    def read(self, position: int, size: int) -> bytes:
        """Bytes from the file; may wait for the disk."""
        return os.pread(self.file(), size, position)

    def read_into(self, buffer: memoryview, position: int) -> int:
        """The same into a buffer; how many."""
        return os.preadv(self.file(), [buffer], position)

    def file(self) -> int:
        """The descriptor of the part file, which is made if it is not there yet. Raises OSError."""
        if self._fd is not None:
            return self._fd
        with self._lock:
            return self._opened()

    def prepare(self) -> None:
        """Make the part file, if that can be done; else who needs it will hear why not."""
        with self._lock, contextlib.suppress(OSError):
            if self._users:
                self._opened()

    def _opened(self) -> int:
        if self._fd is None:
            self._fd = self._make()
        return self._fd

    def size(self) -> int:
        """Bytes of disk that it takes."""
        return os.fstat(self.file()).st_blocks * 512

    def replaced(self) -> bool:
        """Whether another file has taken the place of this one, as that of an owner who had stalled."""
        try:
            there = self.path.stat().st_ino
        except FileNotFoundError:
            return False
        return self._fd is None or os.fstat(self._fd).st_ino != there

    def reset(self) -> None:
        """Forget every byte."""
        with self._lock:
            journal, self._journal = self._journal, None
            if journal is not None:
                os.close(journal)
            remove_quietly(self.path.with_suffix(".spans"))
            os.ftruncate(self._opened(), 0)
            self.spans = SpanSet()

    def borrow(self) -> None:
        """Keep the file open for one more user."""
        with self._lock:
            self._users += 1

    def close(self) -> None:
        """Let go; the last user closes the file."""
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last and self._fd is not None:
            os.close(self._fd)
            if self._journal is not None:
                os.close(self._journal)


def _drop(passage: Passage, most: int) -> int:
    with Path(os.devnull).open("wb") as nowhere:
        return passage.move(nowhere.fileno(), 0, most)
