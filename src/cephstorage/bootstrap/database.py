"""The database of an installation: awaited when the service starts before it does."""

import asyncio
import time

import structlog

from cephstorage.domain.errors import DatabaseUnavailable
from cephstorage.index import SqlIndex

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
