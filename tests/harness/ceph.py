"""A real Ceph of one node (monitor, osd, radosgw) in a folder, on free loopback ports: started, stopped, killed.

    with Ceph(folder).start() as ceph:
        ... ceph.gateway, ceph.access_key, ceph.secret_key ...
        ceph.kill("rgw"); ceph.launch("rgw"); ceph.wait()

``bluestore`` data survives kill -9 of every daemon; ``memstore`` is quicker and lives as long as its osd,
or until an orderly stop. Nothing here needs pytest.
"""

import errno
import http.client
import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from tests.harness import ceph_conf
from tests.harness.leash import Leash
from tests.harness.ports import free_port
from tests.harness.tls import Certificate

PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "monmaptool")
PATIENCE = 60.0
"""Seconds for anything that Ceph does when it starts or stops."""
_TRIES = 3
Daemon = Literal["mon", "osd", "rgw"]
DAEMONS: tuple[Daemon, ...] = ("mon", "osd", "rgw")


def missing_programs() -> list[str]:
    """What this machine lacks to run a Ceph."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


@dataclass(frozen=True)
class User:
    """An S3 user of the gateway."""

    name: str
    access_key: str
    secret_key: str


class Ceph:
    """A cluster in ``folder``. The same folder started again has the same ports, users and data.

    ``rgw_options`` go into the gateway's section of the configuration. With a ``certificate`` the gateway
    speaks https on a port of its own, beside http.
    """

    def __init__(
        self,
        folder: Path,
        objectstore: Literal["memstore", "bluestore"] = "memstore",
        *,
        rgw_options: Mapping[str, str] | None = None,
        certificate: Certificate | None = None,
    ) -> None:
        self.folder = folder.absolute()
        self._objectstore = objectstore
        self._rgw_options = dict(rgw_options or {})
        self.certificate = certificate
        self._processes: dict[Daemon, subprocess.Popen[bytes]] = {}
        self._leash: Leash | None = None
        self._ports: dict[str, int] = {}
        self.user = User("cephstorage", "", "")

    @property
    def gateway(self) -> str:
        """The gateway's address."""
        return f"http://127.0.0.1:{self._ports['http']}"

    @property
    def secure_gateway(self) -> str:
        """The gateway's https address, when there is a certificate."""
        return f"https://127.0.0.1:{self._ports['https']}"

    @property
    def access_key(self) -> str:
        """The first user's access key."""
        return self.user.access_key

    @property
    def secret_key(self) -> str:
        """The first user's secret key."""
        return self.user.secret_key

    def start(self) -> Self:
        """Start everything; return when S3 answers."""
        try:
            self._start()
        except BaseException:
            self.destroy()
            raise
        return self

    def _start(self) -> None:
        made = self.folder / "made.json"
        if made.exists():
            known = json.loads(made.read_text())
            self._ports, self.user = known["ports"], User(**known["user"])
        else:
            self._make()
        for daemon in DAEMONS:
            self.launch(daemon)
        self.wait()
        if not made.exists():
            self.user = self.add_user("cephstorage")
            made.write_text(json.dumps({"ports": self._ports, "user": vars(self.user)}))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.destroy()

    def launch(self, daemon: Daemon) -> None:
        """Start one daemon on the data that it left; ``wait`` tells when the gateway answers."""
        assert daemon not in self._processes, f"{daemon} runs already"
        command = {
            "mon": ["ceph-mon", "-i", "a"],
            # --no-mon-config: they would wait for the monitor before they do anything
            "osd": ["ceph-osd", "-i", "0", "--no-mon-config"],
            "rgw": ["radosgw", "-n", "client.rgw", "--no-mon-config"],
        }[daemon]
        with (self.folder / "log" / f"{daemon}.out").open("ab") as output:
            self._processes[daemon] = subprocess.Popen(
                [*command, "-c", str(self._conf), "-f"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=_ENV,
                start_new_session=True,
            )
        self._leash = self._leash or Leash()
        self._leash.hold(self._processes[daemon].pid)

    def stop(self, *daemons: Daemon) -> None:
        """Stop daemons in order, by default all; the gateway needs the others to finish its work."""
        for daemon in reversed(DAEMONS):
            if daemon in (daemons or DAEMONS):
                self._end(daemon, signal.SIGTERM)

    def kill(self, *daemons: Daemon) -> None:
        """kill -9, by default of all."""
        for daemon in daemons or DAEMONS:
            self._end(daemon, signal.SIGKILL)

    @property
    def running(self) -> dict[Daemon, int]:
        """The pids of the daemons that were started and not ended."""
        return {daemon: process.pid for daemon, process in self._processes.items()}

    def pause(self, daemon: Daemon) -> None:
        """Make a daemon stand still (SIGSTOP): it keeps its connections and answers nothing."""
        self._processes[daemon].send_signal(signal.SIGSTOP)

    def resume(self, daemon: Daemon) -> None:
        """Let a paused daemon go on."""
        self._processes[daemon].send_signal(signal.SIGCONT)

    def destroy(self) -> None:
        """Kill what runs. The folder stays its owner's."""
        self.kill()
        if self._leash is not None:
            self._leash.close()
            self._leash = None

    def wait(self, seconds: float = PATIENCE) -> None:
        """Return when the gateway answers S3."""
        deadline = time.monotonic() + seconds
        while not self._answers():
            for daemon, process in self._processes.items():
                if process.poll() is not None:
                    raise AssertionError(f"{daemon} ended with status {process.returncode}:\n{self._said(daemon)}")
            assert time.monotonic() < deadline, f"the gateway does not answer; see {self.folder / 'log'}"
            time.sleep(0.02)

    def admin(self, *arguments: str) -> Any:
        """What ``radosgw-admin`` answers. Asked anew when it died: at its end it now and then does (release 16.2, in
        ``logback_generations::handle_error``), and what it was to make may be there then.
        """
        command = ["radosgw-admin", "-c", str(self._conf), "-n", "client.rgw", "--no-mon-config", *arguments]
        fine = {0}
        for _ in range(_TRIES):
            done = subprocess.run(command, capture_output=True, check=False, env=_ENV, timeout=PATIENCE)
            if done.returncode >= 0:
                break
            fine.add(errno.EEXIST)
        assert done.returncode in fine, (arguments, done.returncode, done.stderr.decode(errors="replace"))
        return json.loads(done.stdout or b"null")

    def flip(self, bucket_part: str, position: int) -> None:
        """Change a byte in the one RADOS object of bucket data whose name has this part: as failing hardware may."""
        rados = [
            "rados",
            "-c",
            str(self._conf),
            "-n",
            "client.rgw",
            "--no-mon-config",
            "-p",
            "default.rgw.buckets.data",
        ]

        def run(*arguments: str, given: bytes | None = None) -> bytes:
            done = subprocess.run(
                [*rados, *arguments], input=given, capture_output=True, check=False, env=_ENV, timeout=PATIENCE
            )
            assert done.returncode == 0, (arguments, done.stderr.decode(errors="replace"))
            return done.stdout

        (name,) = [line for line in run("ls").decode().splitlines() if bucket_part in line]
        byte = run("get", name, "-")[position]
        run("put", name, "-", "--offset", str(position), given=bytes([byte ^ 1]))

    def add_user(self, name: str, *, caps: str = "") -> User:
        """Make an S3 user; ``caps`` such as ``users=*;buckets=*`` let it use the Admin Ops API."""
        user = User(name, secrets.token_hex(10).upper(), secrets.token_hex(20))
        keys = [f"--access-key={user.access_key}", f"--secret-key={user.secret_key}"]
        self.admin(
            "user", "create", f"--uid={name}", f"--display-name={name}", *keys, *([f"--caps={caps}"] if caps else [])
        )
        return user

    def limit(self, user: User, *, size: int | None) -> None:
        """Set the user's quota in bytes; None lifts it."""
        which = ["--quota-scope=user", f"--uid={user.name}"]
        if size is None:
            self.admin("quota", "disable", *which)
        else:
            self.admin("quota", "set", *which, f"--max-size={size}B")
            self.admin("quota", "enable", *which)

    @property
    def _conf(self) -> Path:
        return self.folder / "ceph.conf"

    def _make(self) -> None:
        """Lay out an empty cluster."""
        for name in ("run", "log", "crash", *DAEMONS):
            (self.folder / name).mkdir(parents=True)
        self._ports = {"mon": free_port(), "http": free_port(), "https": free_port()}
        self._conf.write_text(
            ceph_conf.render(
                self.folder,
                mon_port=self._ports["mon"],
                osd_port=free_port(ceph_conf.OSD_PORTS),
                frontends=self._frontends(),
                objectstore=self._objectstore,
                rgw_options=self._rgw_options,
            )
        )
        monmap, monitor = str(self.folder / "monmap"), f"[v2:127.0.0.1:{self._ports['mon']}]"
        conf = ["-c", str(self._conf)]
        self._run("monmaptool", "--create", "--addv", "a", monitor, monmap)
        self._run("ceph-mon", *conf, "-i", "a", "--mkfs", "--monmap", monmap)
        self._run("ceph-osd", *conf, "-i", "0", "--mkfs", "--no-mon-config")

    def _frontends(self) -> str:
        plain = f"beast endpoint=127.0.0.1:{self._ports['http']} tcp_nodelay=1"
        if self.certificate is None:
            return plain
        files = f"ssl_certificate={self.certificate.cert} ssl_private_key={self.certificate.key}"
        return f"{plain} ssl_endpoint=127.0.0.1:{self._ports['https']} {files}"

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, check=False, env=_ENV, timeout=PATIENCE)
        assert done.returncode == 0, (
            command,
            done.stdout.decode(errors="replace"),
            done.stderr.decode(errors="replace"),
        )

    def _end(self, daemon: Daemon, number: signal.Signals) -> None:
        process = self._processes.pop(daemon, None)
        if process is None:
            return
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()
            if self._leash is not None:
                self._leash.release(process.pid)

    def _answers(self) -> bool:
        """Whether an anonymous listing of buckets is answered, which takes gateway, osd and monitor."""
        connection = http.client.HTTPConnection("127.0.0.1", self._ports["http"], timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()

    def _said(self, daemon: Daemon) -> str:
        logs = [self.folder / "log" / f"{daemon}.out", *sorted((self.folder / "log").glob("*.log"))]
        return "\n".join(f"{log}:\n{log.read_text(errors='replace')[-2000:]}" for log in logs if log.exists())


_ENV = {**os.environ, "LC_ALL": "C"}
