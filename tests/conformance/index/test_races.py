"""What happens when two processes do the same thing at the same moment: one does it, the other learns of it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection

from cephstorage.domain.errors import BucketNotEmpty, BucketNotFound
from cephstorage.domain.mirrors import Mirror
from cephstorage.domain.transfers import Kind
from cephstorage.index import SqlIndex, index_at
from cephstorage.index.postgres_index import PostgresIndex
from cephstorage.ports.ledger import FillSlot
from tests.conformance.index.conftest import (
    BUCKET,
    NOW,
    OTHER,
    OWNER,
    RIVAL,
    UNTIL,
    at_once,
    begin,
    begin_fill,
    land,
    new,
    plan_for,
    removal_versions,
    request_for,
)
from tests.harness.postgres import Postgres

ROUNDS = 12
AT_ONCE = 12


# -- every engine: many at once through several processes' indexes


async def test_one_of_many_gets_the_slot_of_a_fill(several: list[SqlIndex]) -> None:
    for turn in range(ROUNDS):
        request = request_for(f"k{turn}", Kind.FILL)

        def ask(index: SqlIndex, number: int, request: Any = request, turn: int = turn) -> Any:
            return index.transfers.begin_fill(new(f"{turn}-{number}", request), f"o{number}", NOW, UNTIL)

        slots: list[FillSlot] = await at_once(several, AT_ONCE, ask)
        leases = [slot.lease for slot in slots if slot.lease is not None]
        assert len(leases) == 1
        assert {slot.owner for slot in slots if slot.lease is None} == {leases[0].owner}


async def test_equal_requests_at_once_are_one_transfer(several: list[SqlIndex]) -> None:
    for turn in range(ROUNDS):

        def ask(index: SqlIndex, number: int, turn: int = turn) -> Any:
            transfer = new(f"{turn}-{number}", request_for(f"k{turn}"), fingerprint=f"f{turn}")
            return index.transfers.create([transfer], NOW)

        assert len({tuple(tokens) for tokens in await at_once(several, AT_ONCE, ask)}) == 1


async def test_an_idempotency_key_used_at_once_is_one_transfer(several: list[SqlIndex]) -> None:
    for turn in range(ROUNDS):

        def ask(index: SqlIndex, number: int, turn: int = turn) -> Any:
            transfer = new(f"{turn}-{number}", request_for(f"k{turn}"), fingerprint="f", idempotency_key=f"i{turn}")
            return index.transfers.create([transfer], NOW)

        assert len({tuple(tokens) for tokens in await at_once(several, AT_ONCE, ask)}) == 1


async def test_a_setting_made_at_once_has_one_value(several: list[SqlIndex]) -> None:
    for turn in range(ROUNDS):

        def ask(index: SqlIndex, number: int, turn: int = turn) -> Any:
            return index.settings.put(f"s{turn}", str(number), only_if_absent=True)

        values = set(await at_once(several, AT_ONCE, ask))
        assert len(values) == 1
        assert {await several[1].settings.get(f"s{turn}")} == values


async def test_a_bucket_and_a_mirror_made_at_once_are_there_once(several: list[SqlIndex]) -> None:
    made = await at_once(several, AT_ONCE, lambda index, _: index.buckets.create(OTHER, NOW))
    assert sorted(made) == [False] * (AT_ONCE - 1) + [True]
    before = await several[0].settings.version()
    mirror = Mirror("m.example", OTHER, "http://o.example")
    await at_once(several, AT_ONCE, lambda index, _: index.mirrors.put(mirror))
    assert await several[0].mirrors.all() == [mirror]
    assert await several[0].settings.version() == before + AT_ONCE


# -- PostgreSQL: exact interleavings


@pytest.fixture
async def first(postgres: Postgres) -> AsyncIterator[PostgresIndex]:
    """An index with a bucket, whose usage is exact at the end."""
    index = index_at(postgres.fresh(), Path())
    assert isinstance(index, PostgresIndex)
    await index.open()
    await index.buckets.create(BUCKET, NOW)
    yield index
    assert await index.usage_drift() == []
    await index.close()


@asynccontextmanager
async def uncommitted(index: PostgresIndex, call: Callable[..., Any], *args: Any) -> AsyncIterator[None]:
    """A transaction of another process that has done everything but commit; it commits at the end of the block."""
    done, commit = threading.Event(), threading.Event()

    def work(connection: Connection) -> None:
        call(connection, *args)
        done.set()
        commit.wait(60)

    task = asyncio.create_task(index.database.alone(work))
    await asyncio.to_thread(done.wait, 60)
    try:
        yield
    finally:
        commit.set()
        await task


async def waiting(index: PostgresIndex) -> None:
    """Return when some session waits for a lock of another one."""
    async with asyncio.timeout(30):
        while not await index.database.read(_blocked):  # noqa: ASYNC110 - another process tells
            await asyncio.sleep(0.01)


def _blocked(connection: Connection) -> bool:
    asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return bool(connection.exec_driver_sql(asked).scalar())


class Between:
    """A connection that lets something else happen after its first statement."""

    def __init__(self, connection: Connection, then: Callable[[], None]) -> None:
        self._connection = connection
        self._then: Callable[[], None] | None = then

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._connection, name)

        def step(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            then, self._then = self._then, None
            if then is not None:
                then()
            return result

        return step


def from_thread(loop: asyncio.AbstractEventLoop, work: Any) -> Any:
    """Run a coroutine on the test's loop, from a thread of the database."""
    return asyncio.run_coroutine_threadsafe(work, loop).result(60)


