"""What the statements need of a database: run a function in a read snapshot or in a write transaction.

Each function takes a Connection first and does everything that belongs to one transaction. It never
commits: the runner does, so that the same functions serve SQLite (one writer, group commit) and a
database server.
"""

from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection

P = ParamSpec("P")
T = TypeVar("T")


class Runner(Protocol):
    """Runs transactions off the event loop."""

    async def read(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``fn`` in one consistent snapshot. Raises DatabaseUnavailable and what ``fn`` raises."""
        ...

    async def read_one(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Like ``read``, for a function that executes a single statement: that alone is a snapshot, and one round trip."""
        ...

    async def write(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``fn`` in a transaction; return when it is committed and on the disk.

        What ``fn`` raises rolls back its own changes only. Raises DatabaseUnavailable, StoreFull.
        """
        ...

    async def write_relaxed(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Like ``write``, but a power failure (not a crash of the process) may undo it."""
        ...
