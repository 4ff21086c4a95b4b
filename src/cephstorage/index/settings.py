"""Small named values that all processes share."""

from sqlalchemy import Connection, bindparam, insert, select, update

from cephstorage.index.changes import ChangeStatements
from cephstorage.index.runner import Runner
from cephstorage.index.schema import Schema


class SettingStatements:
    """Statements over settings."""

    def __init__(self, schema: Schema, changes: ChangeStatements) -> None:
        self._changes = changes
        settings = schema.settings
        this = settings.c.name == bindparam("of_name")
        self._get = select(settings.c.value).where(this)
        self._insert = insert(settings)
        self._replace = update(settings).where(this)

    def get(self, conn: Connection, name: str) -> str | None:
        """See ``SettingsTable.get``."""
        value: str | None = conn.scalar(self._get, {"of_name": name})
        return value

    def put(self, conn: Connection, name: str, value: str, *, only_if_absent: bool) -> str:
        """See ``SettingsTable.put``."""
        found = self.get(conn, name)
        if found == value or (found is not None and only_if_absent):
            return found
        if found is None:
            conn.execute(self._insert, {"name": name, "value": value})
        else:
            conn.execute(self._replace, {"of_name": name, "value": value})
        self._changes.bump(conn)
        return value


class SqlSettingsTable:
    """``SettingsTable`` in SQL."""

    def __init__(self, db: Runner, statements: SettingStatements, changes: ChangeStatements) -> None:
        self._db = db
        self._sql = statements
        self._changes = changes

    async def version(self) -> int:
        """Grows with every change of mirrors, tokens or settings, in whatever process."""
        return await self._db.read(self._changes.version)

    async def get(self, name: str) -> str | None:
        """A value, or None."""
        return await self._db.read(self._sql.get, name)

    async def put(self, name: str, value: str, *, only_if_absent: bool = False) -> str:
        """Set a value; return the one that stands afterwards."""
        return await self._db.write(self._sql.put, name, value, only_if_absent=only_if_absent)
