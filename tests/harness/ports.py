"""Free loopback ports for servers that are started, stopped and started again on the same port.

They lie below the ports that the kernel gives to outgoing connections (ip(7), ip_local_port_range), so that no
client takes one while its server is down. Each process that draws has a share of its own, locked for as long as
it lives: test runs and benches side by side keep out of each other's way.
"""

import fcntl
import itertools
import socket
import tempfile
from pathlib import Path
from typing import IO

_FIRST, _SHARE, _SHARES = 10_240, 1_200, 18


def _lock_share() -> tuple[int, IO[bytes]]:
    """The number of a share that nobody has, and what holds its lock."""
    for number in range(_SHARES):
        lock = (Path(tempfile.gettempdir()) / f"cephstorage-ports-{number}.lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
        else:
            return number, lock
    raise RuntimeError(f"{_SHARES} other processes draw ports for tests already.")


_number, _lock = _lock_share()
_START = _FIRST + _SHARE * _number
_drawn = itertools.cycle(range(_START, _START + _SHARE))


def free_port(room: int = 1) -> int:
    """A port that nobody listens on now, with ``room`` port numbers from it on."""
    while True:
        port = next(_drawn)
        if port + room <= _START + _SHARE and all(_is_free(port + number) for number in range(room)):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
