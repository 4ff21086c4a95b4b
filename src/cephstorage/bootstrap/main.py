"""``serve``: one process, or a supervisor with several that share the listening socket. ``worker``: no requests."""

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Coroutine
from typing import Any

import structlog
import uvloop

from cephstorage.bootstrap import logs
from cephstorage.bootstrap.runtime import Runtime
from cephstorage.bootstrap.server import Server, make_server
from cephstorage.bootstrap.settings import Settings
from cephstorage.bootstrap.supervisor import CANNOT_START, GREETS, SOCKET_FD, Supervisor
from cephstorage.domain.errors import CephStorageError

log = structlog.get_logger()

BACKLOG = 2048


def serve(settings: Settings) -> int:
    """Run the service in the foreground until SIGTERM or SIGINT; the exit status."""
    logs.configure(settings.log_format, settings.log_level)
    inherited = os.environ.pop(SOCKET_FD, None)
    if inherited is not None:
        return _serve_one(settings, socket.socket(fileno=int(inherited)), greets=GREETS in os.environ)
    return _shown(_serve(settings))


def _shown(status: int) -> int:
    """The exit status for whoever is not our supervisor."""
    return 1 if status == CANNOT_START else status


def _serve(settings: Settings) -> int:
    try:
        listener = _listen(settings.host, settings.port)
    except OSError as error:
        log.error("cannot_listen", host=settings.host, port=settings.port, error=error.strerror)
        return 1
    if settings.workers > 1:
        return Supervisor(settings, listener).run()
    return _serve_one(settings, listener, greets=True)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
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
    return _on_loop(_run(settings, listener, greets=greets))


def _on_loop(work: Coroutine[Any, Any, int]) -> int:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(work)
        except CephStorageError as error:
            log.error("cannot_start", code=error.code, msg=error.msg)
            return CANNOT_START


async def _run(settings: Settings, listener: socket.socket, *, greets: bool) -> int:
    port = listener.getsockname()[1]
    runtime = Runtime(settings, port)
    await runtime.start()
    peers = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    peers.bind(runtime.peer_address)
    peers.listen(BACKLOG)
    if greets:
        _greet(settings, port)
    await _until_stopped(runtime, make_server(runtime.front, settings.grace), [listener, peers])
    return 0


async def _until_stopped(runtime: Runtime, server: Server, sockets: list[socket.socket]) -> None:
    """Serve until a signal; then hand over and finish in order, within the grace.

    What the start has made lives as long as the process, so full collections leave it out: going through all of it
    held every request up for 20 to 50 ms.
    """
    gc.collect()
    gc.freeze()
    loop, handing = asyncio.get_running_loop(), set[asyncio.Task[None]]()

    def stop(number: int) -> None:
        server.handle_exit(number, None)
        handing.add(asyncio.ensure_future(runtime.hand_over()))

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    try:
        await server.serve(sockets=sockets)
        await asyncio.gather(*handing)
    finally:
        await runtime.stop()


def work(settings: Settings) -> int:
    """Run a worker in the foreground until SIGTERM or SIGINT: background transfers, and no requests; the exit status."""
    logs.configure(settings.log_format, settings.log_level)
    if not settings.worker_listen:
        return _shown(_on_loop(_work(settings, [])))
    host, _, port = settings.worker_listen.rpartition(":")
    try:
        listener = _listen(host.strip("[]"), int(port))
    except OSError as error:
        log.error("cannot_listen", place=settings.worker_listen, error=error.strerror)
        return 1
    with listener:
        return _shown(_on_loop(_work(settings, [listener])))


async def _work(settings: Settings, sockets: list[socket.socket]) -> int:
    runtime = Runtime(settings, None)
    await runtime.start()
    where = f"; its health: http://{settings.worker_listen}/healthz" if sockets else ""
    sys.stderr.write(f"CephStorage works in the background on {settings.data_dir}{where}\n")
    sys.stderr.flush()
    await _until_stopped(runtime, make_server(runtime.status, settings.grace), sockets)
    return 0
