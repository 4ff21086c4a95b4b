"""A body past the client library: from the connection into a file by splice(2), without passing through Python.

The library has read the answer's head, and perhaps the body's beginning. From then on it is kept from reading,
and the kernel moves pages from the socket through a pipe into the file. When the body is over the library gets its
connection back, fit for another request.

    socket ──splice──> pipe ──splice──> file

For plain HTTP with a length only: TLS has to be deciphered, and chunks have to be parsed.
"""

import asyncio
import contextlib
import fcntl
import os
import select
import threading
import time
from collections.abc import Callable, Iterator

import aiohttp

from cephstorage.domain.errors import OriginBroken, OriginTimeout
from cephstorage.origin.failures import in_body

WORTH_IT = 128 * 1024
"""Bytes that have not come yet; for less the library is as fast."""
_PIPE = 1 << 20
"""Bytes; as much as the kernel grants everybody (pipe(7), pipe-max-size)."""
_BRISK = 256 * 1024
_LINGER = 2
_LONGEST = 0.02


class SplicedBody:
    """The port ``Passage`` over a connection whose reader rests.

    ``ahead`` are bytes that the library had read already, ``left`` counts those after them. ``silence``: seconds that
    the origin may send nothing. ``give_back`` is called at the end if the whole body has been moved.
    """

    def __init__(
        self, socket: int, ahead: bytes, left: int, silence: float, origin: str, give_back: Callable[[], None]
    ) -> None:
        self._pump = _Pump(socket)
        self._ahead = memoryview(ahead)
        self._left = left
        self._silence = silence
        self._origin = origin
        self._give_back = give_back
        self._dry = True
        self._broken = False

    async def ready(self) -> bool:
        """Wait until there is something to move; False at the body's end (port ``Passage``)."""
        if self._ahead or (self._left and not self._dry):
            return True
        if not self._left:
            return False
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._pump.socket, lambda: None if ready.done() else ready.set_result(None))
        try:
            async with asyncio.timeout(self._silence):
                await ready
        except TimeoutError as error:
            self._broken = True
            raise OriginTimeout(f"{self._origin} fell silent in the middle of the body.") from error
        finally:
            loop.remove_reader(self._pump.socket)
        return True

    def move(self, file: int, position: int, most: int) -> int:
        """Move what is there (port ``Passage``)."""
        with self._pump.turn():
            if self._ahead:
                moved = os.pwrite(file, self._ahead[:most], position)
                self._ahead = self._ahead[moved:]
                return moved
            try:
                moved, self._dry = self._pump.run(file, position, min(most, self._left))
            except aiohttp.ClientError as error:
                self._broken = True
                raise in_body(error, self._origin) from error
            self._left -= moved
            return moved

    def end(self) -> bool:
        """Let go of the connection. Whether the body broke off, the first time."""
        if not self._left and not self._ahead:
            self._give_back()
        self._pump.close()
        broken, self._broken = self._broken, False
        return broken


class _Pump:
    """The socket and the pipe, held open until the last thread has left them."""

    def __init__(self, socket: int) -> None:
        self.socket = os.dup(socket)
        self._out, self._in = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        with contextlib.suppress(PermissionError):  # this user has many large pipes already: a small one does, too
            fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, _PIPE)
        self._poll = select.poll()
        self._poll.register(self.socket, select.POLLIN)
        self._lock = threading.Lock()
        self._users = 1
        self._closed = False

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Keep everything open meanwhile. Raises OriginBroken when it has been closed."""
        with self._lock:
            if self._closed:
                raise OriginBroken("The answer has been closed.")
            self._users += 1
        try:
            yield
        finally:
            self._leave()

    def close(self) -> None:
        """Close everything as soon as nobody uses it. Idempotent."""
        with self._lock:
            closed, self._closed = self._closed, True
        if not closed:
            self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last:
            for fd in (self.socket, self._out, self._in):
                os.close(fd)

    def run(self, file: int, position: int, most: int) -> tuple[int, bool]:
        """Move up to ``most`` bytes; how many, and whether the socket is empty.

        What comes briskly is waited for a moment, so that a fast origin does not cost a turn of the event loop for
        every packet; the time as a whole is bounded, so that readers hear of it. Raises aiohttp.ClientError.
        """
        began, moved = time.monotonic(), 0
        while moved < most and time.monotonic() - began < _LONGEST:
            count = self._take(min(_PIPE, most - moved), broken=moved == 0)
            if count:
                self._put(file, position + moved, count)
                moved += count
            elif moved < _BRISK or not self._poll.poll(_LINGER):
                return moved, True
        return moved, False

    def _take(self, most: int, *, broken: bool) -> int:
        """From the socket into the pipe; 0 when there is nothing. What came before the connection broke goes first."""
        try:
            count = os.splice(self.socket, self._in, most, flags=os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            return 0
        except OSError as error:
            if broken:
                raise aiohttp.ClientOSError(error.errno, error.strerror) from error
            return 0
        if count == 0 and broken:
            raise aiohttp.ClientPayloadError("the body is too short")
        return count

    def _put(self, file: int, position: int, count: int) -> None:
        """From the pipe into the file."""
        while count:
            written = os.splice(self._out, file, count, offset_dst=position, flags=os.SPLICE_F_MOVE)
            position, count = position + written, count - written
