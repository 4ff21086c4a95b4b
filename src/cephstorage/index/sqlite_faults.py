"""What SQLite's errors mean to us: the one place where they are translated."""

import pysqlite3.dbapi2 as driver
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from cephstorage.domain.errors import CephStorageError, DatabaseUnavailable, StoreFull

BUSY, LOCKED, FULL = 5, 6, 13
_RETRY_AFTER = 1.0


def primary_code(error: BaseException) -> int | None:
    """SQLite's primary result code behind an error, or None."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlite_errorcode", None)
    return None if code is None else int(code) & 0xFF


def is_busy(error: BaseException) -> bool:
    """Whether another process holds the lock that was asked for."""
    return primary_code(error) in {BUSY, LOCKED}


def translated(error: Exception) -> Exception:
    """The domain's error for a database error, with its cause; any other error as it is."""
    if isinstance(error, CephStorageError) or not isinstance(error, SQLAlchemyError | driver.Error):
        return error
    meaning: CephStorageError
    if primary_code(error) == FULL:
        meaning = StoreFull("The disk that holds the database is full.", retry_after=_RETRY_AFTER)
    elif is_busy(error):
        meaning = DatabaseUnavailable("The database is locked by another process.", retry_after=_RETRY_AFTER)
    else:
        meaning = DatabaseUnavailable("The database failed; the log has the details.", retry_after=_RETRY_AFTER)
    meaning.__cause__ = error
    return meaning
