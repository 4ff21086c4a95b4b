"""A real HTTP/1.1 origin with exact faults: raw sockets, its own thread and loop, every body byte counted.

    with FaultOrigin() as origin:
        behaviour = origin.put("/a", Content(seed=1, size=10 * MIB), die_after=MIB, how="rst", die_times=1)
        ...  # any client, sync or async
        assert origin.body_bytes("/a") == 10 * MIB

As a process of its own (for benchmarks): ``python -m tests.harness.origin --port 0 --file-size N``
prints its port; the body is at ``/file``, the counts at ``/_counts``.
"""

import argparse
import asyncio
import contextlib
import fcntl
import json
import signal
import socket
import struct
import termios
import threading
from collections.abc import Coroutine
from time import monotonic
from typing import Any, Self, TypeVar

from tests.harness.behaviour import Behaviour, Gate, Head, LoggedRequest, Resource, choose_head
from tests.harness.content import MIB, Body, Content, Literal, as_body

__all__ = ["MIB", "Behaviour", "Content", "FaultOrigin", "Gate", "LoggedRequest"]

PIECE = MIB
MAX_HEAD = 1 << 20
REASONS = {200: "OK", 206: "Partial Content", 304: "Not Modified", 404: "Not Found", 416: "Range Not Satisfiable"}
T = TypeVar("T")


class Dead(Exception):
    """The connection has ended, by a fault that was asked for or by the client."""


class FaultOrigin:
    """The server and its controls. All methods may be called from any thread."""

    def __init__(self, port: int = 0, host: str = "127.0.0.1") -> None:
        self.host = host
        self.requests: list[LoggedRequest] = []
        self._lock = threading.Lock()
        self._resources: dict[str, Resource] = {}
        self._connections: set[_Connection] = set()
        self._accepted = 0
        self._bound = _bind(host, port)
        self.port: int = self._bound.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-origin", daemon=True)
        self._accepting: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The base address, without a trailing slash."""
        return f"http://{self.host}:{self.port}"

    # -- life

    def start(self) -> Self:
        """Serve in a thread of its own."""
        self._thread.start()
        self.listen_again()
        return self

    def stop(self) -> None:
        """Cut everything and end the thread."""
        self._call(self._shut_down())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._bound.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop_listening(self, *, cut: bool = False) -> None:
        """Refuse connections on the port, which stays ours. Idle connections end; ``cut`` resets busy ones too."""
        self._call(self._refuse(cut=cut))

    def listen_again(self) -> None:
        """Accept connections again."""
        self._call(self._listen())

    # -- paths

    def put(self, path: str, body: bytes | Body = b"", **behaviour: Any) -> Behaviour:
        """Serve ``body`` at a raw target (or at a path with any query). The result may be changed while running."""
        if isinstance(behaviour.get("changed_body"), bytes):
            behaviour["changed_body"] = Literal(behaviour["changed_body"])
        resource = Resource(as_body(body), Behaviour(**behaviour))
        with self._lock:
            self._resources[path] = resource
        return resource.behaviour

    def remove(self, path: str) -> None:
        """Answer 404 there from now on."""
        with self._lock:
            del self._resources[path]

    # -- what happened

    def logged(self, path: str | None = None, method: str | None = None) -> list[LoggedRequest]:
        """The requests for a target (or a path with any query), oldest first."""
        with self._lock:
            return [
                entry
                for entry in self.requests
                if path in {None, entry.target, entry.target.partition("?")[0]} and method in {None, entry.method}
            ]

    def count(self, path: str | None = None, method: str | None = None) -> int:
        """How many requests came."""
        return len(self.logged(path, method))

    def body_bytes(self, path: str | None = None) -> int:
        """How many body bytes were written to sockets (framing not counted)."""
        entries = self.logged(path)
        with self._lock:
            return sum(entry.sent for entry in entries)

    def connections_accepted(self) -> int:
        """How many connections were accepted."""
        return self._accepted

    def reset_counters(self) -> None:
        """Forget all requests and counts, and what the faults have used up."""
        with self._lock:
            self.requests.clear()
            self._accepted = 0
            for resource in self._resources.values():
                resource.requests = resource.sent = resource.deaths = resource.hang_ups = resource.refusals = 0

    # -- the loop's side

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    async def _listen(self) -> None:
        if self._accepting is None:
            self._bound.listen(1024)
            self._accepting = asyncio.create_task(self._accept())

    async def _refuse(self, *, cut: bool) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait({self._accepting})
            self._accepting = None
            self._bound.close()
            self._bound = _bind(self.host, self.port)
        for connection in [held for held in self._connections if held.idle or cut]:
            await connection.cut()

    async def _shut_down(self) -> None:
        await self._refuse(cut=True)

    async def _accept(self) -> None:
        while True:
            sock, _ = await self._loop.sock_accept(self._bound)
            self._accepted += 1
            self._connections.add(_Connection(self, sock, self._accepted))

    def begin(self, request: LoggedRequest) -> Resource | None:
        """Log a request and find its resource."""
        with self._lock:
            self.requests.append(request)
            path = request.target.partition("?")[0]
            resource = self._resources.get(request.target) or self._resources.get(path)
            if resource is not None:
                resource.requests += 1
            return resource

    def send_now(self, sock: socket.socket, views: list[memoryview], log: LoggedRequest, resource: Resource) -> int:
        """Write what the socket takes and count it in the same breath, so that no reader is ahead of the count."""
        with self._lock:
            try:
                sent = sock.sendmsg(views)
            except BlockingIOError:
                return 0
            log.sent += sent
            resource.sent += sent
            return sent

    def counts(self) -> bytes:
        """The counts as JSON, for other processes."""
        summary = {"requests": self.count(), "body_bytes": self.body_bytes(), "connections": self._accepted}
        return json.dumps(summary).encode()

    def forget(self, connection: "_Connection") -> None:
        """Drop a connection that has ended."""
        self._connections.discard(connection)


class _Connection:
    """One client connection: reads requests and answers them in turn."""

    def __init__(self, origin: FaultOrigin, sock: socket.socket, number: int) -> None:
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
        await self._discard(int(headers.get("content-length", "0")))
        return LoggedRequest(method, target, headers, connection=self._number)

    async def _receive(self) -> None:
        data = await self._loop.sock_recv(self._sock, 65536)
        if not data or len(self._received) > MAX_HEAD:
            raise Dead
        self._received += data

    async def _discard(self, size: int) -> None:
        while len(self._received) < size:
            await self._receive()
        self._received = self._received[size:]

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


def _bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen: connections to it are refused."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    sock.setblocking(False)
    return sock


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


def main() -> None:
    """Serve one big body at ``/file`` until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--file-size", type=int, default=256 * MIB)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--framing", choices=("length", "chunked", "close"), default="length")
    parser.add_argument("--rate", type=int, default=None, help="bytes per second")
    options = parser.parse_args()
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with FaultOrigin(options.port) as origin:
        body = Content(options.seed, options.file_size)
        origin.put("/file", body, framing=options.framing, rate=options.rate)
        print(origin.port, flush=True)
        signal.sigwait(signals)


if __name__ == "__main__":
    main()
