"""Clients of the rows: many at once who only count, and one who looks closely at what it gets."""

import contextlib
import hashlib
import re
import selectors
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BufferedReader

_END = b"\r\n\r\n"
_BUFFER = bytearray(1 << 20)
_PATIENCE = 120.0


def asks(port: int, target: str, host: str, byte_range: str | None = None) -> socket.socket:
    """A connection on which a request has been sent."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)
    wanted = f"Range: bytes={byte_range}\r\n" if byte_range is not None else ""
    sock.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{wanted}Connection: close\r\n\r\n".encode())
    return sock


@dataclass(slots=True)
class _Reading:
    """One of a crowd. Times are in seconds since the crowd set out."""

    sock: socket.socket
    head: bytes = b""
    missing: int | None = None
    first: float = 0.0
    last: float = 0.0

    def take(self, now: float) -> bool:
        """Read what is there; whether more is to come."""
        if self.missing is None:
            self.head += self.sock.recv(65536)
            assert self.head, "the connection ended before the head did"
            if _END not in self.head:
                return True
            head, _, body = self.head.partition(_END)
            assert head[9:11] == b"20", head[:200]
            length = re.search(rb"(?i)content-length: (\d+)", head)
            assert length is not None, head
            self.missing = int(length[1]) - len(body)
            self.first = now if body else 0.0
            return self.missing > 0
        count = self.sock.recv_into(_BUFFER)
        assert count, "the body ended early"
        self.missing -= count
        self.first, self.last = self.first or now, now
        return self.missing > 0


@dataclass(frozen=True, slots=True)
class Crowd:
    """How it went: seconds to the worst first byte of a body, and until the last client was done."""

    worst_first: float
    last_done: float


def crowd(port: int, target: str, host: str, clients: int) -> Crowd:
    """So many clients ask for one target at once, and read it all."""
    selector = selectors.DefaultSelector()
    began = time.perf_counter()
    readings = [_Reading(asks(port, target, host)) for _ in range(clients)]
    for reading in readings:
        reading.sock.setblocking(False)
        selector.register(reading.sock, selectors.EVENT_READ, reading)
    missing = len(readings)
    while missing:
        events = selector.select(_PATIENCE)
        assert events, f"{missing} clients got nothing for {_PATIENCE:.0f} s"
        for key, _ in events:
            if not key.data.take(time.perf_counter() - began):
                selector.unregister(key.fileobj)
                key.data.sock.close()
                missing -= 1
    selector.close()
    return Crowd(max(reading.first for reading in readings), max(reading.last for reading in readings))


@dataclass(slots=True)
class Got:
    """What a client got, whole or not."""

    status: int = 0
    size: int = 0
    sha256: str = ""
    clean: bool = False
    """Whether it ended as its head had said it would."""
    head: dict[str, str] = field(default_factory=dict)


def get(port: int, target: str, host: str) -> Got:
    """Read an answer however it ends."""
    got = Got()
    digest = hashlib.sha256()
    with contextlib.suppress(ConnectionError), asks(port, target, host) as sock, sock.makefile("rb") as stream:
        first = stream.readline()
        got.status = int(first.split()[1]) if first else 0
        while (line := stream.readline()) not in {b"\r\n", b"\n", b""}:
            name, _, value = line.decode("latin-1").partition(":")
            got.head[name.strip().lower()] = value.strip()
        for piece in _body(stream, got):
            digest.update(piece)
            got.size += len(piece)
    got.sha256 = digest.hexdigest()
    return got


def _body(stream: BufferedReader, got: Got) -> Iterator[bytes]:
    if got.head.get("transfer-encoding", "").lower() == "chunked":
        while size := int(stream.readline().split(b";")[0].strip() or b"0", 16):
            piece = stream.read(size)
            yield piece
            if len(piece) < size or stream.readline() != b"\r\n":
                return
        got.clean = stream.readline() == b"\r\n"
        return
    missing = int(got.head["content-length"]) if "content-length" in got.head else None
    while missing is None or missing:
        piece = stream.read(min(1 << 16, missing or 1 << 16))
        if not piece:
            break
        yield piece
        missing = None if missing is None else missing - len(piece)
    got.clean = not missing
