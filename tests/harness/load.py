"""Load: clients that do the same things again and again while a test lets the parts of an installation die."""

import http.client
import itertools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event

from tests.harness.patience import until

ROUND = 4
_COMES_BACK = 0.3
_PATIENCE = 180.0
"""A deed may wait for several timeouts of parts that are dead."""


class Load:
    """Clients that go on until they are told to end; each counts its deeds and keeps what went wrong.

    ``pace``: seconds that a client takes between two deeds.
    """

    def __init__(self, pool: ThreadPoolExecutor, pace: float = 0.0) -> None:
        self._pool = pool
        self._pace = pace
        self._end = Event()
        self.done: dict[str, int] = {}
        self.wrong: list[str] = []
        self._running: list[Future[None]] = []

    def keep(self, name: str, deed: Callable[[int], bool | None]) -> None:
        """Do the deed again and again; one that was refused (False) comes back a little later."""
        self.done[name] = 0
        self._running.append(self._pool.submit(self._loop, name, deed))

    def _loop(self, name: str, deed: Callable[[int], bool | None]) -> None:
        for number in itertools.count():
            if self._end.is_set():
                return
            try:
                done = deed(number)
                self._end.wait(_COMES_BACK if done is False else self._pace)
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.wrong.append(f"{name} {number}: {error!r}")
            self.done[name] += 1

    def a_round(self, deeds: int = ROUND) -> None:
        """Wait until every client has done some more deeds."""
        before = dict(self.done)
        until(lambda: all(self.done[name] >= before[name] + deeds for name in before), seconds=_PATIENCE)

    def end(self) -> None:
        """Let them finish what they do."""
        self._end.set()
        for one in self._running:
            one.result()
