"""The index: records, transfers, mirrors, tokens and settings in SQL. Nothing outside this room speaks SQL."""

from cephstorage.index.sqlite_index import SqliteIndex

__all__ = ["SqliteIndex"]
