"""A real nginx edge as its operator starts it: ``python -m cephstorage edge run``, on free loopback ports.

``Edge`` stands in front of given proxies; ``tests.harness.stack`` makes whole installations with one.
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cephstorage.domain.edge import PURGE_PATH, purge_headers, purge_ranges
from cephstorage.edge.nginx import members
from tests.harness.fork_server import Program, start_program
from tests.harness.leash import Leash
from tests.harness.patience import until
from tests.harness.ports import free_port
from tests.harness.programs import require
from tests.harness.service import Service

SLICE = 1 << 20


class Edge:
    """nginx in front of ``proxies`` (``host:port``), with the secret and settings that ``service`` has.

    Further settings by keyword, e.g. ``edge_header_timeout="1"``. Everything it writes is below ``folder``.
    """

    def __init__(
        self, service: Service, proxies: Iterable[str] | None = None, port: int | None = None, **settings: str
    ) -> None:
        require("nginx")
        self.service = service
        self.folder = Path(tempfile.mkdtemp(prefix="edge-"))
        self.port = free_port() if port is None else port
        self.purge_port, self.health_port, self.tls_port = (free_port() for _ in range(3))
        self.url = f"http://127.0.0.1:{self.port}"
        self.proxies = list(proxies) if proxies is not None else []
        self.settings = settings
        self.lines: list[str] = []
        self._process: Program | None = None
        self._reader: threading.Thread | None = None
        self._leash = Leash()

    @property
    def run_dir(self) -> Path:
        return self.folder / "run"

    @property
    def env(self) -> dict[str, str]:
        """The environment of ``cephstorage edge ...``."""
        proxies = self.proxies or [self.service.url.removeprefix("http://")]
        own = {
            "edge_proxies": ",".join(proxies),
            "edge_listen": f"127.0.0.1:{self.port}",
            "edge_purge_listen": f"127.0.0.1:{self.purge_port}",
            "edge_health_listen": f"127.0.0.1:{self.health_port}",
            "edge_run_dir": str(self.run_dir),
            "edge_cache_dir": str(self.folder / "cache"),
            "edge_cache_size": "4g",
            "edge_processes": "2",
            **self.settings,
        }
        return self.service.env | {f"CEPHSTORAGE_{name.upper()}": value for name, value in own.items()}

    def start(self) -> "Edge":
        """Start and return when nginx answers."""
        self._process = start_program("cephstorage", "edge", "run", env=self.env, forked=Service.forked)
        self._leash.hold(self._process.pid)
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        until(self._is_up)
        return self

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "the edge did not start:\n" + self.log()
        return self.healthy()

    def healthy(self) -> bool:
        """Whether nginx answers on its health listener."""
        connection = http.client.HTTPConnection("127.0.0.1", self.health_port, timeout=10)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/edge-health")
            return connection.getresponse().status == 200
        return False

    def _read_log(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            self.lines.extend(stream)

    @property
    def nginx_pid(self) -> int:
        """The pid of nginx's master."""
        return int((self.run_dir / "nginx.pid").read_text())

    @property
    def nginx_pids(self) -> set[int]:
        """Every nginx process of this edge; none while it is between two lives."""
        with contextlib.suppress(FileNotFoundError):
            return set(members(int((self.run_dir / "nginx.group").read_text())))
        return set()

    def reload(self) -> None:
        """Have it take over its settings now; returns when new workers do the work."""
        before = self.nginx_pids
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)
        until(lambda: self.nginx_pids - before)

    def stop(self) -> int:
        """SIGTERM; the exit status. The folder is gone afterwards."""
        status = self._end(signal.SIGTERM)
        self._leash.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        return status

    def kill(self) -> None:
        """kill -9 of the supervisor; nginx goes with it."""
        group = self.nginx_pids
        self._end(signal.SIGKILL)
        until(lambda: not [pid for pid in group if Path(f"/proc/{pid}").exists()])

    def kill_nginx(self) -> None:
        """kill -9 of every nginx process at once, so that none is born of another meanwhile; returns when they are gone."""
        until(lambda: self.nginx_pids)
        group = int((self.run_dir / "nginx.group").read_text())
        os.killpg(group, signal.SIGKILL)
        until(lambda: not list(members(group)))

    def _end(self, number: signal.Signals) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(number)
        status = self._process.wait(60)
        self._leash.release(self._process.pid)
        assert self._reader is not None
        self._reader.join(60)
        self._process = None
        return status

    def log(self) -> str:
        """What the supervisor has said, and nginx's errors."""
        errors = self.run_dir / "error.log"
        return "".join(self.lines) + (errors.read_text(errors="replace") if errors.exists() else "")

    def requests(self) -> list[dict[str, Any]]:
        """The access log so far; nginx writes it once a second."""
        return [json.loads(line) for line in (self.run_dir / "access.log").read_text().splitlines()]

    def purge(self, secret: str, host: str, target: str, size: int) -> list[int]:
        """Have every slice of an object dropped; the statuses."""
        connection = http.client.HTTPConnection("127.0.0.1", self.purge_port, timeout=60)
        statuses = []
        for span in purge_ranges(size, SLICE):
            connection.request("GET", PURGE_PATH, headers=dict(purge_headers(secret, host, target, span)))
            with connection.getresponse() as answer:
                statuses.append(answer.status)
                answer.read()
        connection.close()
        return statuses
