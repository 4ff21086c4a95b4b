"""Several serving processes on one listening socket: started, replaced when they die, and stopped together.

Only ``run`` asks the kernel which process has ended. ``Popen.terminate`` would ask as well, and whoever asks first is
the only one who is told: the loop would then wait for a process that is long gone.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from types import FrameType

import structlog

from cephstorage.bootstrap.database import PATIENCE
from cephstorage.bootstrap.settings import Settings

log = structlog.get_logger()

SOCKET_FD = "CEPHSTORAGE_INTERNAL_SOCKET_FD"
GREETS = "CEPHSTORAGE_INTERNAL_GREETS"
CANNOT_START = 69
"""What a process tells its supervisor, which gives up when all are young: another try would end the same way."""
_RESPAWN_PAUSE = 0.5
_YOUNG = PATIENCE + 5.0


class Supervisor:
    """Keeps ``workers`` processes running on one socket; passes SIGTERM on and waits for them."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._stopping = threading.Event()
        self._begun: dict[int, float] = {}
        self._status = 0

    def run(self) -> int:
        """Return when every process has ended after a signal, or none can start."""
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._stop)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # whoever ignores it is told of no child's end (wait(2))
        for number in range(self._settings.workers):
            self._start(greets=number == 0)
        while self._children:
            child = self._next_end()
            if child is not None and not self._stopping.is_set():
                self._replace(child)
        return self._status

    def _next_end(self) -> subprocess.Popen[bytes] | None:
        """Wait for the next process that ends; None when it was none of ours."""
        pid, status = os.wait()
        child = self._children.pop(pid, None)
        if child is not None:
            child.returncode = os.waitstatus_to_exitcode(status)
        return child

    def _replace(self, child: subprocess.Popen[bytes]) -> None:
        """Go on after a process has ended by itself."""
        if child.returncode == CANNOT_START and not self._serves():
            self._status = 1
            self._stop()
            return
        log.warning("worker_died", pid=child.pid, status=child.returncode)
        time.sleep(_RESPAWN_PAUSE)
        self._start(greets=False)

    def _serves(self) -> bool:
        """Whether a process is old enough to be serving."""
        now = time.monotonic()
        return any(now - self._begun[pid] > _YOUNG for pid in self._children)

    def _start(self, *, greets: bool) -> None:
        """Start a process, unless a signal came; one that comes meanwhile is passed on."""
        if self._stopping.is_set():
            return
        child = _spawn(self._listener, self._settings.workers, greets=greets)
        self._children[child.pid], self._begun[child.pid] = child, time.monotonic()
        if self._stopping.is_set():
            _terminate(child.pid)

    def _stop(self, _: int = 0, __: FrameType | None = None) -> None:
        self._stopping.set()
        for pid in list(self._children):
            _terminate(pid)


def _terminate(pid: int) -> None:
    """Ask a process to end. One that has ended keeps its number until ``run`` has heard of it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def _spawn(listener: socket.socket, workers: int, *, greets: bool) -> subprocess.Popen[bytes]:
    fd = listener.fileno()
    command = [sys.executable, "-m", "cephstorage", "serve"]
    env = {**os.environ, SOCKET_FD: str(fd), "CEPHSTORAGE_WORKERS": str(workers), **({GREETS: "1"} if greets else {})}
    return subprocess.Popen(command, pass_fds=[fd], env=env)  # noqa: S603 - ourselves
