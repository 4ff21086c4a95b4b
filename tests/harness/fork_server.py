"""Starts our own programs without the second of processor time in which Python imports them.

A helper process imports the service once and then does nothing but fork: each start is a process of its own, with
the environment, the working folder and the stderr that it is given, which runs ``python -m <module>`` as ``runpy``
does. No thread, no loop and no connection exists in the helper, so that there is nothing for two processes to share.

    this process ──(request, stderr, pipe)──> server ──fork──> keeper ──fork──> the program
                 <──────────────── pid, then exit status ───────┘

The keeper waits for its one child and tells how it ended. The server ends with this process. What
an operator starts is started anew where that is what is looked at (see ``Service.forked``).
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Protocol

_ROOT = Path(__file__).parents[2]
_PRELOADED = ("cephstorage.bootstrap.main", "cephstorage.bootstrap.edge", "cephstorage.cli.main")
_NUMBER = struct.Struct("i")
_LARGEST_REQUEST = 1 << 20
_STDERR = 2


class Program(Protocol):
    """A running program; the part of ``subprocess.Popen`` that tests use."""

    pid: int
    stderr: IO[str] | None

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        ...

    def wait(self, timeout: float) -> int:
        """The exit status as soon as it has ended; an error after ``timeout`` seconds."""
        ...

    def send_signal(self, number: int) -> None:
        """A signal, unless it is known to have ended."""
        ...


class Forked:
    """A program that a keeper waits for."""

    def __init__(self, pipe: int, stderr: IO[str]) -> None:
        self.stderr: IO[str] | None = stderr
        self._pipe = pipe
        self._status: int | None = None
        self._lock = threading.Lock()
        self.pid = self._number()

    def _number(self) -> int:
        data = os.read(self._pipe, _NUMBER.size)
        assert len(data) == _NUMBER.size, "the fork server's keeper has died"
        return int(_NUMBER.unpack(data)[0])

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._ended(0.0)

    def wait(self, timeout: float) -> int:
        """The exit status as soon as it has ended. Raises TimeoutError after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while (status := self._ended(max(0.0, deadline - time.monotonic()))) is None:
            if time.monotonic() >= deadline:
                raise TimeoutError(f"process {self.pid} has not ended in {timeout} s")
        return status

    def _ended(self, timeout: float) -> int | None:
        with self._lock:
            if self._status is None and select.select([self._pipe], [], [], timeout)[0]:
                self._status = self._number()
                os.close(self._pipe)
            return self._status

    def send_signal(self, number: int) -> None:
        """A signal, unless it is known to have ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


class ForkServer:
    """The helper of this process, started when it is first needed."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._helper: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def start(self, module: str, *arguments: str, env: dict[str, str]) -> Forked:
        """Run ``python -m module arguments`` with this environment, in this process's working folder."""
        request = json.dumps({"module": module, "arguments": arguments, "env": env, "folder": str(Path.cwd())}).encode()
        reading, stderr = os.pipe()
        pipe, told = os.pipe()
        try:
            with self._lock:
                socket.send_fds(self._connected(), [request], [stderr, told])
        finally:
            os.close(stderr)
            os.close(told)
        return Forked(pipe, os.fdopen(reading, encoding="utf-8", errors="replace"))

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                command = [sys.executable, "-m", "tests.harness.fork_server", str(theirs.fileno())]
                fds = [theirs.fileno()]
                self._helper = subprocess.Popen(command, cwd=_ROOT, pass_fds=fds, stdin=subprocess.DEVNULL)
        return self._socket


_server = ForkServer()


def start_program(
    module: str, *arguments: str, env: dict[str, str], forked: bool, within: Sequence[str] = ()
) -> Program:
    """Start ``python -m module arguments``; its stderr is read by the caller. ``within``: the command that runs it."""
    if forked and not within:
        return _server.start(module, *arguments, env=env)
    command = [*within, sys.executable, "-m", module, *arguments]
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)


def _next_program(requests: socket.socket) -> str | None:
    """Serve requests until they end (None); in each child, the module that it is to run."""
    for name in _PRELOADED:
        importlib.import_module(name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers leave no zombies
    while True:
        message, fds, *_ = socket.recv_fds(requests, _LARGEST_REQUEST, 2)
        if not message:
            return None
        if os.fork() == 0:
            request = json.loads(message)
            _keep(request, *fds)
            return str(request["module"])
        for fd in fds:
            os.close(fd)


def _keep(request: dict[str, Any], stderr: int, told: int) -> None:
    """Fork the program, wait for it, and tell its pid and its end. Only the program returns from here."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if (pid := os.fork()) == 0:
        os.close(told)
        _become(request, stderr)
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # a terminal's Ctrl-C is for the program: its end is still to be told
    os.close(stderr)
    with contextlib.suppress(BrokenPipeError):
        os.write(told, _NUMBER.pack(pid))
        os.write(told, _NUMBER.pack(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
    os._exit(0)


def _become(request: dict[str, Any], stderr: int) -> None:
    os.dup2(stderr, _STDERR)
    os.close(stderr)
    sys.stderr = os.fdopen(_STDERR, "w", buffering=1, errors="backslashreplace", closefd=False)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = [request["module"], *request["arguments"]]


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as _requests:
        _program = _next_program(_requests)
    if _program is not None:
        runpy.run_module(_program, run_name="__main__", alter_sys=True)
