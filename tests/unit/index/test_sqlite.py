"""The SQLite runner: group commit, isolation of failures, locks, versions, and the file itself."""

import asyncio
import re
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pysqlite3.dbapi2 as driver
import pytest
from sqlalchemy import Connection, insert, select, update

from cephstorage.domain.errors import DatabaseUnavailable, KeyNotFound, StoreFull
from cephstorage.domain.names import BucketName
from cephstorage.domain.transfers import Kind, TransferRequest
from cephstorage.index import SqliteIndex
from cephstorage.index.schema import SCHEMA_VERSION, Schema, build_schema
from cephstorage.index.sqlite import SqliteDatabase
from cephstorage.index.sqlite_file import connect, safe_version
from cephstorage.ports.ledger import NewTransfer

BUCKET = BucketName("alice", "photos")
SCHEMA: Schema = build_schema(separate_schemas=False)
SETTINGS = SCHEMA.settings


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    """An open database that has little patience with locks."""
    database = SqliteDatabase(tmp_path / "cephstorage.db", SCHEMA, patience=0.05)
    await database.open()
    yield database
    await database.close()


def put(conn: Connection, name: str) -> str:
    conn.execute(insert(SETTINGS), {"name": name, "value": "x"})
    return name


def put_then_fail(conn: Connection, name: str) -> None:
    put(conn, name)
    raise KeyNotFound("as asked")


def names(conn: Connection) -> set[str]:
    return set(conn.scalars(select(SETTINGS.c.name)))


