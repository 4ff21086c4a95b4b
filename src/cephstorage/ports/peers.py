"""Peers: the other processes of the service, reached when one of them fills the key that is asked for."""

from collections.abc import Sequence
from typing import Protocol

from cephstorage.ports.origin import OriginResponse


class Peers(Protocol):
    """Forwards requests to the owner of a fill."""

    async def forward(self, owner: str, method: str, target: str, headers: Sequence[tuple[str, str]]) -> OriginResponse:
        """Ask the owner's process. Raises OriginUnreachable when it can't be reached (it may have died)."""
        ...

    def near(self, owner: str) -> bool:
        """Whether the owner's process is one of this machine."""
        ...
