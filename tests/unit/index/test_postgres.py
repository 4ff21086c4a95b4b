"""The PostgreSQL runner: snapshots, races run again, limits, broken connections, and what is said of errors."""

import asyncio
import threading
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, insert, select

from cephstorage.domain.errors import DatabaseUnavailable, InvalidInput, KeyNotFound, StoreFull
from cephstorage.index.breaker import Breaker
from cephstorage.index.postgres import PostgresDatabase
from cephstorage.index.postgres_faults import translated
from cephstorage.index.postgres_index import PostgresIndex
from cephstorage.index.postgres_session import PostgresOptions
from cephstorage.index.postgres_setup import prepare
from cephstorage.index.schema import build_schema
from tests.harness.machines import make_tables
from tests.harness.postgres import Postgres

SCHEMA = build_schema(separate_schemas=True)
SETTINGS = SCHEMA.settings


def make(connection: Connection) -> None:
    prepare(connection, schema=SCHEMA)


@pytest.fixture
async def db(postgres: Postgres) -> AsyncIterator[PostgresDatabase]:
    """An open database with two connections and little patience."""
    options = PostgresOptions(postgres.fresh(), connections=2, statement_timeout=1.0, lock_timeout=0.2)
    database = PostgresDatabase(options)
    await database.open(make)
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


def value_of(conn: Connection, asked: str) -> Any:
    return conn.exec_driver_sql(asked).scalar()


def fault(conn: Connection, code: str) -> None:
    conn.exec_driver_sql(f"DO $$ BEGIN RAISE EXCEPTION 'as asked' USING ERRCODE = '{code}'; END $$")


def lock_settings(conn: Connection, held: threading.Event, leave: threading.Event) -> None:
    """Lock the table of settings, say so, and keep the transaction open until it is let go."""
    conn.exec_driver_sql('LOCK TABLE "CephStorageConfiguration".settings')
    held.set()
    leave.wait(60)


