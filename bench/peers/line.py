"""A long line to an origin: what passes arrives 25 ms later in each direction, at most 125 MB/s in all.

A connection's window is part of what a long line costs, so each begins with ``FIRST_WINDOW`` bytes under way
and doubles it once per round trip, as TCP's slow start does (RFC 5681 section 3.1), up to ``WINDOW``.
"""

import argparse
import asyncio
import collections
import contextlib
from dataclasses import dataclass, field

ONE_WAY = 0.025
RATE = 125_000_000
FIRST_WINDOW = 64 * 1024
WINDOW = 4 << 20
_PIECE = 128 * 1024


@dataclass(slots=True)
class Link:
    """The part of the line that all connections share: when it is free again."""

    free_at: float = 0.0

    def passes(self, size: int) -> float:
        """When the last of ``size`` bytes has left the near end."""
        now = asyncio.get_running_loop().time()
        self.free_at = max(now, self.free_at) + size / RATE
        return self.free_at


@dataclass(slots=True)
class Direction:
    """Bytes of one connection in one direction, those that are under way included."""

    link: Link
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    window: int = FIRST_WINDOW
    under_way: int = 0
    grows_at: float = 0.0
    pieces: collections.deque[tuple[float, bytes]] = field(default_factory=collections.deque)
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Carry until the sender ends; then end towards the receiver."""
        delivering = asyncio.ensure_future(self._deliver())
        try:
            while data := await self._next():
                self.under_way += len(data)
                self.pieces.append((self.link.passes(len(data)) + ONE_WAY, data))
                self.moved.set()
            self.pieces.append((asyncio.get_running_loop().time() + ONE_WAY, b""))
            self.moved.set()
            await delivering
        finally:
            delivering.cancel()

    async def _next(self) -> bytes:
        while self.under_way >= self.window:
            self.moved.clear()
            await self.moved.wait()
        return await self.reader.read(min(_PIECE, self.window - self.under_way))

    async def _deliver(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not self.pieces:
                self.moved.clear()
                await self.moved.wait()
            due, data = self.pieces.popleft()
            await asyncio.sleep(due - loop.time())
            if not data:
                self.writer.write_eof()
                return
            self.writer.write(data)
            await self.writer.drain()
            loop.call_later(ONE_WAY, self._acknowledged, len(data))

    def _acknowledged(self, size: int) -> None:
        """The sender learns of it half a round trip after the receiver."""
        now = asyncio.get_running_loop().time()
        self.under_way -= size
        if now >= self.grows_at:
            self.window, self.grows_at = min(WINDOW, 2 * self.window), now + 2 * ONE_WAY
        self.moved.set()


async def _serve(to: int) -> None:
    up, down = Link(), Link()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * ONE_WAY)  # the handshake's round trip
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", to)
            both = (Direction(up, reader, far_writer), Direction(down, far_reader, writer))
            try:
                await asyncio.gather(*(direction.run() for direction in both))
            finally:
                writer.close()
                far_writer.close()

    server = await asyncio.start_server(carry, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Carry connections to a port of this machine; print the port that they come in by."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=int, required=True)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(parser.parse_args().to))


if __name__ == "__main__":
    main()
