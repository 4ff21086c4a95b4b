"""The origins that every contestant mirrors, each under a host name of its own.

plain.bench    nginx, as fast as an origin can be; it counts what it sends of the large files
slow.bench     the scripted origin in a process of its own, paced
faulty.bench   the scripted origin in this process, whose faults the rows choose
far.bench      plain.bench behind a line of 50 ms and 125 MB/s
"""

import contextlib
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.harness.content import Content
from tests.harness.leash import Leash
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.ports import free_port
from tests.harness.programs import find

MIB = 1 << 20
PLAIN, SLOW, FAULTY, FAR = "plain.bench", "slow.bench", "faulty.bench", "far.bench"
FILES = {"/4k": 4096, "/1m": MIB, "/64m": 64 * MIB, "/256m": 256 * MIB}
SLOW_SIZE, SLOW_RATE = 64 * MIB, 16 * MIB
_QUIET = 1.5
_NGINX = """
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
daemon off;
user root;
events {{ worker_connections 4096; }}
http {{
    sendfile on;
    keepalive_requests 1000000;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    log_format sent "$request_uri $body_bytes_sent";
    map $uri $large {{ ~^/(64m|256m)$ 1; default 0; }}
    access_log {folder}/sent.log sent if=$large;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {folder}/files;
        default_type application/octet-stream;
        add_header Cache-Control max-age=86400;
    }}
}}
"""


@dataclass(slots=True)
class Origins:
    """All of them, running. ``ports`` names the port behind each host."""

    ports: dict[str, int]
    faulty: FaultOrigin
    _log: Path

    def sent(self, target: str) -> int:
        """Body bytes that plain.bench has sent for a target, answers that are over."""
        lines = (line.split() for line in self._log.read_text().splitlines())
        return sum(int(size) for asked, size in lines if asked == target)

    def rest(self) -> None:
        """Wait until plain.bench has sent nothing for a while: what goes on without its client has ended."""
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < _QUIET:
            if (size := self._log.stat().st_size) != seen:
                seen, since = size, time.monotonic()
            time.sleep(0.05)

    def slow_sent(self) -> int:
        """Body bytes that slow.bench has sent."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[SLOW])
        with contextlib.closing(connection):
            connection.request("GET", "/_counts")
            return int(json.loads(connection.getresponse().read())["body_bytes"])


@contextmanager
def origins(folder: Path) -> Iterator[Origins]:
    """Start all of them below ``folder``."""
    with ExitStack() as running:
        leash = Leash()
        running.callback(leash.close)
        plain = running.enter_context(_plain(folder, leash))
        slow = ["tests.harness.origin", "--file-size", str(SLOW_SIZE), "--rate", str(SLOW_RATE)]
        ports = {
            PLAIN: plain,
            SLOW: running.enter_context(_printing_its_port(leash, *slow)),
            FAR: running.enter_context(_printing_its_port(leash, "bench.peers.line", "--to", str(plain))),
        }
        faulty = running.enter_context(FaultOrigin())
        yield Origins({**ports, FAULTY: faulty.port}, faulty, folder / "sent.log")


@contextmanager
def _plain(folder: Path, leash: Leash) -> Iterator[int]:
    files = folder / "files"
    files.mkdir(parents=True)
    for name, size in FILES.items():
        with (files / name[1:]).open("wb") as file:
            for view in Content(1, size).views(0, size):
                file.write(view)
    port = free_port()
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, port=port))
    nginx = find("nginx")
    assert nginx is not None, "nginx is missing"
    process = subprocess.Popen([nginx, "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")])
    leash.hold(process.pid)
    try:
        until((folder / "nginx.pid").exists)
        yield port
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def _printing_its_port(leash: Leash, module: str, *options: str) -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-m", module, *options], stdout=subprocess.PIPE, text=True)
    leash.hold(process.pid)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(30)