class Gate:
    """A write that holds the writer thread until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.leave = threading.Event()

    def __call__(self, conn: Connection) -> None:
        self.entered.set()
        self.leave.wait()


async def queue_behind(db: SqliteDatabase, gate: Gate) -> asyncio.Task[None]:
    """Keep the writer busy, so that what follows is one group."""
    task = asyncio.create_task(db.write(gate))
    await asyncio.to_thread(gate.entered.wait)
    return task


async def test_what_waits_is_committed_at_once(db: SqliteDatabase) -> None:
    gate = Gate()
    first = await queue_behind(db, gate)
    watcher = connect(db.path, patience=0.05, read_only=True)
    waiting = [asyncio.create_task(db.write(put, str(number))) for number in range(30)]
    await asyncio.sleep(0)
    gate.leave.set()
    await first
    done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert (len(done), len(pending)) == (30, 0)
    assert names(watcher) == {str(number) for number in range(30)}
    watcher.close()


async def test_a_failing_call_takes_nobody_with_it(db: SqliteDatabase) -> None:
    gate = Gate()
    first = await queue_behind(db, gate)
    calls = [
        asyncio.create_task(db.write(put_then_fail if number % 3 == 0 else put, str(number)))  # type: ignore[arg-type]
        for number in range(12)
    ]
    await asyncio.sleep(0)
    gate.leave.set()
    await first
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(result, KeyNotFound) for result in results] == [number % 3 == 0 for number in range(12)]
    assert await db.read(names) == {str(number) for number in range(12) if number % 3}


async def test_a_database_error_is_translated_with_its_cause_and_harms_no_other(db: SqliteDatabase) -> None:
    await db.write(put, "a")
    same, other = await asyncio.gather(db.write(put, "a"), db.write(put, "b"), return_exceptions=True)
    assert isinstance(same, DatabaseUnavailable)
    assert isinstance(getattr(same.__cause__, "orig", None), driver.IntegrityError)
    assert other == "b"


async def test_a_cancelled_caller_leaves_the_writer_at_work(db: SqliteDatabase) -> None:
    gate = Gate()
    first = await queue_behind(db, gate)
    impatient = asyncio.create_task(db.write(put, "impatient"))
    patient = asyncio.create_task(db.write(put, "patient"))
    await asyncio.sleep(0)
    impatient.cancel()
    first.cancel()
    gate.leave.set()
    assert await patient == "patient"
    assert impatient.cancelled()
    assert await db.write(put, "later") == "later"


async def test_closing_finishes_what_is_queued(tmp_path: Path) -> None:
    db = SqliteDatabase(tmp_path / "cephstorage.db", SCHEMA)
    await db.open()
    gate = Gate()
    first = await queue_behind(db, gate)
    waiting = [asyncio.create_task(db.write(put, str(number))) for number in range(200)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(db.close())
    await asyncio.sleep(0)
    gate.leave.set()
    await closing
    await first
    assert await asyncio.gather(*waiting) == [str(number) for number in range(200)]
    assert [path.name for path in tmp_path.iterdir()] == ["cephstorage.db"]
    for attempt in (db.write(put, "late"), db.read(names)):
        with pytest.raises(DatabaseUnavailable):
            await attempt
    await db.close()
    await db.open()
    assert len(await db.read(names)) == 200
    await db.close()


async def test_a_lock_that_stays_is_reported_and_the_next_write_works(db: SqliteDatabase) -> None:
    rival = driver.connect(str(db.path), isolation_level=None)
    rival.execute("BEGIN IMMEDIATE")
    results = await asyncio.gather(db.write(put, "a"), db.write_relaxed(put, "b"), return_exceptions=True)
    for result in results:
        assert isinstance(result, DatabaseUnavailable)
        assert result.retry_after == 1
    assert await db.read(names) == set()
    rival.execute("COMMIT")
    rival.close()
    assert await db.write(put, "c") == "c"
    assert await db.read(names) == {"c"}


async def test_a_write_waits_for_a_lock_that_goes(tmp_path: Path) -> None:
    db = SqliteDatabase(tmp_path / "cephstorage.db", SCHEMA)
    await db.open()
    rival = driver.connect(str(db.path), isolation_level=None)
    rival.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(db.write(put, "a"))
    await db.read(names)
    rival.execute("COMMIT")
    rival.close()
    assert await waiting == "a"
    await db.close()


async def test_a_full_disk_says_so_and_the_database_recovers(db: SqliteDatabase) -> None:
    def limit(conn: Connection, pages: int) -> None:
        conn.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    def flood(conn: Connection) -> None:
        conn.execute(insert(SETTINGS), [{"name": f"flood{number}", "value": "x" * 4000} for number in range(500)])

    await db.write_relaxed(limit, 100)
    with pytest.raises(StoreFull):
        await db.write(flood)
    await db.write_relaxed(limit, 100_000)
    assert await db.read(names) == set()
    await db.write(flood)
    assert len(await db.read(names)) == 500


async def test_durable_and_relaxed_commits_differ_in_synchronous(db: SqliteDatabase) -> None:
    def synchronous(conn: Connection) -> int:
        level: int = conn.exec_driver_sql("PRAGMA synchronous").scalar_one()
        return level

    normal, full = 1, 2
    assert await db.write(synchronous) == full
    assert await db.write_relaxed(synchronous) == normal
    gate = Gate()
    first = await queue_behind(db, gate)
    mixed = asyncio.gather(db.write_relaxed(synchronous), db.write(synchronous), db.write_relaxed(synchronous))
    await asyncio.sleep(0)
    gate.leave.set()
    await first
    assert await mixed == [full, full, full]


async def test_a_read_is_one_snapshot(db: SqliteDatabase) -> None:
    await db.write(put, "a")
    looked, written = threading.Event(), threading.Event()

    def look_twice(conn: Connection) -> tuple[set[str], set[str]]:
        before = names(conn)
        looked.set()
        written.wait()
        return before, names(conn)

    reading = asyncio.create_task(db.read(look_twice))
    await asyncio.to_thread(looked.wait)
    await db.write(put, "b")
    written.set()
    assert await reading == ({"a"}, {"a"})
    assert await db.read(names) == {"a", "b"}


async def test_readers_cannot_write(db: SqliteDatabase) -> None:
    with pytest.raises(DatabaseUnavailable):
        await db.read(put, "a")
    assert await db.read(names) == set()


async def test_the_file_is_the_owners_alone(db: SqliteDatabase) -> None:
    await db.write(put, "a")
    for path in db.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    db = SqliteDatabase(tmp_path / "cephstorage.db", SCHEMA)
    await db.open()
    newer = update(SCHEMA.counters).where(SCHEMA.counters.c.name == "schema").values(value=SCHEMA_VERSION + 1)
    await db.write(lambda conn: conn.execute(newer).rowcount)
    await db.close()
    with pytest.raises(DatabaseUnavailable, match=f"version {SCHEMA_VERSION + 1}"):
        await db.open()
    await db.close()


async def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cephstorage.db"
    path.write_bytes(b"this is no database, whatever its name says" * 100)
    with pytest.raises(DatabaseUnavailable, match="can't be opened"):
        await SqliteDatabase(path, SCHEMA).open()


async def test_many_may_create_one_database_at_once(tmp_path: Path) -> None:
    databases = [SqliteDatabase(tmp_path / "cephstorage.db", SCHEMA) for _ in range(6)]
    await asyncio.gather(*(database.open() for database in databases))
    await asyncio.gather(*(database.write(put, str(number)) for number, database in enumerate(databases)))
    assert len(await databases[0].read(names)) == 6
    for database in databases:
        await database.close()


@pytest.mark.parametrize("version", [(3, 51, 3), (3, 53, 4), (4, 0, 0), (3, 50, 7), (3, 50, 9), (3, 44, 6)])
def test_versions_without_the_wal_reset_bug(version: tuple[int, ...]) -> None:
    assert safe_version(version)


@pytest.mark.parametrize("version", [(3, 51, 2), (3, 50, 6), (3, 49, 9), (3, 45, 7), (3, 44, 5), (3, 40, 1)])
def test_versions_with_the_wal_reset_bug(version: tuple[int, ...]) -> None:
    assert not safe_version(version)


async def test_an_old_sqlite_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "sqlite_version_info", (3, 40, 1))
    with pytest.raises(DatabaseUnavailable, match=re.escape("3.51.3")):
        await SqliteDatabase(tmp_path / "cephstorage.db", SCHEMA).open()


async def test_hot_statements_are_index_searches(tmp_path: Path) -> None:
    """A claim among ended rows, a folder's page and the next sub-folder never scan a table."""
    index = SqliteIndex(tmp_path / "cephstorage.db")
    await index.open()
    await index.buckets.create(BUCKET, 0.0)
    request = TransferRequest(Kind.FETCH, BUCKET, "k", "http://o.example/")
    await index.transfers.create([NewTransfer("i", "t", request, "f")], 0.0)
    await index.close()
    raw = driver.connect(str(tmp_path / "cephstorage.db"))
    transfers, keys = '"CephStorageGeneral_transfers"', '"CephStorageIndex_keys"'
    removals, some = '"CephStorageGeneral_removals"', "bucket = 'b' AND key IN ('k', 'l')"
    plans = {
        f"SELECT id FROM {transfers} WHERE state = 'inprogress' AND due_at <= 1 ORDER BY due_at LIMIT 1": "transfers_due",
        f"SELECT id FROM {transfers} WHERE state = 'inprogress' AND due_at <= 1 AND kind IN ('fill', 'upload')"
        " ORDER BY due_at LIMIT 1": "transfers_due_served",
        f"SELECT id FROM {transfers} WHERE state = 'inprogress' AND fingerprint = 'f'": "transfers_single_request",
        f"SELECT key FROM {removals} WHERE {some}": "removals_by_key",
        f"SELECT key FROM {transfers} WHERE state = 'inprogress' AND plan IS NOT NULL AND {some}": "transfers_storing",
        f"SELECT * FROM {keys} WHERE bucket = 'b' AND vfolder = x'' AND key > 'k' ORDER BY key LIMIT 9": "keys_by_folder",
        f"SELECT vfolder FROM {keys} WHERE bucket='b' AND vfolder>=x'' AND vfolder<x'ff' ORDER BY vfolder LIMIT 1": "keys_by_folder",
        f"SELECT * FROM {keys} WHERE bucket = 'b' AND key >= 'k' ORDER BY key LIMIT 9": "sqlite_autoindex",
    }
    for statement, used in plans.items():
        plan = " ".join(row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {statement}"))
        assert plan.startswith("SEARCH")
        assert used in plan
        assert "TEMP B-TREE" not in plan
    raw.close()
