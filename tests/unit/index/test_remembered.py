"""What is remembered of keys is never older than the last commit before the question, whatever is committed meanwhile."""

import asyncio

import pytest

from cephstorage.domain.names import BucketName
from cephstorage.domain.records import Record
from cephstorage.index import remembered
from cephstorage.index.remembered import RememberedKeys

BUCKET = BucketName("alice", "photos")
OLD = Record(BUCKET, "k", 5.0, "a" * 32, "text/plain", 9, 1, None, None, "a.1", "upload", 5.0)
NEW = Record(BUCKET, "k", 6.0, "b" * 32, "text/plain", 9, 2, None, None, "b.1", "upload", 6.0)


class Table:
    """One key in a database; ``held`` are readers that have looked and not come back yet."""

    def __init__(self) -> None:
        self.version = 1
        self.record: Record | None = None
        self.asked = 0
        self.held: asyncio.Event | None = None

    async def get(self, bucket: BucketName, key: str) -> Record | None:
        self.asked += 1
        seen = self.record
        if self.held is not None:
            await self.held.wait()
        return seen

    def commit(self, record: Record | None) -> None:
        self.record, self.version = record, self.version + 1


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def keys(table: Table) -> RememberedKeys:
    return RememberedKeys(table, lambda: table.version)  # type: ignore[arg-type]


@pytest.mark.parametrize(("before", "after"), [(None, NEW), (OLD, NEW), (OLD, None)])
async def test_what_a_slow_reader_brings_is_not_remembered_after_a_commit(
    keys: RememberedKeys, table: Table, before: Record | None, after: Record | None
) -> None:
    table.record, table.held = before, asyncio.Event()
    slow = asyncio.create_task(keys.get(BUCKET, "k"))
    await asyncio.sleep(0)
    table.commit(after)
    held, table.held = table.held, None
    assert await keys.get(BUCKET, "k") == after
    held.set()
    assert await slow == before
    assert await keys.get(BUCKET, "k") == after
    assert table.asked == 2


@pytest.mark.parametrize("record", [None, OLD])
async def test_the_database_is_asked_once_until_something_is_committed(
    keys: RememberedKeys, table: Table, record: Record | None
) -> None:
    table.record = record
    assert {await keys.get(BUCKET, "k") for _ in range(3)} == {record}
    assert table.asked == 1
    table.version += 1
    assert await keys.get(BUCKET, "k") == record
    assert table.asked == 2


async def test_names_of_nothing_fill_no_memory(
    keys: RememberedKeys, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "_MOST", 3)
    for number in range(9):
        assert await keys.get(BUCKET, str(number)) is None
        assert await keys.get(BUCKET, "k") is None
    assert table.asked > 9 + 1
