"""The tables of a PostgreSQL database: made in an empty one at the first start, and checked at every other.

Several processes may start at once: an advisory lock lets one of them make the tables. An older schema
is left alone, because the processes of the older release may still work on it: upgrading is the
operator's decision (``cephstorage db upgrade``).
"""

from sqlalchemy import Connection, insert, select

from cephstorage.domain.errors import DatabaseUnavailable
from cephstorage.index.migrations import upgrade
from cephstorage.index.postgres_names import create_names
from cephstorage.index.schema import SCHEMA_VERSION, Schema, create_tables

LOCK = 0x6365_7068_7374_6F72
"""The key of the advisory lock: "cephstor"."""


def prepare(connection: Connection, *, schema: Schema) -> None:
    """See to it that the tables are there, in this transaction. Raises DatabaseUnavailable for another version."""
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
    found = schema_version(connection, schema)
    if found is None:
        make_tables(connection, schema)
    elif found < SCHEMA_VERSION:
        raise DatabaseUnavailable(
            f"The database has schema version {found}; this CephStorage needs {SCHEMA_VERSION}. Make a backup, stop "
            "the processes of the older release, and run `cephstorage db upgrade`."
        )
    elif found > SCHEMA_VERSION:
        raise DatabaseUnavailable(
            f"The database has schema version {found}; this CephStorage knows versions up to {SCHEMA_VERSION}. "
            "Start the newer CephStorage that made it."
        )


def upgrade_tables(connection: Connection, *, schema: Schema) -> int:
    """Bring the tables to this release's version, or make them; the version that was there (0: none).

    The index of names is made if it could not be made before.
    """
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
    found = schema_version(connection, schema)
    if found is not None and found < SCHEMA_VERSION:
        upgrade(connection, schema, found)
    else:
        prepare(connection, schema=schema)
        create_names(connection)
    return found or 0


def schema_version(connection: Connection, schema: Schema) -> int | None:
    """The version of the tables that are there; None when there are none."""
    counters = schema.counters
    there = connection.exec_driver_sql(f"""SELECT to_regclass('"{counters.schema}".{counters.name}')""").scalar()
    if there is None:
        return None
    found: int = connection.execute(select(counters.c.value).where(counters.c.name == "schema")).scalar_one()
    return found


def make_tables(connection: Connection, schema: Schema) -> None:
    """Make every table, the index of names where it can be made, and note the version."""
    create_tables(connection, schema)
    create_names(connection)
    connection.execute(
        insert(schema.counters), [{"name": "schema", "value": SCHEMA_VERSION}, {"name": "settings", "value": 0}]
    )
