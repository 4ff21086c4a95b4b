"""The database of an installation: awaited at the start, upgraded, and moved from SQLite to PostgreSQL."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from cephstorage.bootstrap.adapters import make_index
from cephstorage.bootstrap.settings import Settings
from cephstorage.domain.errors import Conflict, DatabaseUnavailable, NotFound
from cephstorage.files import try_lock
from cephstorage.index import SqlIndex
from cephstorage.index.postgres_index import PostgresIndex
from cephstorage.index.schema import SCHEMA_VERSION

log = structlog.get_logger()

PATIENCE = 30.0
"""Seconds that a starting process waits for its database: long enough for a server that starts beside it."""
_PAUSE = 1.0


async def open_patiently(index: SqlIndex, patience: float = PATIENCE) -> None:
    """Open the index; wait while waiting may help. Raises DatabaseUnavailable."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return await index.open()
        except DatabaseUnavailable as error:
            if error.retry_after is None or time.monotonic() + _PAUSE > deadline:
                raise
            log.warning("database_awaited", msg=error.msg, seconds_left=round(deadline - time.monotonic()))
        await asyncio.sleep(_PAUSE)


async def upgrade(settings: Settings) -> tuple[int | None, int]:
    """Bring the database to this release's schema; the version before (0: empty, None: SQLite) and now.

    Raises DatabaseUnavailable. SQLite upgrades itself whenever it is opened.
    """
    index = make_index(settings)
    if isinstance(index, PostgresIndex):
        return await index.upgrade(), SCHEMA_VERSION
    await index.open()
    await index.close()
    return None, SCHEMA_VERSION


async def copy_to_postgresql(settings: Settings, tell: Callable[[str, int], None]) -> Mapping[str, int]:
    """Copy the SQLite index of the data folder into the PostgreSQL database that the settings name; rows by table.

    Raises NotFound without either, Conflict when the target is not empty or the service runs, DatabaseUnavailable.
    """
    index = make_index(settings)
    if not isinstance(index, PostgresIndex):
        raise NotFound("CEPHSTORAGE_DATABASE_URL names no database to copy to.")
    if not settings.database_file.exists():
        raise NotFound(f"There is no SQLite database to copy: {settings.database_file} does not exist.")
    if _anybody_runs(settings.data_dir / "run"):
        raise Conflict(f"The service is running on {settings.data_dir}: stop it first, so that nothing is left behind.")
    return await index.copy_from(settings.database_file, tell)


def _anybody_runs(folder: Path) -> bool:
    """Whether a process holds its lock (see ``transfer.presence``)."""
    for path in folder.glob("*.lock"):
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if not try_lock(fd):
                return True
        finally:
            os.close(fd)
    return False
