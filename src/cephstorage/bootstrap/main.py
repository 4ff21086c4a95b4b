"""``serve``: one process, or a supervisor with several that share the listening socket."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from types import FrameType

import structlog
import uvloop

from cephstorage.bootstrap import logs
from cephstorage.bootstrap.runtime import Runtime
from cephstorage.bootstrap.server import make_server
from cephstorage.bootstrap.settings import Settings

log = structlog.get_logger()

BACKLOG = 2048
_SOCKET_FD = "CEPHSTORAGE_INTERNAL_SOCKET_FD"
_RESPAWN_PAUSE = 0.5
_GREETS = "CEPHSTORAGE_INTERNAL_GREETS"


def serve(settings: Settings) -> int:
    """Run the service in the foreground until SIGTERM or SIGINT; the exit status."""
    logs.configure(settings.log_format, settings.log_level)
    inherited = os.environ.pop(_SOCKET_FD, None)
    if inherited is not None:
        return _serve_one(settings, socket.socket(fileno=int(inherited)), greets=_GREETS in os.environ)
    try:
        listener = _listen(settings)
    except OSError as error:
        log.error("cannot_listen", host=settings.host, port=settings.port, error=error.strerror)
        return 1
    if settings.workers > 1:
        return _Supervisor(settings, listener).run()
    return _serve_one(settings, listener, greets=True)


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((settings.host, settings.port))
    listener.listen(BACKLOG)
    return listener


def _greet(settings: Settings, port: int) -> None:
    base, token = settings.local_address(port), settings.token_file
    lines = (
        f"CephStorage listens on {base}",
        f"The admin token lies in {token}",
        "Try:",
        f'  curl -X PUT -H "Authorization: Bearer $(cat {token})" {base}/ceph/alice/photos',
        f'  curl -X PUT -H "Authorization: Bearer $(cat {token})" -T README.md {base}/ceph/alice/photos/keys/README.md',
        f'  curl -H "Authorization: Bearer $(cat {token})" {base}/ceph/alice/photos/keys',
        f"The API's documents: {base}/docs",
    )
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()


def _serve_one(settings: Settings, listener: socket.socket, *, greets: bool) -> int:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(settings, listener, greets=greets))


async def _run(settings: Settings, listener: socket.socket, *, greets: bool) -> int:
    runtime = Runtime(settings, listener.getsockname()[1])
    await runtime.start()
    if greets:
        _greet(settings, listener.getsockname()[1])
    sockets = [listener]
    if settings.workers > 1:
        peers = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        peers.bind(runtime.peer_address)
        peers.listen(BACKLOG)
        sockets.append(peers)
    server = make_server(runtime.front)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.handle_exit, number, None)
    try:
        await server.serve(sockets=sockets)
    finally:
        await runtime.stop()
    return 0


class _Supervisor:
    """Keeps ``workers`` processes running on one socket; passes SIGTERM on and waits for them."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._stopping = threading.Event()

    def run(self) -> int:
        """Return when every process has ended after a signal."""
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._stop)
        for number in range(self._settings.workers):
            self._start(greets=number == 0)
        while self._children:
            pid, _status = os.wait()
            if self._children.pop(pid, None) is not None and not self._stopping.is_set():
                log.warning("worker_died", pid=pid)
                time.sleep(_RESPAWN_PAUSE)
                self._start(greets=False)
        return 0

    def _start(self, *, greets: bool) -> None:
        """Start a process, unless a signal came; one that comes meanwhile is passed on."""
        if self._stopping.is_set():
            return
        child = _spawn(self._listener, greets=greets)
        self._children[child.pid] = child
        if self._stopping.is_set():
            child.terminate()

    def _stop(self, _: int, __: FrameType | None) -> None:
        self._stopping.set()
        for child in self._children.values():
            child.terminate()


def _spawn(listener: socket.socket, *, greets: bool) -> subprocess.Popen[bytes]:
    fd = listener.fileno()
    command = [sys.executable, "-m", "cephstorage", "serve"]
    env = {**os.environ, _SOCKET_FD: str(fd), **({_GREETS: "1"} if greets else {})}
    return subprocess.Popen(command, pass_fds=[fd], env=env)  # noqa: S603 - ourselves
