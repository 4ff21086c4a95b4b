"""Tokens that are remembered: looked at again when some changed, and good while the database is gone."""

from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path

import pytest

from cephstorage.domain.access import AccessToken, Role
from cephstorage.domain.errors import DatabaseUnavailable, Unauthenticated
from cephstorage.index import SqliteIndex
from cephstorage.ports.tables import TokenTable
from cephstorage.services.access import Access


class Tokens:
    """The tokens of an index that may be gone."""

    def __init__(self, table: TokenTable) -> None:
        self.table = table
        self.gone = False

    async def by_hash(self, secret_hash: str) -> AccessToken | None:
        if self.gone:
            raise DatabaseUnavailable("gone")
        return await self.table.by_hash(secret_hash)

    async def by_hashes(self, secret_hashes: Collection[str]) -> Mapping[str, AccessToken]:
        if self.gone:
            raise DatabaseUnavailable("gone")
        return await self.table.by_hashes(secret_hashes)

    async def put(self, token: AccessToken, secret_hash: str) -> None:
        await self.table.put(token, secret_hash)

    async def delete(self, token_id: str) -> None:
        await self.table.delete(token_id)

    async def all(self) -> list[AccessToken]:
        return list(await self.table.all())


@pytest.fixture
async def tokens(tmp_path: Path) -> AsyncIterator[Tokens]:
    index = SqliteIndex(tmp_path / "cephstorage.db")
    await index.open()
    yield Tokens(index.tokens)
    await index.close()


async def test_a_remembered_token_is_good_while_the_database_is_gone(tokens: Tokens) -> None:
    access = Access(tokens, lambda: 1.0)
    _, secret = await access.create(Role.ADMIN, None, "", None)
    assert (await access.authenticate(f"Bearer {secret}")).role is Role.ADMIN
    tokens.gone = True
    with pytest.raises(DatabaseUnavailable):
        await access.refresh()
    assert (await access.authenticate(f"Bearer {secret}")).role is Role.ADMIN
    with pytest.raises(DatabaseUnavailable):
        await access.authenticate("Bearer unknown")


async def test_a_token_that_another_process_revoked_is_forgotten_and_others_stay(tokens: Tokens) -> None:
    here, there = (Access(tokens, lambda: 1.0) for _ in range(2))
    made = [await here.create(Role.ADMIN, None, "", None) for _ in range(2)]
    for _, secret in made:
        await here.authenticate(f"Bearer {secret}")
    await there.revoke(made[0][0].id)
    await here.refresh()
    tokens.gone = True
    assert (await here.authenticate(f"Bearer {made[1][1]}")).role is Role.ADMIN
    with pytest.raises(DatabaseUnavailable):
        await here.authenticate(f"Bearer {made[0][1]}")
    tokens.gone = False
    with pytest.raises(Unauthenticated):
        await here.authenticate(f"Bearer {made[0][1]}")


async def test_what_is_revoked_here_while_it_is_looked_at_again_stays_forgotten(tokens: Tokens) -> None:
    access = Access(tokens, lambda: 1.0)
    token, secret = await access.create(Role.ADMIN, None, "", None)
    await access.authenticate(f"Bearer {secret}")
    looked = tokens.by_hashes

    async def by_hashes(secret_hashes: Collection[str]) -> Mapping[str, AccessToken]:
        found = await looked(secret_hashes)
        await access.revoke(token.id)
        return found

    tokens.by_hashes = by_hashes  # type: ignore[method-assign]
    await access.refresh()
    with pytest.raises(Unauthenticated):
        await access.authenticate(f"Bearer {secret}")
