"""One connection of the fault origin: reads requests, writes answers, and dies when it is told to."""

import asyncio
import contextlib
import fcntl
import hashlib
import socket
import struct
import termios
from time import monotonic
from typing import TYPE_CHECKING

from tests.harness.behaviour import Behaviour, Gate, Head, LoggedRequest, Resource, choose_head
from tests.harness.content import MIB, Literal

if TYPE_CHECKING:
    from tests.harness.origin import FaultOrigin

PIECE = MIB
MAX_HEAD = 1 << 20
REASONS = {200: "OK", 206: "Partial Content", 304: "Not Modified", 404: "Not Found", 416: "Range Not Satisfiable"}


class Dead(Exception):
    """The connection has ended, by a fault that was asked for or by the client."""


class Connection:
    """One client connection: reads requests and answers them in turn."""

    def __init__(self, origin: "FaultOrigin", sock: socket.socket, number: int) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._origin = origin
        self._sock = sock
        self._number = number
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self.idle = True
        self._task = asyncio.create_task(self._serve())

    async def cut(self) -> None:
        """Reset the connection now."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _serve(self) -> None:
        try:
            while True:
                self.idle = True
                request = await self._read_request()
                self.idle = False
                if not await self._answer(request):
                    return
        except (Dead, OSError):
            pass
        except asyncio.CancelledError:
            self._linger_zero()
        finally:
            self._sock.close()
            self._origin.forget(self)

    async def _read_request(self) -> LoggedRequest:
        while b"\r\n\r\n" not in self._received:
            await self._receive()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, version = first.split(" ")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name = name.lower()
            headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
        if version == "HTTP/1.0":
            headers.setdefault("connection", "close")
        size, md5 = await self._read_body(headers)
        return LoggedRequest(method, target, headers, connection=self._number, body_size=size, body_md5=md5)

    async def _receive(self) -> None:
        data = await self._loop.sock_recv(self._sock, 65536)
        if not data or len(self._received) > MAX_HEAD:
            raise Dead
        self._received += data

    async def _read_body(self, headers: dict[str, str]) -> tuple[int, str]:
        """Read a request's body to its end: its size and md5."""
        digest, size = hashlib.md5(usedforsecurity=False), 0
        chunked = headers.get("transfer-encoding") == "chunked"
        left = int(await self._line(), 16) if chunked else int(headers.get("content-length", "0"))
        while left:
            if not self._received:
                await self._receive()
            piece, self._received = self._received[:left], self._received[left:]
            digest.update(piece)
            size, left = size + len(piece), left - len(piece)
            if chunked and not left:
                await self._line()
                left = int(await self._line(), 16)
        if chunked:
            await self._line()
        return size, digest.hexdigest()

    async def _line(self) -> bytes:
        while b"\r\n" not in self._received:
            await self._receive()
        line, _, self._received = self._received.partition(b"\r\n")
        return line

    async def _answer(self, request: LoggedRequest) -> bool:
        """Answer one request; whether the connection may be used again."""
        resource = self._origin.begin(request)
        if resource is None:
            found = request.target == "/_counts"
            text = Literal(self._origin.counts() if found else b"there is nothing here\n")
            resource = Resource(text, Behaviour(status=200 if found else 404, etag=None, last_modified=None))
        behaviour = resource.behaviour.for_request(request)
        await self._prelude(behaviour, resource, request)
        if resource.refusals < resource.behaviour.refuse_times:
            resource.refusals += 1
            extra = [("Retry-After", str(behaviour.retry_after))] if behaviour.retry_after is not None else []
            head = Head(behaviour.refuse_status, extra, Literal(b"not now\n"), (0, 8), "length")
            return await self._send(request, Behaviour(), resource, head)
        body, etag = resource.version(behaviour)
        return await self._send(request, behaviour, resource, choose_head(request, behaviour, body, etag))

    async def _prelude(self, behaviour: Behaviour, resource: Resource, request: LoggedRequest) -> None:
        if behaviour.header_gate is not None:
            await self._wait_at(behaviour.header_gate)
        if behaviour.header_delay:
            await asyncio.sleep(behaviour.header_delay)
        if resource.hang_ups < behaviour.hang_up_times:
            resource.hang_ups += 1
            await self._die(behaviour.how)
        if behaviour.raw is not None:
            request.status = -1
            await self._loop.sock_sendall(self._sock, behaviour.raw)
            await self._die(behaviour.how)

    async def _send(self, request: LoggedRequest, behaviour: Behaviour, resource: Resource, head: Head) -> bool:
        request.status = head.status
        closing = head.framing == "close" or "close" in request.headers.get("connection", "").lower()
        await self._loop.sock_sendall(self._sock, _render(head, closing=closing))
        if request.method != "HEAD" and head.span is not None:
            await self._send_body(request, behaviour, resource, head)
        return not closing

    async def _send_body(self, request: LoggedRequest, behaviour: Behaviour, resource: Resource, head: Head) -> None:
        assert head.span is not None
        start, end = head.span
        death = self._death(behaviour, resource, start, end)
        began = monotonic()
        position = start
        while position < end or position == death:
            if position == death:
                resource.deaths += 1
                await self._die(behaviour.how)
            if behaviour.gate is not None and position - start >= behaviour.gate_after:
                await self._wait_at(behaviour.gate)
            stop = self._next_stop(behaviour, start, position, end if death is None else death)
            await self._send_piece(head, position, stop, request, resource)
            position = stop
            if behaviour.rate:
                await asyncio.sleep(max(0.0, began + (position - start) / behaviour.rate - monotonic()))
        if head.framing == "chunked":
            await self._loop.sock_sendall(self._sock, b"0\r\n\r\n")

    @staticmethod
    def _death(behaviour: Behaviour, resource: Resource, start: int, end: int) -> int | None:
        if behaviour.die_after is None or start + behaviour.die_after > end:
            return None
        if behaviour.die_times is not None and resource.deaths >= behaviour.die_times:
            return None
        return start + int(behaviour.die_after)

    @staticmethod
    def _next_stop(behaviour: Behaviour, start: int, position: int, end: int) -> int:
        piece = PIECE if not behaviour.rate else max(1, min(PIECE, int(behaviour.rate) // 20))
        stop = min(end, position + piece)
        if behaviour.gate is not None and position < start + behaviour.gate_after:
            stop = min(stop, start + behaviour.gate_after)
        return stop

    async def _send_piece(self, head: Head, position: int, end: int, log: LoggedRequest, resource: Resource) -> None:
        chunked = head.framing == "chunked"
        if chunked:
            await self._loop.sock_sendall(self._sock, f"{end - position:x}\r\n".encode())
        while position < end:
            sent = self._origin.send_now(self._sock, list(head.body.views(position, end)), log, resource)
            position += sent
            if sent == 0:
                await self._writable()
        if chunked:
            await self._loop.sock_sendall(self._sock, b"\r\n")

    async def _writable(self) -> None:
        ready = self._loop.create_future()
        self._loop.add_writer(self._sock, lambda: None if ready.done() else ready.set_result(None))
        try:
            await ready
        finally:
            self._loop.remove_writer(self._sock)

    async def _wait_at(self, gate: Gate) -> None:
        ready = asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the origin has stopped meanwhile
                self._loop.call_soon_threadsafe(ready.set)

        gate.on_set(wake)
        await ready.wait()

    async def _die(self, how: str) -> None:
        """End the connection; with rst only after the peer's kernel has everything, so that the cut is exact."""
        if how == "rst":
            deadline = monotonic() + 5
            while _unsent(self._sock) and monotonic() < deadline:  # noqa: ASYNC110 - the kernel tells nobody
                await asyncio.sleep(0.001)
            self._linger_zero()
        raise Dead

    def _linger_zero(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _unsent(sock: socket.socket) -> int:
    return int(struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0" * 4))[0])


def _render(head: Head, *, closing: bool) -> bytes:
    lines = [f"HTTP/1.1 {head.status} {REASONS.get(head.status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in head.headers]
    if head.span is not None and head.framing == "length":
        lines.append(f"Content-Length: {head.span[1] - head.span[0]}")
    elif head.span is not None and head.framing == "chunked":
        lines.append("Transfer-Encoding: chunked")
    if closing:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
