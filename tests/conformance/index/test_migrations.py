"""Databases of every release come to the schema of this one, with everything that they held."""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import update

from cephstorage.domain.errors import DatabaseUnavailable
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import ListQuery
from cephstorage.index import SqlIndex, index_at
from cephstorage.index.migrations import upgrade
from cephstorage.index.postgres_index import PostgresIndex
from cephstorage.index.schema import SCHEMA_VERSION, build_schema
from tests.conformance.index import catalog
from tests.conformance.index.conftest import FACTORIES
from tests.harness.postgres import Postgres

RELEASES = {path.stem: path for path in (Path(__file__).parent / "releases").glob("*.sql")}
SCHEMA_OF = {"0.1.0": 1}
BUCKETS = (BucketName("alice", "photos"), BucketName("bob", "mirrored"))


def released(release: str) -> sqlite3.Connection:
    """A database as a release left it."""
    connection = sqlite3.connect(":memory:")
    connection.executescript(RELEASES[release].read_text())
    return connection


def write_sqlite(release: str, file: Path) -> None:
    """Put a release's database in a file."""
    with contextlib.closing(released(release)) as old, contextlib.closing(sqlite3.connect(file)) as new:
        old.backup(new)


def write_postgres(release: str, url: str) -> None:
    """Make a release's schema in an empty database by its revision, and fill it with what that release wrote."""
    index = postgres_index(url)
    schema = build_schema(separate_schemas=True)
    index.database._alone(lambda connection: upgrade(connection, schema, 0, SCHEMA_OF[release]))
    with contextlib.closing(released(release)) as old, psycopg.connect(url) as new:
        for table in schema.metadata.sorted_tables:
            flat = f"{table.schema}_{table.name}"
            if not old.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (flat,)).fetchone():
                continue
            new.execute(f'DELETE FROM "{table.schema}".{table.name}')
            for row in old.execute(f'SELECT * FROM "{flat}"'):
                marks = ", ".join(["%s"] * len(row))
                new.execute(f'INSERT INTO "{table.schema}".{table.name} VALUES ({marks})', row)
            if table.name == "removals":
                new.execute("""SELECT setval('"CephStorageGeneral".removals_id_seq', 100)""")


def postgres_index(url: str) -> PostgresIndex:
    index = index_at(url, Path())
    assert isinstance(index, PostgresIndex)
    return index


async def contents(index: SqlIndex) -> dict[str, Any]:
    """Everything that the ports show of what a release wrote."""
    pages = [await index.keys.listing(bucket, ListQuery(recursive=True, limit=100)) for bucket in BUCKETS]
    names = [f"token-{name}" for name in (0, 1, 2, 3, 4, 5, "q", "f", "fill")]
    return {
        "records": [record for page in pages for record in page.keys],
        "buckets": [await index.buckets.get(bucket) for bucket in BUCKETS],
        "drift": await index.usage_drift(),
        "mirrors": await index.mirrors.all(),
        "tokens": await index.tokens.all(),
        "token": await index.tokens.by_hash("ab" * 32),
        "setting": await index.settings.get("signing_key"),
        "version": await index.settings.version(),
        "removals": await index.landing.removals(100),
        "transfers": [await index.transfers.get(name) for name in names],
        "owner": await index.transfers.fill_owner(BUCKETS[1], "dists/b", 1050.0),
    }


async def upgraded_sqlite(release: str, folder: Path) -> dict[str, Any]:
    write_sqlite(release, folder / "cephstorage.db")
    index = index_at("", folder / "cephstorage.db")
    await index.open()
    try:
        return await contents(index)
    finally:
        await index.close()


@pytest.mark.parametrize("release", sorted(RELEASES))
async def test_sqlite_upgrades_itself_at_the_start_and_keeps_everything(release: str, tmp_path: Path) -> None:
    found = await upgraded_sqlite(release, tmp_path)
    assert [(record.key, record.generation, record.size) for record in found["records"]] == [
        ("a/b/c.txt", 1, 10),
        ("c.txt", 2, 14),
        ("ключ/ü'\"\n", 1, 12),
        ("dists/a", 1, 15),
    ]
    assert [(bucket.size, bucket.keyamount) for bucket in found["buckets"]] == [(36, 3), (15, 1)]
    assert (found["drift"], found["setting"], found["owner"]) == ([], "secret", "owner-2")
    assert [removal.store_version for removal in found["removals"]] == ["id-1.1", "id-3.1"]
    assert [transfer.state for transfer in found["transfers"]] == [*["success"] * 6, "inprogress", "fail", "inprogress"]
    assert await upgraded_twice(tmp_path) == found


