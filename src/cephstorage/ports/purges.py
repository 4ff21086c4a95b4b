"""The outbox of purges: what the edges have to forget, written with the change that made it old."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cephstorage.domain.names import BucketName


@dataclass(frozen=True, slots=True)
class Purge:
    """A key whose bytes edges may still have. ``size`` is that of the version that was replaced or deleted.

    ``remaining`` are the edges still to be told; None stands for all of them.
    """

    id: int
    bucket: BucketName
    key: str
    size: int
    created_at: float
    attempts: int = 0
    remaining: tuple[str, ...] | None = None


class PurgeOutbox(Protocol):
    """What the edges have to forget. Publishing over a version and deleting one write rows, for mirrors' buckets."""

    async def add(self, bucket: BucketName, key: str, size: int, now: float) -> None:
        """Have the edges forget a key although nothing changed."""
        ...

    async def due(self, now: float, limit: int) -> Sequence[Purge]:
        """Rows whose time has come, longest due first. A new row is first left to the process that wrote it."""
        ...

    async def of_key(self, bucket: BucketName, key: str) -> Sequence[Purge]:
        """The rows of one key, due or not, oldest first."""
        ...

    async def untold(self, job: str, limit: int) -> Sequence[Purge]:
        """Rows of a job that no edge has been told of yet, oldest first."""
        ...

    async def owed(self, job: str) -> Sequence[tuple[tuple[str, ...] | None, int]]:
        """How many rows of a job still owe which edges: None stands for all, an empty tuple for none any more."""
        ...

    async def again(self, purge: Purge, not_before: float, remaining: Sequence[str]) -> None:
        """Come back to a row from ``not_before`` on; attempts + 1."""
        ...

    async def done(self, ids: Sequence[int]) -> None:
        """Drop rows; missing ones are fine."""
        ...
