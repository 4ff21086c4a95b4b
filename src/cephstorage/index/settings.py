"""Small named values that all processes share."""

from collections.abc import Mapping

from sqlalchemy import Connection, bindparam, delete, insert, select, update

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
        self._remove = delete(settings).where(this)
        self._all = select(settings.c.name, settings.c.value)

    def get(self, conn: Connection, name: str) -> str | None:
        """See ``SettingsTable.get``."""
        value: str | None = conn.scalar(self._get, {"of_name": name})
        return value

    def put(self, conn: Connection, name: str, value: str, *, only_if_absent: bool) -> str:
        """See ``SettingsTable.put``."""
        found = self.get(conn, name)
        if found == value or (found is not None and only_if_absent):
            return found
        self._write(conn, name, value, found)
        self._changes.bump(conn)
        return value

    def _write(self, conn: Connection, name: str, value: str, found: str | None) -> None:
        if found is None:
            conn.execute(self._insert, {"name": name, "value": value})
        else:
            conn.execute(self._replace, {"of_name": name, "value": value})

    def all(self, conn: Connection) -> Mapping[str, str]:
        """See ``SettingsTable.all``."""
        return {row.name: row.value for row in conn.execute(self._all)}

    def change(self, conn: Connection, values: Mapping[str, str | None], seen_version: int) -> bool:
        """See ``SettingsTable.change``. The counter goes first: its row serialises those who change settings."""
        self._changes.bump(conn)
        if self._changes.version(conn) != seen_version + 1:
            self._changes.take_back(conn)
            return False
        for name, value in values.items():
            if value is None:
                conn.execute(self._remove, {"of_name": name})
            else:
                self._write(conn, name, value, self.get(conn, name))
        return True


class SqlSettingsTable:
    """``SettingsTable`` in SQL."""

    def __init__(self, db: Runner, statements: SettingStatements, changes: ChangeStatements) -> None:
        self._db = db
        self._sql = statements
        self._changes = changes

    async def version(self) -> int:
        """Grows with every change of mirrors, tokens or settings, in whatever process."""
        return await self._db.read_one(self._changes.version)

    async def get(self, name: str) -> str | None:
        """A value, or None."""
        return await self._db.read_one(self._sql.get, name)

    async def put(self, name: str, value: str, *, only_if_absent: bool = False) -> str:
        """Set a value; return the one that stands afterwards."""
        return await self._db.write(self._sql.put, name, value, only_if_absent=only_if_absent)

    async def all(self) -> Mapping[str, str]:
        """Every value by name."""
        return await self._db.read_one(self._sql.all)

    async def change(self, values: Mapping[str, str | None], seen_version: int) -> bool:
        """Set several values at once, or remove them (None). False, and nothing done, when ``version`` has moved on."""
        return await self._db.write(self._sql.change, values, seen_version)
