"""A real PostgreSQL on a free loopback port, with everything in a temporary folder of its own.

The server refuses to run as root: then it runs as the user ``postgres``, as Debian's package makes it.
It is stopped, killed and started again by pid. ``fsync`` is off unless a test measures: what a killed
process has written stays in the kernel's hands, and no test cuts the power.
"""

import contextlib
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psycopg

from tests.harness import programs
from tests.harness.leash import Leash
from tests.harness.patience import until
from tests.harness.ports import free_port

PROGRAMS = ("initdb", "postgres")
USER = "cephstorage"
_SETTINGS = {
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "dynamic_shared_memory_type": "mmap",
    "autovacuum_naptime": "10min",
    "log_min_messages": "warning",
}


class Postgres:
    """A server, made and started at once. ``password`` is its superuser's, which the tests use.

    With a ``folder`` it stays there: the same folder again has the same port, password and data.
    ``follows`` makes it a standby of another server. ``settings`` are more of postgresql.conf's.
    """

    def __init__(
        self,
        *,
        durable: bool = False,
        folder: Path | None = None,
        follows: "Postgres | None" = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        fast = {} if durable else {"fsync": "off", "full_page_writes": "off"}
        self._settings = {**_SETTINGS, **fast, **(settings or {})}
        self._user = other_user()
        self._stays = folder is not None
        self._folder = folder or Path(tempfile.mkdtemp(prefix="cephstorage-postgres-"))
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None
        self._leash = Leash()
        self._prepared: dict[Callable[[str], None], str] = {}
        self.password = follows.password if follows is not None else secrets.token_hex(8)
        self.port = free_port()
        if self._user:
            shutil.chown(self._folder, self._user)
        made = self._folder / "made.json"
        if made.exists():
            self.password, self.port = json.loads(made.read_text())
        else:
            self._make() if follows is None else self._copy(follows)
            made.touch(mode=0o600)
            made.write_text(json.dumps([self.password, self.port]))
        self.start()

    @property
    def log_file(self) -> Path:
        return self._folder / "log"

    def _make(self) -> None:
        secret = self._folder / "password"
        secret.write_text(self.password)
        if self._user:
            shutil.chown(secret, self._user)
        self._run(
            "initdb",
            f"--pgdata={self._folder / 'data'}",
            f"--username={USER}",
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        )

    def _copy(self, primary: "Postgres") -> None:
        copied = f"--pgdata={self._folder / 'data'}"
        self._run(
            "pg_basebackup", copied, f"--dbname={primary.url('postgres')}", "--write-recovery-conf", "--checkpoint=fast"
        )

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [_program(program), *arguments], capture_output=True, cwd=self._folder, check=False, **self._as_user()
        )
        assert done.returncode == 0, done.stderr.decode()

    def _as_user(self) -> dict[str, Any]:
        return {"user": self._user, "group": self._user, "extra_groups": []} if self._user else {}

    def start(self) -> None:
        """Start on the same data and port; return when it answers."""
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        command = [_program("postgres"), "-D", str(self._folder / "data"), "-p", str(self.port), *options]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder, **self._as_user())
        self._leash.hold(self._process.pid)
        until(self._answers)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log_file.read_text()
        try:
            self.connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """Stop in order, at once: sessions are ended (SIGINT, "fast shutdown")."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._ended()

    def await_standby(self) -> None:
        """From now on a commit is acknowledged when the standby has it, too."""
        with contextlib.closing(self.connect("postgres")) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
            state = "SELECT sync_state FROM pg_stat_replication"
            until(lambda: connection.execute(state).fetchall() == [("sync",)])

    def promote(self) -> None:
        """Make a standby the server that writes; return when it does."""
        with contextlib.closing(self.connect("postgres")) as connection:
            assert connection.execute("SELECT pg_promote()").fetchone() == (True,)

    def kill(self) -> None:
        """kill -9, the server and every process of its own, as when the machine dies."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)  # no new children while they are listed
        for pid in [*self._children(), self._process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._ended()

    def _ended(self) -> None:
        assert self._process is not None
        self._process.wait(60)
        self._leash.release(self._process.pid)
        self._process = None

    def freeze(self) -> None:
        """Let the server and its processes hang: connections stay open and nothing answers."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        assert self._process is not None
        for pid in [self._process.pid, *self._children()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _children(self) -> list[int]:
        assert self._process is not None
        pid = self._process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def close(self) -> None:
        """Stop and remove everything, but not what was made to stay."""
        self.stop()
        self._leash.close()
        if not self._stays:
            shutil.rmtree(self._folder)

    def connect(self, database: str) -> psycopg.Connection[Any]:
        """A connection of the tests' own, every statement a transaction."""
        return psycopg.connect(self.url(database), autocommit=True)

    def url(self, database: str, password: str | None = None) -> str:
        """The address of a database, as ``CEPHSTORAGE_DATABASE_URL`` takes it."""
        return f"postgresql://{USER}:{password or self.password}@127.0.0.1:{self.port}/{database}"

    def fresh(self, template: str = "template0") -> str:
        """The address of a new database, empty or a copy of ``template``."""
        name = f"test_{secrets.token_hex(8)}"
        with contextlib.closing(self.connect("postgres")) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return self.url(name)

    def prepared(self, prepare: Callable[[str], None]) -> str:
        """The address of a new database, a copy of one that ``prepare`` was given when it was first asked for."""
        if prepare not in self._prepared:
            url = self.fresh()
            prepare(url)
            self._prepared[prepare] = url.rpartition("/")[2]
        return self.fresh(self._prepared[prepare])


def other_user() -> str | None:
    """The user as whom the server runs when this is root."""
    if os.geteuid() != 0:
        return None
    return pwd.getpwnam("postgres").pw_name


def _program(name: str) -> str:
    found = programs.find(name)
    assert found is not None, f"{name} is not installed"
    return found