async def upgraded_twice(folder: Path) -> dict[str, Any]:
    index = index_at("", folder / "cephstorage.db")
    await index.open()
    try:
        return await contents(index)
    finally:
        await index.close()


@pytest.mark.parametrize("release", sorted(RELEASES))
async def test_postgresql_is_upgraded_when_asked_and_keeps_everything(
    release: str, postgres: Postgres, tmp_path: Path
) -> None:
    url = postgres.fresh()
    write_postgres(release, url)
    index = postgres_index(url)
    with pytest.raises(DatabaseUnavailable, match="cephstorage db upgrade") as refused:
        await index.open()
    assert refused.value.retry_after is None
    assert await index.upgrade() == SCHEMA_OF[release]
    await index.open()
    assert await contents(index) == await upgraded_sqlite(release, tmp_path)
    await index.close()
    assert await index.upgrade() == SCHEMA_VERSION


@pytest.mark.parametrize("release", sorted(RELEASES))
async def test_an_upgraded_database_has_exactly_the_tables_of_a_new_one(
    release: str, postgres: Postgres, tmp_path: Path
) -> None:
    """Whoever changes ``schema.py`` extends the newest revision, or adds one when that is released."""
    await upgraded_sqlite(release, tmp_path)
    fresh = index_at("", tmp_path / "fresh.db")
    await fresh.open()
    await fresh.close()
    assert catalog.of_sqlite(tmp_path / "cephstorage.db") == catalog.of_sqlite(tmp_path / "fresh.db")
    old, new = postgres.fresh(), postgres.fresh()
    write_postgres(release, old)
    await postgres_index(old).upgrade()
    made = postgres_index(new)
    await made.open()
    await made.close()
    assert catalog.of_postgres(old) == catalog.of_postgres(new)


def test_the_catalogs_tell_tables_apart(postgres: Postgres, tmp_path: Path) -> None:
    write_sqlite("0.1.0", tmp_path / "old.db")
    before = catalog.of_sqlite(tmp_path / "old.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "old.db")) as connection:
        connection.execute('ALTER TABLE "CephStorageGeneral_tokens" ADD COLUMN more TEXT')
    assert len(catalog.of_sqlite(tmp_path / "old.db") - before) == 1
    url = postgres.fresh()
    write_postgres("0.1.0", url)
    there = catalog.of_postgres(url)
    with psycopg.connect(url) as connection:
        connection.execute('ALTER TABLE "CephStorageGeneral".tokens ALTER label DROP NOT NULL')
    assert len(catalog.of_postgres(url) ^ there) == 2


def test_the_first_revision_makes_what_the_release_made(tmp_path: Path) -> None:
    write_sqlite("0.1.0", tmp_path / "released.db")
    folder = Path(__file__).parents[3] / "src/cephstorage/index/migrations/versions"
    with contextlib.closing(sqlite3.connect(tmp_path / "made.db")) as connection:
        connection.executescript((folder / "r0001_sqlite.sql").read_text())
    assert catalog.of_sqlite(tmp_path / "made.db") == catalog.of_sqlite(tmp_path / "released.db")


async def test_a_newer_schema_is_refused_and_left_alone(
    engine: str, place: str, factory: Callable[[], SqlIndex]
) -> None:
    index = factory()
    await index.open()
    schema = build_schema(separate_schemas=engine == "postgresql")
    newer = update(schema.counters).where(schema.counters.c.name == "schema").values(value=SCHEMA_VERSION + 1)
    await index._db.write(lambda connection: connection.execute(newer).rowcount)
    await index.close()
    again = FACTORIES[engine](place)
    with pytest.raises(DatabaseUnavailable, match=f"version {SCHEMA_VERSION + 1}") as refused:
        await again.open()
    assert refused.value.retry_after is None
    await again.close()
