"""A TCP proxy on loopback that does to connections what networks and servers do: cut, hang, answer 503.

Faults hold for connections that are opened from then on; those that are open when one is set are cut, so
that the next request meets it.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self

Direction = Literal["up", "down"]


@dataclass
class Fault:
    """What happens to the next ``times`` connections (None: to all).

    ``cut_after``: bytes that pass in ``direction`` before both sides are cut. ``hang_after``: the same, but the
    connection stays open and nothing passes any more. ``answer``: sent to the first request instead of passing it on.
    """

    cut_after: int | None = None
    hang_after: int | None = None
    answer: bytes | None = None
    direction: Direction = "up"
    times: int | None = None


def s3_error(status: int, code: str, more: str = "") -> bytes:
    """An S3 error as RGW writes it; ``more`` are further header lines."""
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code></Error>'
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nContent-Type: application/xml\r\n{more}"
    return f"{head}Connection: close\r\n\r\n{body}".encode()


class FaultProxy:
    """Relays to ``port`` of loopback from a free port of its own, at an address of this machine."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._target = port
        self._host = host
        self._fault: Fault | None = None
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="fault-proxy", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.met = 0
        """How many connections met a fault."""
        self.sent_up = 0
        """Bytes that clients have sent through it."""

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    @property
    def address(self) -> str:
        """Where to connect, as an http address."""
        return f"http://{self._host}:{self.port}"

    def fault(self, fault: Fault | None) -> None:
        """Have this happen from now on; None: nothing any more."""
        with self._lock:
            self._fault = fault
        self.cut()

    def cut(self) -> None:
        """Cut every open connection."""
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result(30)

    async def _cut(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._accept, self._host, 0, limit=1 << 16)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._end.wait()
        server.close()
        await self._cut()

    def _count_up(self, size: int) -> None:
        self.sent_up += size

    def _next_fault(self) -> Fault | None:
        with self._lock:
            fault = self._fault
            if fault is None or fault.times == 0:
                return None
            if fault.times is not None:
                fault.times -= 1
            self.met += 1
            return fault

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        below: asyncio.StreamWriter | None = None
        try:
            fault = self._next_fault()
            if fault is not None and fault.answer is not None:
                request = await reader.readuntil(b"\r\n\r\n")
                head, end, body = fault.answer.partition(b"\r\n\r\n")
                writer.write(head + end + (b"" if request.startswith(b"HEAD ") else body))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
                return
            below_reader, below = await asyncio.open_connection("127.0.0.1", self._target)
            await _relay(fault, (reader, writer), (below_reader, below), self._count_up)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            self._tasks.discard(task)
            for end in (writer, below):
                if end is not None:
                    end.transport.abort()


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _relay(fault: Fault | None, client: Ends, server: Ends, count_up: Callable[[int], None]) -> None:
    """Relay both ways until one side ends or the fault strikes."""
    up_fault, down_fault = (fault if fault and fault.direction == way else None for way in ("up", "down"))
    up = asyncio.create_task(_pump(client[0], server[1], up_fault, count_up))
    down = asyncio.create_task(_pump(server[0], client[1], down_fault, lambda _: None))
    try:
        await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for pump in (up, down):
            pump.cancel()
        await asyncio.gather(up, down, return_exceptions=True)


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault | None, count: Callable[[int], None]
) -> None:
    limit = None if fault is None else fault.cut_after if fault.cut_after is not None else fault.hang_after
    passed = 0
    with contextlib.suppress(OSError):
        while limit is None or passed < limit:
            data = await reader.read(65536 if limit is None else min(65536, limit - passed))
            if not data:
                return
            writer.write(data)
            await writer.drain()
            passed += len(data)
            count(len(data))
    if fault is not None and fault.hang_after is not None:
        await asyncio.Event().wait()
