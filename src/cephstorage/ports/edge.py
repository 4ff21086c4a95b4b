"""The caches of the edges: what they keep of mirrors, they can be told to forget."""

from typing import Protocol


class EdgeCaches(Protocol):
    """Tells edges. ``edge`` is the base URL of one edge's listener for purges."""

    async def forget(self, edge: str, host: str, target: str, size: int) -> None:
        """Drop what the edge keeps of ``target`` at a mirror's host: every slice of an object of ``size`` bytes.

        Nothing of it is served from the cache once this returns. Raises EdgeUnreachable.
        """
        ...

    async def holds(self, edge: str, host: str, target: str) -> bool:
        """Whether the edge serves the beginning of ``target`` without asking anybody. Raises EdgeUnreachable."""
        ...

    async def close(self) -> None:
        """Drop every connection."""
        ...
