"""Records as they were last seen: asked strictly while the database answers, remembered when it does not."""

import asyncio

import pytest

from cephstorage.domain.errors import DatabaseUnavailable
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import ListQuery, Page, Record
from cephstorage.index.last_known import LastKnownKeys

BUCKET = BucketName("alice", "photos")


def record(key: str, generation: int = 1) -> Record:
    return Record(BUCKET, key, 1.0, "0" * 32, "text/plain", 1, generation, None, None, "v", "upload", 1.0)


class Database:
    """An index that can be taken away, made slow, or changed by others."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.gone = False
        self.answer: asyncio.Event | None = None

    async def get(self, _: BucketName, key: str) -> Record | None:
        found = self.records.get(key)
        if self.answer is not None:
            await self.answer.wait()
        if self.gone:
            raise DatabaseUnavailable("gone")
        return found

    async def listing(self, _: BucketName, __: ListQuery) -> Page:
        raise DatabaseUnavailable("gone")

    async def delete(self, _: BucketName, key: str, __: float) -> None:
        if self.gone:
            raise DatabaseUnavailable("gone")
        del self.records[key]

    async def touch(self, *_: object) -> None:
        raise DatabaseUnavailable("gone")


async def test_the_database_is_asked_each_time_and_remembered_only_when_it_fails() -> None:
    database = Database()
    keys = LastKnownKeys(database)
    for generation in (1, 2):
        database.records["k"] = record("k", generation)
        assert await keys.get(BUCKET, "k") == record("k", generation)
    database.gone = True
    assert await keys.get(BUCKET, "k") == record("k", 2)
    with pytest.raises(DatabaseUnavailable):
        await keys.get(BUCKET, "unknown")
    database.gone = False
    del database.records["k"]
    assert await keys.get(BUCKET, "k") is None
    database.gone = True
    with pytest.raises(DatabaseUnavailable):
        await keys.get(BUCKET, "k")


async def test_what_stands_in_says_that_it_may_be_outdated() -> None:
    database = Database()
    keys = LastKnownKeys(database)
    database.records["k"] = record("k")
    confirmed = await keys.get(BUCKET, "k")
    database.gone = True
    assumed = await keys.get(BUCKET, "k")
    assert confirmed is not None
    assert assumed is not None
    assert (confirmed.current, assumed.current) == (True, False)


async def test_a_silent_database_is_not_waited_for_when_the_record_is_known() -> None:
    database = Database()
    keys = LastKnownKeys(database, patience=0.01)
    database.records["k"] = record("k")
    await keys.get(BUCKET, "k")
    database.answer = asyncio.Event()
    assert await keys.get(BUCKET, "k") == record("k")


async def test_only_so_many_are_remembered_and_the_longest_unused_goes_first() -> None:
    database = Database()
    keys = LastKnownKeys(database, most=2)
    for name in ("a", "b", "a", "c"):
        database.records[name] = record(name)
        await keys.get(BUCKET, name)
    database.gone = True
    assert await keys.get(BUCKET, "a") == record("a")
    assert await keys.get(BUCKET, "c") == record("c")
    with pytest.raises(DatabaseUnavailable):
        await keys.get(BUCKET, "b")


async def test_what_was_deleted_here_is_not_remembered_by_a_slow_answer() -> None:
    database = Database()
    keys = LastKnownKeys(database)
    database.records["k"] = record("k")
    database.answer = asyncio.Event()
    asking = asyncio.create_task(keys.get(BUCKET, "k"))
    await asyncio.sleep(0)
    await keys.delete(BUCKET, "k", 1.0)
    database.answer.set()
    assert await asking == record("k")
    database.gone = True
    with pytest.raises(DatabaseUnavailable):
        await keys.get(BUCKET, "k")


async def test_a_delete_that_failed_forgets_nothing() -> None:
    database = Database()
    keys = LastKnownKeys(database)
    database.records["k"] = record("k")
    await keys.get(BUCKET, "k")
    database.gone = True
    with pytest.raises(DatabaseUnavailable):
        await keys.delete(BUCKET, "k", 1.0)
    assert await keys.get(BUCKET, "k") == record("k")
