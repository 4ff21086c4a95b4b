"""Mirrors by host."""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from cephstorage.domain.errors import MirrorNotFound
from cephstorage.domain.mirrors import Mirror
from cephstorage.domain.serialise import from_json, to_json
from cephstorage.index.buckets import BucketStatements
from cephstorage.index.changes import ChangeStatements
from cephstorage.index.runner import Runner
from cephstorage.index.schema import Schema


class MirrorStatements:
    """Statements over mirrors."""

    def __init__(self, schema: Schema, buckets: BucketStatements, changes: ChangeStatements) -> None:
        self._buckets = buckets
        self._changes = changes
        mirrors = schema.mirrors
        this = mirrors.c.host == bindparam("of_host")
        self._insert = insert(mirrors)
        self._replace = update(mirrors).where(this)
        self._delete = delete(mirrors).where(this)
        self._all = select(mirrors.c.mirror).order_by(mirrors.c.host)

    def put(self, conn: Connection, mirror: Mirror) -> None:
        """See ``MirrorTable.put``."""
        self._buckets.require(conn, mirror.bucket)
        values = {"bucket": str(mirror.bucket), "mirror": to_json(mirror)}
        if conn.execute(self._replace, {"of_host": mirror.host, **values}).rowcount == 0:
            conn.execute(self._insert, {"host": mirror.host, **values})
        self._changes.bump(conn)

    def delete(self, conn: Connection, host: str) -> None:
        """See ``MirrorTable.delete``."""
        if conn.execute(self._delete, {"of_host": host}).rowcount == 0:
            raise MirrorNotFound(f"No mirror answers for the host {host!r}.")
        self._changes.bump(conn)

    def all(self, conn: Connection) -> list[Mirror]:
        """See ``MirrorTable.all``."""
        return [from_json(Mirror, text) for text in conn.scalars(self._all)]


class SqlMirrorTable:
    """``MirrorTable`` in SQL."""

    def __init__(self, db: Runner, statements: MirrorStatements) -> None:
        self._db = db
        self._sql = statements

    async def put(self, mirror: Mirror) -> None:
        """Create or replace. Raises BucketNotFound."""
        await self._db.write(self._sql.put, mirror)

    async def delete(self, host: str) -> None:
        """Raises MirrorNotFound."""
        await self._db.write(self._sql.delete, host)

    async def all(self) -> Sequence[Mirror]:
        """Every mirror by host."""
        return await self._db.read_one(self._sql.all)