async def test_a_fill_is_not_begun_for_a_key_that_lands_meanwhile(first: PostgresIndex) -> None:
    lease = await begin_fill(first, "1")
    await first.landing.plan(lease, plan_for(lease), NOW)
    again = new("2", request_for("k", Kind.FILL))
    async with uncommitted(first, first.landing._sql.publish, lease, NOW, None):
        asking = asyncio.create_task(first.transfers.begin_fill(again, RIVAL, NOW, UNTIL))
        await waiting(first)
    assert await asking == FillSlot(None)
    assert await first.transfers.spooled_ids() == []


async def test_a_fill_is_not_begun_for_a_key_that_landed_between_two_looks(first: PostgresIndex) -> None:
    loop, again = asyncio.get_running_loop(), new("2", request_for("k", Kind.FILL))

    def ask(connection: Connection) -> FillSlot:
        stepping: Any = Between(connection, lambda: from_thread(loop, land(first, "1")))
        return first.transfers._sql.begin_fill(stepping, again, RIVAL, NOW, UNTIL)

    assert await first.database.alone(ask) == FillSlot(None)
    assert await first.transfers.spooled_ids() == []


async def test_a_dead_owners_fill_is_taken_over_by_one(first: PostgresIndex) -> None:
    await begin_fill(first, "1")
    late = UNTIL + 1
    both = [new(name, request_for("k", Kind.FILL)) for name in ("2", "3")]
    async with uncommitted(first, first.transfers._sql.begin_fill, both[0], "a", late, late + 30):
        asking = asyncio.create_task(first.transfers.begin_fill(both[1], "b", late, late + 30))
        await waiting(first)
    assert await asking == FillSlot(None, "a")


async def test_a_dead_holders_key_is_taken_over_by_one(first: PostgresIndex) -> None:
    dead = await begin(first, "1")
    await first.landing.plan(dead, plan_for(dead), NOW)
    one, two = await begin(first, "2"), await begin(first, "3")
    late = UNTIL + 1
    assert await first.transfers.renew([(one, 1, 1), (two, 1, 1)], NOW, late + 30) == []
    async with uncommitted(first, first.landing._sql.plan, one, plan_for(one), late):
        planning = asyncio.create_task(first.landing.plan(two, plan_for(two), late))
        await waiting(first)
    assert await planning is None
    await first.landing.publish(one, late)
    assert await first.landing.plan(two, plan_for(two), late) == 2


async def test_what_is_published_while_it_is_disowned_is_not_removed(first: PostgresIndex) -> None:
    lease, loop = await begin(first, "1"), asyncio.get_running_loop()
    await first.landing.plan(lease, plan_for(lease), NOW)

    def disown(connection: Connection) -> None:
        stepping: Any = Between(connection, lambda: from_thread(loop, first.landing.publish(lease, NOW)))
        first.landing._sql.disown(stepping, first.landing._removals, BUCKET, "k", "id-1.1")

    await first.database.alone(disown)
    assert await removal_versions(first) == []
    record = await first.keys.get(BUCKET, "k")
    assert record is not None
    assert record.store_version == "id-1.1"


