"""TLS in front of any loopback server, with certificates made for the occasion by the openssl command."""

import asyncio
import contextlib
import ssl
import subprocess
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

_NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


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


class Authority:
    """A CA of our own, and what it issues; its certificate is ``certificate``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.certificate = folder / "ca.pem"
        self._key = folder / "ca.key"
        subject = ["-subj", f"/CN=test authority {folder.name}", "-out", str(self.certificate)]
        uses = ["-addext", "basicConstraints=critical,CA:true", "-addext", "keyUsage=critical,keyCertSign"]
        _openssl("req", "-x509", *_NEW_KEY, "-days", "2", *subject, "-keyout", str(self._key), *uses)

    def issue(self, name: str, names: str, days: int = 2) -> Certificate:
        """The certificate called ``name``, for ``names`` (a subjectAltName). ``days`` below zero: it has expired."""
        made = Certificate(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        if made.cert.exists():
            return made
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={names}\n")
        _openssl("req", "-new", *_NEW_KEY, "-subj", f"/CN={name}", "-keyout", str(made.key), "-out", str(request))
        now = datetime.now(UTC)
        ends = now + timedelta(days=days)
        times = [_stamp(min(now, ends) - timedelta(days=1)), _stamp(ends)]
        database = self._folder / f"{name}.db"
        database.touch()
        settings = self._folder / f"{name}.cnf"
        settings.write_text(
            f"[ca]\ndefault_ca=own\n[own]\ndatabase={database}\nnew_certs_dir={self._folder}\nrand_serial=yes\n"
            "default_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n"
        )
        _openssl(
            "ca", "-batch", "-notext", "-config", str(settings), "-cert", str(self.certificate),
            "-keyfile", str(self._key), "-in", str(request), "-out", str(made.cert), "-extfile", str(extensions),
            "-startdate", times[0], "-enddate", times[1],
        )  # fmt: skip
        return made


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y%m%d%H%M%SZ")


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class TlsFront:
    """Ends TLS on a free loopback port and relays the bytes to ``port``.

    ``clients_of``: the CA by whose certificates clients have to show who they are.
    """

    def __init__(self, port: int, certificate: Certificate, clients_of: Path | None = None) -> None:
        self._target = port
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificate.cert, certificate.key)
        if clients_of is not None:
            self._context.load_verify_locations(clients_of)
            self._context.verify_mode = ssl.CERT_REQUIRED
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
