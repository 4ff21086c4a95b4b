"""TLS in front of any loopback server, with certificates made for the occasion by the openssl command."""

import asyncio
import contextlib
import ssl
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate (its own CA) and its key, as PEM files."""

    cert: Path
    key: Path


def make_certificate(folder: Path, names: str = "DNS:localhost,IP:127.0.0.1", days: int = 2) -> Certificate:
    """Make a self-signed certificate for ``names`` (a subjectAltName)."""
    made = Certificate(folder / "cert.pem", folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", str(days), "-subj", "/CN=test origin", "-addext", f"subjectAltName={names}"]
    command += ["-out", str(made.cert), "-keyout", str(made.key)]
    subprocess.run(command, check=True, capture_output=True)
    return made


class TlsFront:
    """Ends TLS on a free loopback port and relays the bytes to ``port``."""

    def __init__(self, port: int, certificate: Certificate) -> None:
        self._target = port
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificate.cert, certificate.key)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="tls-front", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.server_names: list[str | None] = []
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._context.sni_callback = lambda _socket, name, _context: self.server_names.append(name)
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._end.wait()
        server.close()
        for writer in self._writers:
            writer.transport.abort()
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        below_reader, below_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers |= {writer, below_writer}
        pumps = [asyncio.create_task(_pump(reader, below_writer)), asyncio.create_task(_pump(below_reader, writer))]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        for ending in (writer, below_writer):
            ending.close()
            with contextlib.suppress(OSError):
                await ending.wait_closed()
        self._writers -= {writer, below_writer}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