async def test_a_claim_passes_a_row_that_another_process_is_claiming(first: PostgresIndex) -> None:
    await first.transfers.create([new("1", request_for("a"))], NOW)
    await first.transfers.create([new("2", request_for("b"))], NOW + 1)
    async with uncommitted(first, first.transfers._leases.claim, RIVAL, NOW + 1, UNTIL):
        taken = await first.transfers.claim(OWNER, NOW + 1, UNTIL)
        assert taken is not None
        assert taken.id == "id-2"
        assert await first.transfers.claim(OWNER, NOW + 1, UNTIL) is None


async def test_a_bucket_is_not_deleted_under_a_transfer_that_is_being_created(first: PostgresIndex) -> None:
    async with uncommitted(first, first.transfers._sql.create, [new("1", request_for("a"))], NOW):
        deleting = asyncio.create_task(first.buckets.delete(BUCKET))
        await waiting(first)
    with pytest.raises(BucketNotEmpty):
        await deleting


async def test_nothing_is_created_in_a_bucket_that_is_being_deleted(first: PostgresIndex) -> None:
    async with uncommitted(first, first._bucket_statements.delete, BUCKET):
        creating = asyncio.create_task(first.transfers.create([new("1", request_for("a"))], NOW))
        await waiting(first)
    with pytest.raises(BucketNotFound):
        await creating


async def test_plans_in_a_bucket_do_not_wait_for_each_other_nor_for_a_publication(first: PostgresIndex) -> None:
    leases = [await begin(first, str(number), f"k{number}") for number in range(3)]
    for lease in leases[:1]:
        await first.landing.plan(lease, plan_for(lease), NOW)
    async with uncommitted(first, first.landing._sql.publish, leases[0], NOW, None):
        async with uncommitted(first, first.landing._sql.plan, leases[1], plan_for(leases[1]), NOW):
            assert await first.landing.plan(leases[2], plan_for(leases[2]), NOW) == 1
        await first.transfers.create([new("more", request_for("more"))], NOW)


async def test_publications_in_a_bucket_add_up(first: PostgresIndex) -> None:
    leases = [await begin(first, str(number), f"k{number}") for number in range(2)]
    for lease in leases:
        await first.landing.plan(lease, plan_for(lease), NOW)
    async with uncommitted(first, first.landing._sql.publish, leases[0], NOW, None):
        publishing = asyncio.create_task(first.landing.publish(leases[1], NOW))
        await waiting(first)
    await publishing
    assert (await first.buckets.get(BUCKET)).keyamount == 2


async def test_a_deletion_and_a_replacement_at_once_leave_one_version_to_remove_each(first: PostgresIndex) -> None:
    await land(first, "1")
    lease = await begin(first, "2")
    await first.landing.plan(lease, plan_for(lease), NOW)
    async with uncommitted(first, first.landing._sql.publish, lease, NOW, None):
        deleting = asyncio.create_task(first.keys.delete(BUCKET, "k", NOW))
        await waiting(first)
    await deleting
    assert await removal_versions(first) == ["id-1.1", "id-2.1"]
    assert (await land(first, "3")).generation == 3


async def test_deadlocks_are_run_again(first: PostgresIndex, postgres: Postgres) -> None:
    for name in ("a", "b"):
        await first.settings.put(name, "0")
    meet = threading.Barrier(2)
    entered: list[str] = []

    def cross(connection: Connection, mine: str, others: str) -> None:
        update = "UPDATE \"CephStorageConfiguration\".settings SET value = value || '1' WHERE name = %(name)s"
        connection.exec_driver_sql(update, {"name": mine})
        entered.append(mine)
        if len(entered) <= 2:
            meet.wait(60)
        connection.exec_driver_sql(update, {"name": others})

    await asyncio.gather(first.database.write(cross, "a", "b"), first.database.write(cross, "b", "a"))
    assert len(entered) == 3
    assert [await first.settings.get(name) for name in ("a", "b")] == ["011", "011"]


async def test_processes_that_start_at_once_on_an_empty_database_make_it_once(postgres: Postgres) -> None:
    url = postgres.fresh()
    indexes = [index_at(url, Path()) for _ in range(6)]
    await asyncio.gather(*(index.open() for index in indexes))
    assert sorted(await asyncio.gather(*(index.buckets.create(BUCKET, NOW) for index in indexes))) == [
        *[False] * 5,
        True,
    ]
    for index in indexes:
        await index.close()
    with psycopg.connect(url) as connection:
        counters = connection.execute('SELECT name FROM "CephStorageConfiguration".counters').fetchall()
    assert sorted(counters) == [("schema",), ("settings",)]