async def test_who_waits_for_others_of_ours_takes_the_database_for_busy_and_not_for_lost(
    db: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave, writers = threading.Event(), db._writers
    assert writers is not None
    monkeypatch.setattr(db, "_deadline", 0.2)
    writers.submit(leave.wait, 60)
    try:
        with pytest.raises(DatabaseUnavailable, match="kept this one waiting"):
            await db.write(put, "queued")
        monkeypatch.undo()
        assert await db.read(names) == set()
    finally:
        leave.set()
    assert await db.write(put, "later") == "later"
    assert await db.read(names) == {"later"}


async def test_adding_everything_up_takes_as_long_as_it_takes(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`cephstorage doctor` does so, also where that is more than a statement of the service may take."""
    index = PostgresIndex(PostgresOptions(postgres.prepared(make_tables), connections=2, statement_timeout=1.0))
    await index.open()

    def slow(conn: Connection) -> list[str]:
        conn.exec_driver_sql("SELECT pg_sleep(1.2)")
        return [str(value_of(conn, "SHOW transaction_isolation")), str(value_of(conn, "SHOW transaction_read_only"))]

    monkeypatch.setattr(index, "_drift", slow)
    assert await index.usage_drift() == ["repeatable read", "on"]
    await index.close()


async def test_a_failing_call_leaves_nothing_and_no_open_transaction(db: PostgresDatabase) -> None:
    for number in range(6):
        with pytest.raises(KeyNotFound):
            await db.write(put_then_fail, str(number))
    assert await db.read(names) == set()
    asked = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%%' AND datname = current_database()"
    assert await db.read_one(value_of, asked) == 0


async def test_a_read_is_one_snapshot_that_cannot_write(db: PostgresDatabase) -> None:
    await db.write(put, "a")
    looked, written = threading.Event(), threading.Event()

    def look_twice(conn: Connection) -> tuple[set[str], set[str]]:
        before = names(conn)
        looked.set()
        written.wait(60)
        return before, names(conn)

    reading = asyncio.create_task(db.read(look_twice))
    await asyncio.to_thread(looked.wait, 60)
    await db.write(put, "b")
    written.set()
    assert await reading == ({"a"}, {"a"})
    with pytest.raises(DatabaseUnavailable):
        await db.read(put, "c")
    assert await db.read(names) == {"a", "b"}


async def test_a_cancelled_caller_leaves_the_connection_fit(db: PostgresDatabase) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(conn: Connection) -> None:
        put(conn, "slow")
        entered.set()
        leave.wait(60)

    task = asyncio.create_task(db.write(slow))
    await asyncio.to_thread(entered.wait, 60)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    leave.set()
    assert await db.write(put, "next") == "next"
    assert await db.read(names) == {"slow", "next"}


@pytest.mark.parametrize("code", ["40001", "40P01", "23505"])
async def test_a_lost_race_is_run_again_as_a_whole_but_not_for_ever(db: PostgresDatabase, code: str) -> None:
    runs: list[int] = []

    def race(conn: Connection, losses: int) -> None:
        put(conn, "mine")
        runs.append(1)
        if len(runs) <= losses:
            fault(conn, code)

    await db.write(race, 3)
    assert (len(runs), await db.read(names)) == (4, {"mine"})
    runs.clear()
    with pytest.raises(DatabaseUnavailable):
        await db.write(lambda conn: fault(conn, code))


async def test_limits_of_time_are_the_servers(db: PostgresDatabase) -> None:
    with pytest.raises(DatabaseUnavailable) as slow:
        await db.read_one(value_of, "SELECT pg_sleep(30)")
    assert isinstance(getattr(slow.value.__cause__, "orig", None), psycopg.errors.QueryCanceled)
    await db.write(put, "a")
    held, leave = threading.Event(), threading.Event()
    hold = partial(lock_settings, held=held, leave=leave)
    holding = asyncio.create_task(db.alone(hold))
    await asyncio.to_thread(held.wait, 60)
    with pytest.raises(DatabaseUnavailable) as locked:
        await db.write(put, "b")
    assert isinstance(getattr(locked.value.__cause__, "orig", None), psycopg.errors.LockNotAvailable)
    leave.set()
    await holding
    assert await db.write(put, "b") == "b"


async def test_a_transaction_that_nobody_goes_on_with_holds_others_up_no_longer_than_they_wait(
    postgres: Postgres,
) -> None:
    """A process may be stopped (SIGSTOP, a paused machine) between two statements, with locks in its hands."""
    options = PostgresOptions(postgres.fresh(), connections=2, lock_timeout=1.0)
    stopped, other = PostgresDatabase(options), PostgresDatabase(options)
    await stopped.open(make)
    await other.open(make)
    held, leave = threading.Event(), threading.Event()
    hold = partial(lock_settings, held=held, leave=leave)
    holding = asyncio.create_task(stopped.write(hold))
    await asyncio.to_thread(held.wait, 60)
    try:
        assert await other.write(put, "b") == "b"
    finally:
        leave.set()
        await asyncio.gather(holding, return_exceptions=True)
    assert await stopped.write(put, "c") == "c"
    await stopped.close()
    await other.close()


async def test_no_more_connections_than_allowed(db: PostgresDatabase) -> None:
    await asyncio.gather(*(db.write(put, str(number)) for number in range(20)), *(db.read(names) for _ in range(20)))
    asked = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'CephStorage' AND datname = current_database()"
    )
    assert await db.read_one(value_of, asked) == 2


async def test_an_ended_session_is_replaced_without_a_word(db: PostgresDatabase, postgres: Postgres) -> None:
    await db.write(put, "a")
    await db.read(names)
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = %s"
    with postgres.connect("postgres") as connection:
        connection.execute(end, [db.name.rpartition("/")[2]])
    assert await db.write(put, "b") == "b"
    assert await db.read(names) == {"a", "b"}


async def test_a_killed_server_is_known_at_once_and_taken_up_again(own_postgres: Postgres) -> None:
    db = PostgresDatabase(PostgresOptions(own_postgres.fresh(), connections=2, connect_timeout=2))
    await db.open(make)
    await db.write(put, "a")
    own_postgres.kill()
    for _ in range(50):
        with pytest.raises(DatabaseUnavailable) as gone:
            await db.write(put, "b")
        assert gone.value.retry_after
        assert own_postgres.password not in gone.value.msg
    own_postgres.start()
    while True:
        try:
            assert await db.read(names) == {"a"}
        except DatabaseUnavailable:
            await asyncio.sleep(0.05)
        else:
            break
    assert await db.write(put, "b") == "b"
    await db.close()


async def test_a_server_that_hangs_is_left_and_the_threads_are_freed(own_postgres: Postgres) -> None:
    db = PostgresDatabase(
        PostgresOptions(own_postgres.fresh(), connections=2, connect_timeout=2, statement_timeout=0.5)
    )
    db._deadline = 1.0
    await db.open(make)
    await db.write(put, "a")
    await db.read(names)
    own_postgres.freeze()
    impatient = asyncio.create_task(db.read(names))
    await asyncio.sleep(0)
    impatient.cancel()
    answers = await asyncio.gather(db.read(names), db.write(put, "b"), return_exceptions=True)
    assert all(isinstance(answer, DatabaseUnavailable) for answer in answers)
    with pytest.raises(DatabaseUnavailable):
        await db.write(put, "c")
    own_postgres.thaw()
    while True:
        try:
            assert "a" in await db.read(names)
            assert await db.write(put, "d") == "d"
        except DatabaseUnavailable:
            await asyncio.sleep(0.05)
        else:
            break
    await db.close()


async def test_a_server_that_only_reads_is_refused(postgres: Postgres) -> None:
    url = postgres.fresh()
    name = url.rpartition("/")[2]
    with postgres.connect("postgres") as connection:
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(DatabaseUnavailable, match="read-only"):
        await PostgresDatabase(PostgresOptions(url)).open(make)


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        ("53100", StoreFull, "is full"),
        ("25006", DatabaseUnavailable, "only reads now"),
        ("57P01", DatabaseUnavailable, "broke the connection"),
        ("53300", DatabaseUnavailable, "max_connections"),
        ("42P01", DatabaseUnavailable, "cephstorage db upgrade"),
        ("42501", DatabaseUnavailable, "GRANT"),
        ("57014", DatabaseUnavailable, "took too long"),
        ("XX000", DatabaseUnavailable, "as asked"),
    ],
)
def test_every_error_is_said_for_the_operator(code: str, kind: type[Exception], said: str, postgres: Postgres) -> None:
    with postgres.connect("postgres") as connection, pytest.raises(psycopg.Error) as raised:
        connection.execute(f"DO $$ BEGIN RAISE EXCEPTION 'as asked' USING ERRCODE = '{code}'; END $$")
    meaning = translated(raised.value, "PostgreSQL at x")
    assert type(meaning) is kind
    assert said in str(meaning)
    assert "PostgreSQL at x" in str(meaning)
    assert meaning.__cause__ is raised.value


async def test_nul_is_the_callers_mistake(db: PostgresDatabase) -> None:
    with pytest.raises(InvalidInput):
        await db.write(put, "a\0b")


async def test_errors_hold_no_values(db: PostgresDatabase) -> None:
    await db.write(put, "a")
    with pytest.raises(DatabaseUnavailable) as raised:
        await db.write(lambda conn: conn.execute(insert(SETTINGS), {"name": "a", "value": "s3cr3t"}))
    assert "s3cr3t" not in f"{raised.value} {raised.value.__cause__}"


def test_the_address_is_never_shown() -> None:
    options = PostgresOptions("postgresql://user:s3cr3t@db.example:5433/name")
    assert options.name == "PostgreSQL at db.example:5433/name"
    assert "s3cr3t" not in repr(options)
    with pytest.raises(DatabaseUnavailable) as refused:
        PostgresOptions("postgresql://user:s3cr3t@[db/name").parameters()
    assert "s3cr3t" not in f"{refused.value} {refused.value.__cause__} {refused.value.__context__}"


def test_the_breaker_lets_one_try_at_a_time() -> None:
    now = 100.0
    breaker = Breaker("a database", attempt=5.0, clock=lambda: now)
    entered = breaker.enter()
    breaker.trip("gone")
    with pytest.raises(DatabaseUnavailable):
        breaker.check(entered)
    with pytest.raises(DatabaseUnavailable):
        breaker.enter()
    now += 1
    breaker.check(breaker.enter())
    with pytest.raises(DatabaseUnavailable):
        breaker.enter()
    breaker.mend()
    breaker.check(breaker.enter())
    assert breaker.enter() == 1


HOT = {
    "a record": ("SELECT * FROM \"CephStorageIndex\".keys WHERE bucket = 'b' AND key = 'k'", "Index Cond"),
    "a page": (
        "SELECT * FROM \"CephStorageIndex\".keys WHERE bucket = 'b' AND key >= 'k' ORDER BY key LIMIT 9",
        "_pkey",
    ),
    "a folder's page": (
        "SELECT * FROM \"CephStorageIndex\".keys WHERE bucket = 'b' AND vfolder = '' AND key > 'k' ORDER BY key LIMIT 9",
        "_vfolder_key_idx",
    ),
    "the next sub-folder": (
        (
            "SELECT vfolder FROM \"CephStorageIndex\".keys WHERE bucket = 'b' AND vfolder >= 'a' AND vfolder < 'b'"
            " ORDER BY vfolder LIMIT 1"
        ),
        "_vfolder_key_idx",
    ),
    "a claim": (
        (
            "SELECT id FROM \"CephStorageGeneral\".transfers WHERE state = 'inprogress' AND due_at <= 1 ORDER BY due_at"
            " LIMIT 1 FOR UPDATE SKIP LOCKED"
        ),
        "transfers_due",
    ),
    "an equal request": (
        "SELECT id FROM \"CephStorageGeneral\".transfers WHERE state = 'inprogress' AND fingerprint = 'f'",
        "transfers_single_request",
    ),
    "what waits for its removal of some keys": (
        "SELECT key FROM \"CephStorageGeneral\".removals WHERE bucket = 'b' AND key IN ('k', 'l')",
        "removals_by_key",
    ),
    "what is being stored of some keys": (
        (
            "SELECT key FROM \"CephStorageGeneral\".transfers WHERE state = 'inprogress' AND plan IS NOT NULL"
            " AND bucket = 'b' AND key IN ('k', 'l')"
        ),
        "transfers_storing",
    ),
}


@pytest.mark.parametrize("what", sorted(HOT))
async def test_hot_statements_search_one_index_of_one_partition(what: str, db: PostgresDatabase) -> None:
    statement, index = HOT[what]

    def plan(conn: Connection) -> str:
        conn.exec_driver_sql("SET LOCAL enable_seqscan = off")
        conn.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
        return "\n".join(conn.exec_driver_sql(f"EXPLAIN {statement}").scalars())

    shown = await db.read(plan) if "UPDATE" not in statement else await db.write(plan)
    assert index in shown
    assert "Seq Scan" not in shown
    assert "Sort" not in shown
    assert shown.count("Scan") == 1


async def test_keys_of_a_bucket_lie_in_one_partition_and_buckets_in_many(db: PostgresDatabase) -> None:
    def fill(conn: Connection) -> list[tuple[str, int]]:
        buckets = [{"name": f"t___b{number}", "username": "t"} for number in range(64)]
        conn.execute(insert(SCHEMA.tenants), {"username": "t", "created_at": 0.0})
        usage = {"size": 0, "keyamount": 0, "next_generation": 1, "created_at": 0.0}
        conn.execute(insert(SCHEMA.buckets), [{**bucket, **usage} for bucket in buckets])
        row = {"vfolder": b"", "ts": 0.0, "md5": "", "content_type": "", "size": 0, "generation": 1}
        row |= {"store_version": "", "source": "", "validated_at": 0.0}
        keys = [{**row, "bucket": bucket["name"], "key": f"k{number}"} for bucket in buckets for number in range(2)]
        conn.execute(insert(SCHEMA.keys), keys)
        asked = 'SELECT bucket, count(DISTINCT tableoid) FROM "CephStorageIndex".keys GROUP BY bucket'
        return [tuple(row) for row in conn.exec_driver_sql(asked)]

    assert {count for _, count in await db.write(fill)} == {1}
    used = await db.read_one(value_of, 'SELECT count(DISTINCT tableoid) FROM "CephStorageIndex".keys')
    assert 8 < used <= 16
