"""What PostgreSQL's errors mean to us: the one place where they are translated.

Codes are those of the PostgreSQL manual, appendix A. A failed connection has no code (libpq gives its
text only), and that text never holds the password.
"""

import psycopg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from cephstorage.domain.errors import CephStorageError, DatabaseUnavailable, InvalidInput, StoreFull

_RESTED = "25P03"
_CONFLICTS = {"40001", "40P01", "23505", "23503", _RESTED}
"""Serialization failure, deadlock, a row that another transaction made or took away meanwhile, and a transaction that
the server ended because its process had been stopped."""
_TIMEOUTS = {"57014", "55P03", _RESTED, "25P04"}
_FULL, _READ_ONLY = "53100", "25006"
_GONE = ("08", "57P")
"""Connection exceptions and operator intervention (shutdown, crash, starting up, session ended)."""
_ADVICE = {
    "42501": "the user lacks a privilege; GRANT it, or let the owner of the database run `cephstorage db upgrade`",
    "42P01": "a table is missing; run `cephstorage db upgrade`",
    "42703": "a column is missing; run `cephstorage db upgrade`",
    "53200": "the database server is out of memory",
    "53300": "the database server has no connection left; raise its max_connections or lower CEPHSTORAGE_DATABASE_CONNECTIONS",
}
_FINAL = ("authentication failed", "does not exist", "no pg_hba.conf entry", "not permitted to log in", "no password")
"""Refusals of a connection that no waiting changes."""
_RETRY_AFTER = 2.0


def code_of(error: BaseException) -> str:
    """PostgreSQL's code behind an error; empty when there is none."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return str(getattr(cause, "sqlstate", None) or "")


def is_conflict(error: BaseException) -> bool:
    """Whether the same transaction may succeed when it is run again."""
    return code_of(error) in _CONFLICTS


def is_lost(error: BaseException) -> bool:
    """Whether the connection is of no use any more: it broke, or leads to a server that only reads now."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = code_of(error)
    if code:
        return code.startswith(_GONE) or code in {_READ_ONLY, _RESTED}
    return isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)


def is_read_only(error: BaseException) -> bool:
    """Whether a write was refused: by a server that was demoted, or in a transaction that only reads."""
    return code_of(error) == _READ_ONLY


def unreachable(error: Exception, name: str) -> DatabaseUnavailable:
    """A connection that could not be made. Without ``retry_after`` when waiting will not help."""
    said = _one_line(error)
    waiting = not any(words in said for words in _FINAL)
    meaning = DatabaseUnavailable(f"{name} can't be reached: {said}", retry_after=_RETRY_AFTER if waiting else None)
    meaning.__cause__ = error
    return meaning


def translated(error: Exception, name: str) -> Exception:
    """The domain's error for a database error, with its cause; any other error as it is. ``name``: of the database."""
    if isinstance(error, CephStorageError) or not isinstance(error, SQLAlchemyError | psycopg.Error):
        return error
    meaning = _meaning(error, code_of(error), name)
    meaning.__cause__ = error
    return meaning


def _meaning(error: Exception, code: str, name: str) -> CephStorageError:
    cause = error.orig if isinstance(error, DBAPIError) else error
    if code == _FULL:
        return StoreFull(f"The disk of {name} is full.", retry_after=_RETRY_AFTER)
    if isinstance(cause, psycopg.DataError) and "NUL" in str(cause):
        return InvalidInput("A text of the request holds NUL, which can't be kept.")
    if code == _READ_ONLY:
        said = "only reads now: it was demoted, and no writable server is known"
    elif code in _TIMEOUTS:
        said = f"took too long: {_one_line(error)}"
    elif is_lost(error):
        said = f"broke the connection: {_one_line(error)}"
    elif code in _CONFLICTS:
        said = "is contended: other transactions were in the way each time"
    else:
        said = f"failed ({code or type(cause).__name__}): {_ADVICE.get(code) or _one_line(error)}"
    return DatabaseUnavailable(f"{name} {said}.", retry_after=_RETRY_AFTER)


def _one_line(error: Exception) -> str:
    """The server's own words, without the details, which may hold values."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    primary = cause.diag.message_primary if isinstance(cause, psycopg.Error) else None
    return " ".join((primary or str(cause)).split()).rstrip(".")
