"""Free loopback ports, from the kernel."""

import socket


def free_port(room: int = 1) -> int:
    """A port that nobody listens on now, with ``room`` port numbers from it on."""
    while True:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port: int = sock.getsockname()[1]
        if port + room <= 65536:
            return port
