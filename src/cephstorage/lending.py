"""Something that is exchanged while it is used: the old one is closed when its last user has given it back.

The store (another gateway) and the connections to origins (another guard) both stand on this.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Lent(Generic[T]):
    """``thing`` and how many use it; ``close`` ends it. Belongs on one event loop."""

    def __init__(self, thing: T, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.thing = thing
        self.closing: asyncio.Task[None] | None = None
        self._close = close
        self._users = 0
        self._retired = False

    @property
    def closed(self) -> bool:
        """Whether it has come to its end."""
        return self.closing is not None and self.closing.done()

    def take(self) -> None:
        """One more user."""
        self._users += 1

    def give_back(self) -> None:
        """One user less."""
        self._users -= 1
        self._close_if_left()

    def retire(self) -> None:
        """Nobody takes it any more."""
        self._retired = True
        self._close_if_left()

    def _close_if_left(self) -> None:
        if self._retired and self._users == 0:
            self.close()

    def close(self) -> asyncio.Task[None]:
        """End it now, whoever uses it. Idempotent."""
        if self.closing is None:
            self.closing = asyncio.create_task(self._close())
        return self.closing
