"""The index: records, transfers, mirrors, tokens and settings in SQL. Nothing outside this room speaks SQL."""

from pathlib import Path

from cephstorage.index.sql_index import SqlIndex
from cephstorage.index.sqlite_index import SqliteIndex

__all__ = ["SqlIndex", "SqliteIndex", "index_at"]


def index_at(url: str, file: Path, **options: float) -> SqlIndex:
    """The index in the PostgreSQL database at ``url``, or without one in the SQLite ``file``.

    ``options`` are those of ``PostgresOptions``. Raises DatabaseUnavailable when the url is no address.
    """
    if not url:
        return SqliteIndex(file)
    from cephstorage.index.postgres_index import PostgresIndex
    from cephstorage.index.postgres_session import PostgresOptions

    return PostgresIndex(PostgresOptions(url, **options))  # type: ignore[arg-type]
