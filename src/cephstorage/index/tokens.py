"""Access tokens, known only by the SHA-256 of their secret."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from cephstorage.domain.access import AccessToken, Role
from cephstorage.domain.errors import AccessTokenNotFound
from cephstorage.index.changes import ChangeStatements
from cephstorage.index.runner import Runner
from cephstorage.index.schema import Schema


def _token_of(row: Row[Any]) -> AccessToken:
    return AccessToken(row.id, Role(row.role), row.username, row.label, row.created_at, row.expires_at)


class TokenStatements:
    """Statements over access tokens."""

    def __init__(self, schema: Schema, changes: ChangeStatements) -> None:
        self._changes = changes
        tokens = schema.tokens
        this = tokens.c.id == bindparam("of_id")
        self._insert = insert(tokens)
        self._replace = update(tokens).where(this)
        self._delete = delete(tokens).where(this)
        self._by_hash = select(tokens).where(tokens.c.secret_hash == bindparam("hash"))
        self._by_hashes = select(tokens).where(tokens.c.secret_hash.in_(bindparam("hashes", expanding=True)))
        self._all = select(tokens).order_by(tokens.c.created_at, tokens.c.id)

    def put(self, conn: Connection, token: AccessToken, secret_hash: str) -> None:
        """See ``TokenTable.put``."""
        values = {
            "secret_hash": secret_hash,
            "role": token.role.value,
            "username": token.username,
            "label": token.label,
            "created_at": token.created_at,
            "expires_at": token.expires_at,
        }
        if conn.execute(self._replace, {"of_id": token.id, **values}).rowcount == 0:
            conn.execute(self._insert, {"id": token.id, **values})
        self._changes.bump(conn)

    def by_hash(self, conn: Connection, secret_hash: str) -> AccessToken | None:
        """See ``TokenTable.by_hash``."""
        row = conn.execute(self._by_hash, {"hash": secret_hash}).first()
        return None if row is None else _token_of(row)

    def by_hashes(self, conn: Connection, secret_hashes: Collection[str]) -> dict[str, AccessToken]:
        """See ``TokenTable.by_hashes``."""
        found = conn.execute(self._by_hashes, {"hashes": list(secret_hashes)})
        return {row.secret_hash: _token_of(row) for row in found}

    def delete(self, conn: Connection, token_id: str) -> None:
        """See ``TokenTable.delete``."""
        if conn.execute(self._delete, {"of_id": token_id}).rowcount == 0:
            raise AccessTokenNotFound(f"No access token has the id {token_id!r}.")
        self._changes.bump(conn)

    def all(self, conn: Connection) -> list[AccessToken]:
        """See ``TokenTable.all``."""
        return [_token_of(row) for row in conn.execute(self._all)]


class SqlTokenTable:
    """``TokenTable`` in SQL."""

    def __init__(self, db: Runner, statements: TokenStatements) -> None:
        self._db = db
        self._sql = statements

    async def put(self, token: AccessToken, secret_hash: str) -> None:
        """Create or replace by id."""
        await self._db.write(self._sql.put, token, secret_hash)

    async def by_hash(self, secret_hash: str) -> AccessToken | None:
        """The token with this secret, expired ones included."""
        return await self._db.read_one(self._sql.by_hash, secret_hash)

    async def by_hashes(self, secret_hashes: Collection[str]) -> Mapping[str, AccessToken]:
        """Those of several that are there, by hash."""
        return await self._db.read_one(self._sql.by_hashes, secret_hashes)

    async def delete(self, token_id: str) -> None:
        """Raises AccessTokenNotFound."""
        await self._db.write(self._sql.delete, token_id)

    async def all(self) -> Sequence[AccessToken]:
        """Every token, oldest first."""
        return await self._db.read_one(self._sql.all)
