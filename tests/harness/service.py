"""The real service as its operator starts it: ``python -m cephstorage serve`` in a process of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.harness.fork_server import Program, start_program
from tests.harness.ports import free_port

_WORKS = "works in the background"
_LISTENS = re.compile(r"listens on (http://\S+)")


class Service:
    """A running service on a data folder. It can be stopped, killed and started again on the same port.

    ``module`` is what is run; ``tests.harness.crashing`` is the service that kills itself at a named point.
    """

    module = "cephstorage"
    verb = "serve"
    forked = True
    """Whether it is forked from a process that has imported it (see ``tests.harness.fork_server``), or started anew."""
    within: tuple[str, ...] = ()
    """A command that runs the service's own, for instance in a network namespace."""
    refuses_itself: frozenset[str] = frozenset()
    """The codes under which a web server before it refuses targets that can't be decoded, without asking."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        self.data_dir = data_dir
        self.settings = settings
        self.url = ""
        self._first_port = free_port()
        self.lines: list[str] = []
        self._process: Program | None = None
        self._reader: threading.Thread | None = None
        self._listening = threading.Event()

    @property
    def env(self) -> dict[str, str]:
        """The environment of the service, also fit for the CLI."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("CEPHSTORAGE_")}
        port = self.url.rpartition(":")[2] or str(self._first_port)
        own = {
            "CEPHSTORAGE_DATA_DIR": str(self.data_dir),
            "CEPHSTORAGE_PORT": port,
            "CEPHSTORAGE_ORIGIN_ALLOWED_NETWORKS": "127.0.0.0/8",
        }
        return clean | own | {f"CEPHSTORAGE_{name.upper()}": value for name, value in self.settings.items()}

    @property
    def running(self) -> bool:
        """Whether it has been started and has not been seen to end."""
        return self._process is not None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def admin_token(self) -> str:
        return (self.data_dir / "admin-token").read_text().strip()

    @property
    def host(self) -> str:
        return str(urlsplit(self.url).hostname)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def start(self) -> "Service":
        """Start and return when the service answers."""
        self._listening.clear()
        self._process = start_program(self.module, self.verb, env=self.env, forked=self.forked, within=self.within)
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        if not self._listening.wait(60) or self._process.poll() is not None or not self._is_up():
            raise AssertionError("the service did not start:\n" + "".join(self.lines[-50:]))
        return self

    def _is_up(self) -> bool:
        return bool(self.url) and self.call("GET", "/healthz", token=None).status == 200

    def _read_log(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            for line in stream:
                self.lines.append(line)
                if (match := _LISTENS.search(line)) is not None:
                    self.url = match.group(1)
                    self._listening.set()
                elif _WORKS in line:
                    self._listening.set()
        self._listening.set()

    def stop(self) -> int:
        """SIGTERM, as ``make run`` gets it; the exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait until it has ended; the exit status."""
        assert self._process is not None
        status = self._process.wait(60)
        assert self._reader is not None
        self._reader.join(60)
        self._process = None
        return status

    def log(self) -> str:
        """Everything it has logged."""
        return "".join(self.lines)

    def command(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a verb of the command line on the service's machine, with some settings changed."""
        env = self.env | {f"CEPHSTORAGE_{name.upper()}": value for name, value in settings.items()}
        command = [sys.executable, "-m", "cephstorage", *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    def call(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        token: str | None = "admin",
    ) -> "Reply":
        """One plain HTTP request; ``target`` travels as written. ``token`` None sends none."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {self.admin_token if token == 'admin' else token}"
        request = urllib.request.Request(self.url + target, data=body, headers=sent, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())
        try:
            with opener.open(request, timeout=60) as answer:
                return Reply(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read())

    def json(self, method: str, target: str, body: Any = None, **more: Any) -> Any:
        """A JSON request that must succeed; the answer's JSON."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **more.pop("headers", {})}
        reply = self.call(method, target, data, headers, **more)
        assert reply.status < 300, (reply.status, reply.body)
        return json.loads(reply.body)


class Worker(Service):
    """``cephstorage worker`` on the same data folder: no requests, so that there is nothing to call."""

    verb = "worker"

    def _is_up(self) -> bool:
        return True


class Reply:
    """An answer that was read whole."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        return json.loads(self.body)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None
