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
import json
import signal
import socket
import threading
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

from tests.harness.behaviour import Behaviour, Gate, LoggedRequest, Resource
from tests.harness.connection import Connection
from tests.harness.content import MIB, Body, Content, Literal, as_body

__all__ = ["MIB", "Behaviour", "Content", "FaultOrigin", "Gate", "LoggedRequest"]

T = TypeVar("T")


class FaultOrigin:
    """The server and its controls. All methods may be called from any thread."""

    def __init__(self, port: int = 0, host: str = "127.0.0.1") -> None:
        self.host = host
        self.requests: list[LoggedRequest] = []
        self._lock = threading.Lock()
        self._resources: dict[str, Resource] = {}
        self._connections: set[Connection] = set()
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
            self._connections.add(Connection(self, sock, self._accepted))

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

    def forget(self, connection: Connection) -> None:
        """Drop a connection that has ended."""
        self._connections.discard(connection)


def _bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen: connections to it are refused."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    sock.setblocking(False)
    return sock


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
