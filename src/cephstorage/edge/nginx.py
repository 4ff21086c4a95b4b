"""The nginx program: tested, started, signalled by pid, and never left behind.

nginx gets a process group of its own, whose number is written down: workers outlive a master that was
killed and go on listening, and only their group says whose they are.
"""

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cephstorage.domain.errors import InvalidSetting
from cephstorage.edge.config import EdgeConfig
from cephstorage.files import make_private_directory, write_durably

_NAME = "nginx"
_PATIENCE = 5.0
_LOGS = ("access.log", "error.log")
_LONGEST_LOG = 64 << 20
"""Bytes after which a log is put aside, in place of the one before. They may lie in memory (/run)."""
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Folders:
    """Where an edge keeps its files. ``group``: whose workers enter them when root starts nginx; None: they are root's, or ours."""

    run_dir: Path
    cache_dir: Path
    group: int | None = None

    @classmethod
    def of(cls, config: EdgeConfig) -> "Folders":
        """Those of a configuration."""
        return cls(config.run_dir, config.cache_dir)

    @property
    def config_file(self) -> Path:
        """nginx.conf."""
        return self.run_dir / "nginx.conf"

    @property
    def all(self) -> tuple[Path, ...]:
        """The folders that nginx expects to find."""
        return (self.run_dir, self.cache_dir, self.cache_dir / "temp")

    def make(self) -> None:
        """Make them."""
        for folder in self.all:
            make_private_directory(folder)
            if self.group is not None:
                os.chown(folder, -1, self.group)
                folder.chmod(0o710)


def program(name: str = _NAME) -> str:
    """The path of nginx. Raises InvalidSetting."""
    path = shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin")
    if path is None:
        raise InvalidSetting(f"{name} is not installed: on Debian, apt install nginx libnginx-mod-http-cache-purge.")
    return path


def write_config(folders: Folders, text: str) -> None:
    """Write nginx.conf for its owner's eyes only."""
    folders.make()
    write_durably(folders.config_file, text.encode())


async def complaint(file: Path) -> str | None:
    """What ``nginx -t`` has against a file; None when it is well."""
    process = await asyncio.create_subprocess_exec(
        program(), "-t", "-q", "-c", str(file), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    return None if process.returncode == 0 else said.decode(errors="replace").strip()


async def complaint_about(folders: Folders, text: str) -> str | None:
    """What ``nginx -t`` has against a text that is not written to its place yet. Several may ask at a time."""
    folders.make()
    with tempfile.NamedTemporaryFile("w", prefix="nginx.conf.", suffix=".trial", dir=folders.run_dir) as trial:
        trial.write(text)
        trial.flush()
        return await complaint(Path(trial.name))


class Nginx:
    """One running nginx, in the foreground, as our child."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._group_file = folders.run_dir / "nginx.group"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it on the written nginx.conf, after ending what a killed one left. Raises OSError."""
        await self.end_leftovers()
        for socket in self._folders.run_dir.glob("*.sock"):
            socket.unlink()
        self._process = await asyncio.create_subprocess_exec(
            program(),
            "-c",
            str(self._folders.config_file),
            "-g",
            "daemon off;",
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        try:
            write_durably(self._group_file, str(self._process.pid).encode())
        except OSError:
            self._signal(signal.SIGTERM)
            await self.wait()
            raise

    @property
    def pid(self) -> int:
        """The master's."""
        assert self._process is not None
        return self._process.pid

    async def wait(self) -> int:
        """Until it ends; its exit status."""
        assert self._process is not None
        return await self._process.wait()

    def reload(self) -> None:
        """Have new workers take over; the old ones finish what they are at."""
        self._signal(signal.SIGHUP)

    def rotate_logs(self) -> None:
        """Put a log aside that has become long. Raises OSError."""
        logs = [self._folders.run_dir / name for name in _LOGS]
        long = [log for log in logs if log.exists() and log.stat().st_size > _LONGEST_LOG]
        for log in long:
            log.replace(log.with_name(f"{log.name}.1"))
        if long:
            self._signal(signal.SIGUSR1)

    async def replace_workers(self, grace: float) -> None:
        """Reload, and wait at most ``grace`` seconds until the workers from before are gone."""
        old = set(members(self.pid)) - {self.pid}
        self.reload()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while old & set(members(self.pid)):  # noqa: ASYNC110 - workers are the master's children, not ours
                    await asyncio.sleep(0.05)

    async def stop(self, grace: float) -> None:
        """Let requests finish for ``grace`` seconds, then end it."""
        for number, patience in ((signal.SIGQUIT, grace), (signal.SIGTERM, _PATIENCE)):
            self._signal(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self.wait()
                break
        await self.end_leftovers()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def end_leftovers(self) -> None:
        """Kill what is left of the group that was written down last."""
        if not self._group_file.exists():
            return
        group = int(self._group_file.read_text())
        while left := list(members(group)):
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.01)
        self._group_file.unlink()


def _die_with_parent() -> None:
    """Have the kernel end nginx when the supervisor is gone, however it went (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def members(group: int) -> Iterator[int]:
    """The living nginx processes of a process group (proc(5), /proc/PID/stat)."""
    for process in Path("/proc").glob("[0-9]*"):
        if _group_of_nginx(process) == group:
            yield int(process.name)


def is_nginx(pid: int) -> bool:
    """Whether a living process is an nginx."""
    return _group_of_nginx(Path(f"/proc/{pid}")) is not None


def _group_of_nginx(process: Path) -> int | None:
    """The group of a process, by its folder in /proc; None when it is no living nginx. Names may be any bytes."""
    try:
        stat = (process / "stat").read_bytes()
    except OSError:  # gone meanwhile, or hidden from us
        return None
    name, _, fields = stat.partition(b" (")[2].rpartition(b") ")
    state, _parent, group = fields.split()[:3]
    return int(group) if name == _NAME.encode() and state != b"Z" else None
