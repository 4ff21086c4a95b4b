"""Revisions: how a database of an older release comes to the schema of this one.

The counter ``schema`` in the database says which version its tables are: old releases read it too, and
refuse what is newer than they are. Alembic is told that number and runs the revisions behind it. New
databases are made from ``schema.py`` at once; a test holds both ways to the same result.

A revision is ``versions/rNNNN_topic.py``; its statements are frozen once they are released.
"""

import threading
from pathlib import Path

from sqlalchemy import Connection, update
from sqlalchemy.schema import CreateSchema

from cephstorage.index.schema import SCHEMA_VERSION, Schema

_ALEMBIC_IS_ONE = threading.Lock()
"""Alembic keeps what it works on in module globals."""


def upgrade(connection: Connection, schema: Schema, found: int, to: int = SCHEMA_VERSION) -> None:
    """Bring tables of version ``found`` to version ``to``, in the transaction that the caller has begun.

    ``found`` 0: there are none yet.
    """
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection, "counters": schema.counters})
    config.set_main_option("script_location", str(Path(__file__).parent))
    if not found and schema.counters.schema:
        connection.execute(CreateSchema(schema.counters.schema, if_not_exists=True))  # for Alembic's own table
    with _ALEMBIC_IS_ONE:
        command.stamp(config, revision(found) if found else "base", purge=True)
        command.upgrade(config, revision(to))
    counters = schema.counters
    connection.execute(update(counters).where(counters.c.name == "schema").values(value=to))


def revision(version: int) -> str:
    """The revision that makes a schema version."""
    return f"{version:04}"
