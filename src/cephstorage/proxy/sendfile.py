"""sendfile(2): stored bytes go from the page cache to the client's socket without passing through Python.

The server lends its connection (``Connection``); without one the caller falls back to reading and
writing. The socket never blocks, and a piece that is not in the page cache is read ahead in a thread,
so that neither a slow client nor a slow disk holds up the event loop.
"""

import asyncio
import os
from typing import Protocol

from cephstorage.files import read_now

_PIECE = 1 << 20


class Connection(Protocol):
    """The client's connection while one answer's body is due."""

    def descriptor(self) -> int:
        """The socket."""
        ...

    async def drained(self) -> None:
        """Wait until everything written so far has left for the kernel. Raises ConnectionError when it can't."""
        ...

    def count_body(self, size: int) -> None:
        """Note body bytes that went past the server."""
        ...


async def send(connection: Connection, file: int, position: int, end: int) -> None:
    """Send ``[position, end)`` of a file. Raises ConnectionError when the client has gone, OSError for the disk."""
    await connection.drained()
    socket = os.dup(connection.descriptor())
    try:
        while position < end:
            if not read_now(file, position, 1):
                await asyncio.to_thread(os.pread, file, min(_PIECE, end - position), position)
            try:
                sent = os.sendfile(socket, file, position, min(_PIECE, end - position))
            except BlockingIOError:
                await _writable(socket)
                continue
            if sent == 0:
                msg = f"the stored file ends at {position}, before {end}"
                raise OSError(msg)
            position += sent
            connection.count_body(sent)
            await asyncio.sleep(0)
    finally:
        os.close(socket)


async def _writable(socket: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(socket, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_writer(socket)
