"""Turns at an origin in the moments when two things happen at once: none is ever lost."""

import asyncio
import time

import pytest

from cephstorage.domain.errors import OriginBusy
from cephstorage.origin.turns import Turns


async def in_line(turns: Turns, patience: float) -> asyncio.Task[None]:
    """Somebody who has begun to wait for a turn."""
    waiting = asyncio.create_task(turns.take(patience))
    while turns.waiting == 0:  # noqa: ASYNC110 - a look at every turn of the loop
        await asyncio.sleep(0)
    return waiting


async def test_who_is_cancelled_as_its_turn_comes_passes_it_on() -> None:
    turns = Turns("o", 1, None)
    await turns.take()
    waiting = await in_line(turns, 30)
    turns.give_back()
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    assert turns.running == 0


async def test_a_turn_that_comes_as_patience_ends_is_had_or_passed_on() -> None:
    turns = Turns("o", 1, None)
    await turns.take()
    waiting = await in_line(turns, 0.05)
    asyncio.get_running_loop().call_later(0.04, turns.give_back)
    time.sleep(0.1)  # noqa: ASYNC251 - both are due when the loop goes on, the turn first
    await asyncio.wait({waiting})
    if waiting.exception() is None:
        turns.give_back()
    else:
        assert isinstance(waiting.exception(), OriginBusy)
    assert (turns.running, turns.waiting) == (0, 0)


async def test_who_leaves_the_line_is_passed_over() -> None:
    turns = Turns("o", 1, None)
    await turns.take()
    first, second = await in_line(turns, 30), asyncio.create_task(turns.take(30))
    while turns.waiting < 2:  # noqa: ASYNC110 - a look at every turn of the loop
        await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    assert turns.waiting == 1
    turns.give_back()
    await second
    turns.give_back()
    assert (turns.running, turns.waiting) == (0, 0)


async def test_no_patience_is_no_wait() -> None:
    turns = Turns("o", 1, None)
    await turns.take()
    with pytest.raises(OriginBusy):
        await turns.take(0)
    turns.give_back()
    assert turns.running == 0
