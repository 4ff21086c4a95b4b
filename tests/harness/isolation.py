"""A network namespace without routes: ``python -m tests.harness.isolation PYTEST-ARGUMENT...`` runs tests in one."""

import fcntl
import os
import socket
import struct
import sys
from pathlib import Path

import pytest

_SET_FLAGS = 0x8914
_UP_AND_RUNNING = 0x41
_ROUTES = Path("/proc/net/route")
_INSIDE = "CEPHSTORAGE_TESTS_INSIDE_NAMESPACE"


def without_routes() -> bool:
    """Whether this process can reach nothing but its own loopback device."""
    return {name for _, name in socket.if_nameindex()} == {"lo"} and not _ROUTES.read_text().splitlines()[1:]


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP_AND_RUNNING))


def main() -> int:
    """Enter a namespace of our own (unshare(1), as root or as root of a user namespace), then run pytest there."""
    if os.environ.get(_INSIDE) is None:
        rights = [] if os.geteuid() == 0 else ["--map-root-user"]
        command = ["unshare", *rights, "--net", sys.executable, "-m", "tests.harness.isolation", *sys.argv[1:]]
        os.execvpe("unshare", command, {**os.environ, _INSIDE: "1"})
    _raise_loopback()
    assert without_routes()
    return int(pytest.main(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
