"""A moving transfer as its readers see it: who may read what, when, and how everybody is told of the end."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from cephstorage.domain.digests import Digest
from cephstorage.domain.errors import OriginBroken
from cephstorage.domain.ranges import Span
from cephstorage.domain.transfers import Lease, SourceFacts
from cephstorage.domain.validators import Validators
from cephstorage.transfer.live import WITHHELD, Flowing, Landed, LiveTransfer
from cephstorage.transfer.spools import SpoolDirectory
from tests.harness.content import MIB, Content
from tests.unit.transfer.conftest import fill_request

BODY = Content(1, MIB)
PROMISE = (Digest("md5", b"\0" * 16),)
ERROR = OriginBroken("The connection ended.")


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[LiveTransfer]:
    spool = SpoolDirectory(tmp_path / "spool", 1 << 40).open("t")
    yield LiveTransfer(fill_request("http://origin.example/k"), Lease("t", "owner", 1), spool)
    spool.close()


def announce(live: LiveTransfer, length: int | None = BODY.size, promised: tuple[Digest, ...] = ()) -> None:
    live.promised = promised
    live.announce(Flowing(SourceFacts("http://origin.example/k", length, '"v"', Validators('"v"'), "text/plain")))


async def put(live: LiveTransfer, start: int, end: int) -> None:
    await live.spool.put(start, BODY.read(start, end))
    live.put(start, end - start)


async def waiting(work: Any) -> "asyncio.Task[Any]":
    """A task that has come as far as it can without anything happening to the transfer."""
    task = asyncio.ensure_future(work)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    return task


# -- reading along


async def test_a_reader_gets_bytes_as_they_come_and_then_the_end(live: LiveTransfer) -> None:
    announce(live)
    first = await waiting(live.read(0, 100))
    await put(live, 0, 50)
    assert await first == BODY.read(0, 50)
    assert live.read_now(0, 10) in (None, BODY.read(0, 10))
    assert live.read_now(50, 10) is None
    second = await waiting(live.read(50, MIB))
    await put(live, 50, MIB)
    assert await second == BODY.read(50)
    assert await live.read(MIB, 10) == b""
    assert live.read_now(MIB, 10) == b""
    assert live.complete


async def test_readers_far_ahead_say_what_they_need_and_get_it_before_the_front(live: LiveTransfer) -> None:
    announce(live)
    wanted: list[Span] = []
    live.want = wanted.append
    reader = await waiting(live.read(900_000, 1000, 900_500))
    to_the_end = await waiting(live.read(800_000, 1000))
    assert wanted == [Span(900_000, 900_500), Span(800_000, MIB)]
    await put(live, 900_000, 900_500)
    assert await reader == BODY.read(900_000, 900_500)
    assert live.front == 0
    to_the_end.cancel()
    await asyncio.wait({to_the_end})


async def test_a_reader_at_a_gap_gets_what_lies_before_it(live: LiveTransfer) -> None:
    announce(live)
    await put(live, 0, 100)
    await put(live, 200, 300)
    assert await live.read(50, 1000) == BODY.read(50, 100)
    assert await live.read(250, 1000) == BODY.read(250, 300)
    assert live.read_now(150, 10) is None
    assert live.front == 100


# -- the withheld end


async def test_the_end_is_withheld_until_the_digests_are_right(live: LiveTransfer) -> None:
    announce(live, promised=PROMISE)
    await put(live, 0, MIB)
    edge = MIB - WITHHELD
    assert await live.read(0, 2 * MIB) == BODY.read(0, edge)
    reader = await waiting(live.read(edge, MIB))
    past_the_end = await waiting(live.read(MIB, 1))
    assert live.read_now(edge, 1) is None
    assert live.read_now(MIB, 1) is None
    live.settle()
    assert await reader == BODY.read(edge)
    assert await past_the_end == b""


async def test_a_tail_that_came_first_is_withheld_too(live: LiveTransfer) -> None:
    announce(live, promised=PROMISE)
    await put(live, MIB - 10, MIB)
    reader = await waiting(live.read(MIB - 10, 10))
    await put(live, 0, MIB - 10)
    assert not reader.done()
    live.settle()
    assert await reader == BODY.read(MIB - 10)


@pytest.mark.parametrize("length", [0, 1, WITHHELD])
async def test_of_a_small_promised_object_nothing_is_shown_before(live: LiveTransfer, length: int) -> None:
    announce(live, length, PROMISE)
    await put(live, 0, length)
    reader = await waiting(live.read(0, MIB))
    live.settle()
    assert await reader == BODY.read(0, length)


async def test_with_an_unknown_length_the_newest_bytes_are_withheld(live: LiveTransfer) -> None:
    announce(live, None, PROMISE)
    await put(live, 0, WITHHELD + 100)
    assert await live.read(0, MIB) == BODY.read(0, 100)
    reader = await waiting(live.read(100, MIB))
    await put(live, WITHHELD + 100, WITHHELD + 150)
    assert await reader == BODY.read(100, 150)
    live.measured(WITHHELD + 150)
    assert live.complete
    last = await waiting(live.read(150, MIB))
    live.settle()
    assert await last == BODY.read(150, WITHHELD + 150)


async def test_without_a_promise_an_unknown_length_ends_when_it_is_measured(live: LiveTransfer) -> None:
    announce(live, None)
    await put(live, 0, 100)
    assert await live.read(0, MIB) == BODY.read(0, 100)
    assert not live.complete
    reader = await waiting(live.read(100, MIB))
    live.measured(100)
    assert await reader == b""
    assert live.complete


# -- failure


async def test_failure_before_the_answer_reaches_everybody_who_waits_for_it(live: LiveTransfer) -> None:
    heads = [await waiting(live.head()) for _ in range(10)]
    assert not live.answered
    live.failed(ERROR)
    assert await asyncio.gather(*heads, return_exceptions=True) == [ERROR] * 10
    assert live.answered
    for wait in (live.head, live.ended):
        with pytest.raises(OriginBroken):
            await wait()


async def test_who_waits_for_the_answer_of_a_transfer_that_is_found_stored_is_told(live: LiveTransfer) -> None:
    """Its owner died between the store and the index: nobody asks the origin any more."""
    reader = await waiting(live.head())
    live.landed(None)
    assert isinstance(await reader, Landed)
    assert isinstance(await live.head(), Landed)


async def test_failure_in_the_middle_comes_after_the_bytes_that_are_there(live: LiveTransfer) -> None:
    announce(live)
    await put(live, 0, 100)
    reader = await waiting(live.read(100, 10))
    live.failed(ERROR)
    with pytest.raises(OriginBroken):
        await reader
    assert await live.read(0, 1000) == BODY.read(0, 100)
    with pytest.raises(OriginBroken):
        live.read_now(100, 1)
    assert isinstance(await live.head(), Flowing)


async def test_failure_before_verification_never_shows_the_end(live: LiveTransfer) -> None:
    announce(live, promised=PROMISE)
    await put(live, 0, MIB)
    reader = await waiting(live.read(MIB - WITHHELD, MIB))
    live.failed(ERROR)
    with pytest.raises(OriginBroken):
        await reader
    with pytest.raises(OriginBroken):
        await live.read(MIB, 1)


async def test_failure_after_verification_does_not_hurt_readers(live: LiveTransfer) -> None:
    announce(live, promised=PROMISE)
    await put(live, 0, MIB)
    live.settle()
    live.failed(ERROR)
    assert await live.read(MIB - WITHHELD, MIB) == BODY.read(MIB - WITHHELD)
    assert await live.read(MIB, 1) == b""
    with pytest.raises(OriginBroken):
        await live.ended()


# -- many and leaving waiters


@pytest.mark.parametrize("end", [lambda live: live.landed(None), lambda live: live.failed(ERROR)])
async def test_many_waiters_see_every_byte_while_others_leave(
    live: LiveTransfer, end: Callable[[LiveTransfer], None]
) -> None:
    announce(live)

    async def follow(start: int) -> bytes:
        body = b""
        while piece := await live.read(start + len(body), 70_000):
            body += piece
        return body

    starts = [number * 5000 for number in range(100)]
    readers = [asyncio.create_task(follow(start)) for start in starts]
    for position in range(0, MIB, MIB // 8):
        await put(live, position, position + MIB // 8)
        leaving = readers.pop()
        starts.pop()
        leaving.cancel()
        await asyncio.wait({leaving})
    end(live)
    assert await asyncio.gather(*readers) == [BODY.read(start) for start in starts]


async def test_a_waiter_that_leaves_takes_nobody_along(live: LiveTransfer) -> None:
    leaves, stays = await waiting(live.head()), await waiting(live.head())
    end_leaves, end_stays = await waiting(live.ended()), await waiting(live.ended())
    for task in (leaves, end_leaves):
        task.cancel()
        await asyncio.wait({task})
    announce(live)
    assert isinstance(await stays, Flowing)
    live.landed(None)
    assert await end_stays is None


async def test_the_first_answer_and_the_first_end_stand(live: LiveTransfer) -> None:
    announce(live)
    first = await live.head()
    announce(live, 5)
    assert await live.head() is first
    live.landed(None)
    live.failed(ERROR)
    assert await live.ended() is None


async def test_nobody_sees_holes(live: LiveTransfer) -> None:
    """Every published byte is right, whatever lies around it in the sparse file."""
    announce(live)
    await put(live, 500_000, 500_100)
    assert os.fstat(live.spool.file()).st_size == 500_100
    assert live.read_now(499_999, 10) is None
    assert await live.read(500_000, MIB) == BODY.read(500_000, 500_100)
