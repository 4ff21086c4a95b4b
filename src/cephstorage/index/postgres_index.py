"""The whole index in a PostgreSQL database, which any number of processes on any number of machines share."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from sqlalchemy import Connection

from cephstorage.index.last_known import LastKnownKeys
from cephstorage.index.postgres import PostgresDatabase
from cephstorage.index.postgres_names import PostgresNames
from cephstorage.index.postgres_session import PostgresOptions
from cephstorage.index.postgres_setup import prepare, schema_version, upgrade_tables
from cephstorage.index.schema import SCHEMA_VERSION, Schema, build_schema
from cephstorage.index.sql_index import SqlIndex


class PostgresIndex(SqlIndex):
    """The index at ``options.url``. Raises DatabaseUnavailable when that is no address."""

    def __init__(self, options: PostgresOptions) -> None:
        self._options = options
        self._schema = build_schema(separate_schemas=True)
        self.database = PostgresDatabase(options)
        self.names = PostgresNames()
        super().__init__(self.database, self._schema, self.names)
        self.keys = known = LastKnownKeys(self.keys)
        self.deletions.on_deleted = self.lifecycles.on_deleted = known.gone

    def endpoints(self) -> Sequence[tuple[str, int]]:
        """Every server that the address names."""
        return self._options.endpoints()

    async def open(self) -> None:
        """Make the tables if the database is empty, and begin. Raises DatabaseUnavailable."""
        await self.database.open(self._prepare)

    def _prepare(self, conn: Connection) -> None:
        prepare(conn, schema=self._schema)
        self.names.look(conn)

    async def look(self) -> tuple[int | None, float]:
        """The version of the tables (None: there are none) and the server's clock. Makes nothing. Raises DatabaseUnavailable."""
        return await self.database.alone(partial(_look, schema=self._schema))

    async def upgrade(self) -> int:
        """Bring the tables to this release's version, or make them; the version that was there (0: none).

        Raises DatabaseUnavailable. Processes of the older release must have ended.
        """
        return await self.database.alone(partial(upgrade_tables, schema=self._schema))

    async def copy_from(self, file: Path, tell: Callable[[str, int], None]) -> Mapping[str, int]:
        """Copy the index in a SQLite file into this empty database; rows by table.

        Raises Conflict when it is not empty, DatabaseUnavailable.
        """
        from cephstorage.index.copying import copy_index

        return await self.database.alone(lambda connection: copy_index(connection, file, tell))

    async def usage_drift(self) -> Sequence[str]:
        """See ``SqlIndex.usage_drift``. It takes its time: a database with much to count is not one that fails."""
        return await self.database.alone(self._drift_of_snapshot)

    def _drift_of_snapshot(self, conn: Connection) -> list[str]:
        conn.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        conn.exec_driver_sql("SET LOCAL statement_timeout = 0")
        return self._drift(conn)

    async def close(self) -> None:
        """Finish what is queued and end. Idempotent."""
        await self.database.close()

    async def check(self) -> str:
        """One line about its health and version for ``doctor``. Raises DatabaseUnavailable."""
        version, size, used, most = await self._db.read_one(_health)
        return (
            f"{self.database.name}, version {version}, schema {SCHEMA_VERSION}, {size / 2**20:.1f} MiB, "
            f"{used} of {most} connections used"
        )


_HEALTH = """
SELECT current_setting('server_version'), pg_database_size(current_database()),
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
       current_setting('max_connections')
"""


def _health(conn: Connection) -> tuple[str, int, int, str]:
    version, size, used, most = conn.exec_driver_sql(_HEALTH).one()
    return version, size, used, most


def _look(conn: Connection, schema: Schema) -> tuple[int | None, float]:
    clock: float = conn.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())::float8").scalar_one()
    return schema_version(conn, schema), clock
