"""Visits: requests that the service itself makes of its mirrors, so that copies come and are confirmed as for any client."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

from cephstorage.domain.mirrors import Mirror

A = TypeVar("A")
T = TypeVar("T")


class Outcome(StrEnum):
    """What a visit came to.

    ``stored``: the copy was there and good. ``fetched``: it is there now. ``confirmed``: the origin said that it is
    still good. ``unstored``: the origin's answer is one that is not kept. ``failed``: there is no good copy, or the
    one that is there could not be confirmed.
    """

    STORED = "stored"
    FETCHED = "fetched"
    CONFIRMED = "confirmed"
    UNSTORED = "unstored"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Visited:
    """The outcome, the bytes of what was fetched, why it failed or is not kept, and the status of the answer, if any."""

    outcome: Outcome
    size: int = 0
    code: str = ""
    msg: str = ""
    status: int = 0


class Visitor(Protocol):
    """Makes visits."""

    async def visit(self, mirror: Mirror, target: str) -> Visited:
        """Ask for a target (path and query) and see to it that its copy has landed. Raises errors of our own parts."""
        ...

    async def read(self, mirror: Mirror, target: str, take: Callable[[bytes], None], most: int) -> None:
        """Hand a body of at most ``most`` bytes on as it comes. Raises TransferError and errors of the tree."""
        ...


async def abreast(work: Callable[[A], Awaitable[T]], items: Iterable[A], most: int) -> list[T]:
    """What ``work`` makes of each item, ``most`` at a time. The first error ends all of them."""
    places = asyncio.Semaphore(most)

    async def one(item: A) -> T:
        async with places:
            return await work(item)

    tasks = [asyncio.create_task(one(item)) for item in items]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Pace:
    """Lets through at most ``rate`` (items, bytes) a second; None: any."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._free_at = 0.0

    async def turn(self, amount: float = 1.0) -> None:
        """Wait until that much may go through."""
        if self._rate is None:
            return
        now = asyncio.get_running_loop().time()
        start = max(now, self._free_at)
        self._free_at = start + amount / self._rate
        await asyncio.sleep(start - now)
