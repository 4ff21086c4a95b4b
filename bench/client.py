"""Clients for measuring: a reader of one body that is as thin as Python allows, and wrk for many requests."""

import re
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

_BUFFER = bytearray(1 << 20)
_HEADER_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Read:
    """One answer: body bytes, seconds to its first body byte and to its last."""

    size: int
    first: float
    total: float

    @property
    def rate(self) -> float:
        """MiB per second."""
        return self.size / self.total / 2**20


def read(port: int, target: str, host: str = "bench", byte_range: str | None = None) -> Read:
    """GET a body over a fresh connection; it must be complete."""
    lines = [f"GET {target} HTTP/1.1", f"Host: {host}", "Connection: close"]
    if byte_range:
        lines.append(f"Range: bytes={byte_range}")
    started = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall("\r\n".join([*lines, "", ""]).encode())
        head = b""
        while _HEADER_END not in head:
            piece = sock.recv(65536)
            assert piece, "the connection ended before the head did"
            head += piece
        head, _, body = head.partition(_HEADER_END)
        assert head[9:11] == b"20", head[:200]
        length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
        first, size = time.perf_counter() - started, len(body)
        while size < length and (count := sock.recv_into(_BUFFER)):
            size += count
    assert size == length, (size, length)
    return Read(size, first, time.perf_counter() - started)


def wrk(
    port: int,
    target: str,
    host: str,
    seconds: int = 4,
    connections: int = 32,
    script: Path | None = None,
    header: str | None = None,
) -> tuple[float, float]:
    """Requests per second and MiB per second of the same request over and over, or of those that a script makes."""
    program = shutil.which("wrk")
    assert program is not None, "wrk is missing; 'make bench' installs it (Debian package wrk)"
    command = [program, "-t1", f"-c{connections}", f"-d{seconds}s", "-H", f"Host: {host}"]
    if script is not None:
        command += ["-s", str(script)]
    if header is not None:
        command += ["-H", header]
    said = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{target}"], capture_output=True, text=True, check=True
    ).stdout
    assert "Non-2xx" not in said, said
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])  # type: ignore[index]
    number, unit = re.search(r"Transfer/sec:\s+([\d.]+)(\w+)", said).groups()  # type: ignore[union-attr]
    return rate, float(number) * {"B": 2**-20, "KB": 2**-10, "MB": 1.0, "GB": 1024.0}[unit]
