"""Free loopback ports for servers that are started, stopped and started again on the same port.

They lie below the ports that the kernel gives to outgoing connections (ip(7), ip_local_port_range), so that no
client takes one while its server is down; each process of a test run draws from a share of its own.
"""

import itertools
import os
import socket

_FIRST, _SHARE, _SHARES = 10_240, 2_700, 8
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
_START = _FIRST + _SHARE * (int(_WORKER) % _SHARES)
_numbers = itertools.cycle(range(_START, _START + _SHARE))
_drawn = itertools.islice(_numbers, os.getpid() % _SHARE, None)


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
