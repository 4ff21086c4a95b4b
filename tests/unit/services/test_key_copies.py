"""How long an answer waits for a copy."""

import asyncio
from pathlib import Path
from typing import Any

from cephstorage.domain.errors import StoreUnavailable
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import Record
from cephstorage.index import index_at
from cephstorage.services.key_copies import CopyOrder, CopyUnderWay, KeyCopies

BUCKET = BucketName("alice", "photos")
SOURCE = Record(BUCKET, "a", 1.0, "0" * 32, "text/plain", 5, 1, None, None, "id.1", "upload", 1.0)


class Slow:
    """An engine whose copies end when they are told to, and purges that count how often they were woken."""

    def __init__(self) -> None:
        self.end: asyncio.Future[Record] = asyncio.get_running_loop().create_future()
        self.woken = 0

    async def copy(self, *_: object) -> tuple[str, asyncio.Future[Record]]:
        return "token", self.end

    def wake(self) -> None:
        self.woken += 1

    async def settle(self, *_: object) -> None:
        return


async def test_a_copy_that_takes_long_is_answered_with_its_token_and_goes_on(tmp_path: Path) -> None:
    index = index_at("", tmp_path / "cephstorage.db")
    await index.open()
    await index.buckets.create(BUCKET, 1.0)
    await index.adoption.adopt(BUCKET, [SOURCE])
    for outcome in (SOURCE, StoreUnavailable("The store does not answer.")):
        slow: Any = Slow()
        made = await KeyCopies(index.keys, index.buckets, slow, slow, lambda: 1.0, wait=0.0).make(
            BUCKET, CopyOrder(BUCKET, "a", "b")
        )
        assert made == CopyUnderWay("token")
        assert not slow.end.cancelled()
        if isinstance(outcome, Record):
            slow.end.set_result(outcome)
        else:
            slow.end.set_exception(outcome)
            slow.end.exception()
        await asyncio.sleep(0)
        assert slow.woken == 1
    await index.close()
