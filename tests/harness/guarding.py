"""A guard that tells what it let through."""

import socket
from typing import Any

from cephstorage.origin.guard import ConnectGuard


class WatchedGuard(ConnectGuard):
    """Remembers every address a socket was made for: what is not there, no packet was sent to."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.connected: list[tuple[Any, ...]] = []

    def socket_for(self, info: Any) -> socket.socket:
        made = super().socket_for(info)
        self.connected.append(info[4])
        return made
