"""The counter that tells every process that mirrors, tokens or settings have changed."""

from sqlalchemy import Connection, select, update

from cephstorage.index.schema import Schema


class ChangeStatements:
    """Statements over the counter. Whoever changes configuration bumps it in the same transaction."""

    def __init__(self, schema: Schema) -> None:
        counters = schema.counters
        here = counters.c.name == "settings"
        self._version = select(counters.c.value).where(here)
        self._bump = update(counters).where(here).values(value=counters.c.value + 1)
        self._take_back = update(counters).where(here).values(value=counters.c.value - 1)

    def version(self, conn: Connection) -> int:
        """See ``SettingsTable.version``."""
        return int(conn.execute(self._version).scalar_one())

    def bump(self, conn: Connection) -> None:
        """Note a change."""
        conn.execute(self._bump)

    def take_back(self, conn: Connection) -> None:
        """Take a bump of this transaction back: nothing changed after all."""
        conn.execute(self._take_back)
