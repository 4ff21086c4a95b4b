"""The whole index in one SQLite file."""

from pathlib import Path

from sqlalchemy import Connection

from cephstorage.index.remembered import RememberedKeys
from cephstorage.index.schema import SCHEMA_VERSION, build_schema
from cephstorage.index.sql_index import SqlIndex
from cephstorage.index.sqlite import SqliteDatabase
from cephstorage.index.sqlite_names import SqliteNames


class SqliteIndex(SqlIndex):
    """The index in the file ``path``. Several processes may open one file."""

    def __init__(self, path: Path) -> None:
        schema = build_schema(separate_schemas=False)
        self.database = SqliteDatabase(path, schema)
        super().__init__(self.database, schema, SqliteNames())
        self.keys = RememberedKeys(self.keys, self.database.data_version)

    async def open(self) -> None:
        """Create the file if it is missing and begin. Raises DatabaseUnavailable."""
        await self.database.open()

    async def close(self) -> None:
        """Finish what is queued and end. Idempotent."""
        await self.database.close()

    async def check(self) -> str:
        """One line about its health and version for ``doctor``. Raises DatabaseUnavailable."""
        return await self._db.read(_health, self.database.path)


def _health(conn: Connection, path: Path) -> str:
    version = conn.exec_driver_sql("SELECT sqlite_version()").scalar_one()
    journal = conn.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    size = path.stat().st_size / 2**20
    return f"SQLite {version}, journal {journal}, schema {SCHEMA_VERSION}, {size:.1f} MiB"
