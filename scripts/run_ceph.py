"""``make run-ceph``: the whole installation on one machine, to be tried out. Everything lies below one folder.

    edge (nginx) ──> proxy-1, proxy-2, worker ──> PostgreSQL, Ceph (monitor, osd, gateway)

The engines are started by the code that starts them for the tests, the rest as an operator starts it. Ctrl-C or
SIGTERM stops everything in order; the next start on the same folder goes on with the same data, ports and secrets.
"""

import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.harness.ceph import Ceph
from tests.harness.leash import Leash
from tests.harness.ports import free_port
from tests.harness.postgres import Postgres, other_user

PROXIES = ("proxy-1", "proxy-2")
PATIENCE = 60.0
STOPPED_WITHIN = 90.0


class Installation:
    """The processes of ours, and where they lie. ``ports`` and the secret key are drawn once for a folder."""

    def __init__(self, folder: Path, ceph: Ceph, postgres: Postgres) -> None:
        self.folder = folder
        self._ceph = ceph
        self._ports, key, database = self._drawn(postgres)
        self.url = f"http://127.0.0.1:{self._ports['edge']}"
        self._settings = {
            "DATABASE_URL": database,
            "SECRET_KEY": key,
            "STORE": "ceph",
            "CEPH_GATEWAY": ceph.gateway,
            "CEPH_ACCESS_KEY": ceph.access_key,
            "CEPH_SECRET_KEY": ceph.secret_key,
            "PUBLIC_ADDRESS": self.url,
            "BACKGROUND": "false",
            "EDGE_PROXIES": ",".join(f"127.0.0.1:{self._ports[name]}" for name in PROXIES),
            "EDGE_LISTEN": f"127.0.0.1:{self._ports['edge']}",
            "EDGE_PURGE_LISTEN": f"127.0.0.1:{self._ports['purge']}",
            "EDGE_S3_LISTEN": f"127.0.0.1:{self._ports['s3']}",
            "EDGE_HEALTH_LISTEN": f"127.0.0.1:{self._ports['health']}",
            "EDGE_PURGE": f"http://127.0.0.1:{self._ports['purge']}",
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._leash = Leash()

    def _drawn(self, postgres: Postgres) -> tuple[dict[str, int], str, str]:
        made = self.folder / "installation.json"
        if not made.exists():
            ports = {name: free_port() for name in (*PROXIES, "purge", "health", "s3")}
            ports["edge"] = _free(int(os.environ.get("CEPHSTORAGE_PORT") or 8080)) or free_port()
            made.touch(mode=0o600)
            made.write_text(json.dumps([ports, secrets.token_hex(32), postgres.fresh()]))
        ports, key, database = json.loads(made.read_text())
        if "s3" not in ports:  # a folder of an earlier version
            ports["s3"] = free_port()
            made.write_text(json.dumps([ports, key, database]))
        return ports, key, database

    def start(self) -> None:
        """Start everything of ours; return when the edge leads to a proxy that is ready."""
        self._upgrade()
        for name in PROXIES:
            port = str(self._ports[name])
            self._launch(name, "serve", HOST="127.0.0.1", PORT=port, ADVERTISE=f"127.0.0.1:{port}")
        for name in PROXIES:
            self._await(name, f"http://127.0.0.1:{self._ports[name]}/readyz")
        self._launch("worker", "worker")
        self._launch("edge", "edge", "run")
        self._await("edge", f"{self.url}/readyz")

    def _upgrade(self) -> None:
        """Bring a database of an earlier version to this one's schema: nobody else could, as it runs only here."""
        command = [sys.executable, "-m", "cephstorage", "db", "upgrade"]
        done = subprocess.run(  # noqa: S603 - ourselves
            command, env=self._environment("worker"), capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"The database can't be upgraded. {done.stderr}")

    def _environment(self, name: str, **settings: str) -> dict[str, str]:
        own = {"DATA_DIR": str(self.folder / name), **self._settings, **settings}
        return os.environ | {f"CEPHSTORAGE_{variable}": value for variable, value in own.items()}

    def _launch(self, name: str, *verb: str, **settings: str) -> None:
        env = self._environment(name, **settings)
        with self.log(name).open("ab") as output:
            self.processes[name] = subprocess.Popen(  # noqa: S603 - ourselves
                [sys.executable, "-m", "cephstorage", *verb],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._leash.hold(self.processes[name].pid)

    def log(self, name: str) -> Path:
        """The log of a process."""
        (self.folder / "log").mkdir(exist_ok=True)
        return self.folder / "log" / f"{name}.log"

    def _await(self, name: str, url: str) -> None:
        deadline = time.monotonic() + PATIENCE
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while self.processes[name].poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                opener.open(url, timeout=5).close()
                return
            time.sleep(0.1)
        sys.exit(f"{name} does not answer at {url}; see {self.log(name)}")

    def ended(self) -> list[str]:
        """Processes that have ended by themselves."""
        return [name for name, process in self.processes.items() if process.poll() is not None]

    def stop(self) -> None:
        """Stop in order: the edge first, so that no request meets a proxy that stops."""
        for names in (["edge"], [name for name in self.processes if name != "edge"]):
            going = [self.processes[name] for name in names if name in self.processes]
            for process in going:
                process.terminate()
            for process in going:
                process.wait(STOPPED_WITHIN)
                self._leash.release(process.pid)
        self._leash.close()

    def _s3_access(self) -> Path:
        file, keys = self.folder / "s3-access", self._ceph
        file.touch(mode=0o600)
        values = {
            "AWS_ACCESS_KEY_ID": keys.access_key,
            "AWS_SECRET_ACCESS_KEY": keys.secret_key,
            "AWS_DEFAULT_REGION": "default",
        }
        file.write_text("".join(f"export {name}={value}\n" for name, value in values.items()))
        return file

    def told(self) -> str:
        """How to use it."""
        token = self.folder / "proxy-1" / "admin-token"
        return "\n".join(
            (
                f"CephStorage runs at {self.url} (edge), on Ceph and PostgreSQL; everything lies in {self.folder}",
                "In another terminal:",
                f"  export CEPHSTORAGE_URL={self.url} CEPHSTORAGE_TOKEN=$(cat {token})",
                '  export PATH="$PWD/.venv/bin:$PATH"',
                "  cephstorage bucket create alice/photos && cephstorage put README.md alice/photos/README.md",
                f'  curl -H "Authorization: Bearer $CEPHSTORAGE_TOKEN" {self.url}/ceph/alice/photos/keys',
                "The same bytes in Ceph, by any S3 tool:",
                f"  . {self._s3_access()}    # AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION",
                f"  aws --endpoint-url {self._ceph.gateway} s3 ls s3://alice___photos",
                "RGW through the edge; what a bucket lacks comes from the origin of its mirror (POST /mirrors/host):",
                f"  aws --endpoint-url http://127.0.0.1:{self._ports['s3']} s3 cp s3://alice___photos/README.md -",
                f"The API's documents: {self.url}/docs",
                f"Logs: {self.folder / 'log'}. Processes: "
                + ", ".join(f"{name} {process.pid}" for name, process in self.processes.items()),
                f"Ctrl-C, or kill {os.getpid()}, stops everything in order.",
            )
        )


def _reached_by(user: str, folder: Path) -> None:
    """PostgreSQL refuses to be root's: its user has to get through to the folder."""
    closed = [parent for parent in (folder, *folder.parents) if not parent.stat().st_mode & 0o001]
    if user and closed:
        sys.exit(
            f"The user {user} can't pass {closed[-1]}: name another place, CEPHSTORAGE_DATA_DIR=/var/tmp/data-ceph"
        )


def _free(port: int) -> int | None:
    """The port, if nobody has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return None
    return port


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder: two installations on the same data would destroy it."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"Something runs on {folder} already.")
        yield


def main() -> int:
    """Run until a signal; 1 when a process ended by itself."""
    folder = Path(os.environ.get("CEPHSTORAGE_DATA_DIR") or "data-ceph").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    told_to_stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told_to_stop.set())
    with contextlib.ExitStack() as running:
        running.enter_context(_alone(folder))
        _reached_by(other_user() or "", folder)
        sys.stderr.write("Starting Ceph and PostgreSQL\n")
        ceph = Ceph(folder / "ceph", "bluestore").start()
        running.callback(ceph.destroy)
        running.callback(ceph.stop)
        postgres = running.enter_context(contextlib.closing(Postgres(durable=True, folder=folder / "postgres")))
        installation = Installation(folder, ceph, postgres)
        running.callback(installation.stop)
        installation.start()
        sys.stderr.write(installation.told() + "\n")
        sys.stderr.flush()
        while not told_to_stop.wait(0.5):
            if ended := installation.ended():
                sys.stderr.write(f"{', '.join(ended)} ended by itself; stopping. See {folder / 'log'}.\n")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
