"""A breaker before a database: while it is gone, callers are told so at once instead of waiting each in turn.

closed ──failure──> open ──after a pause──> one caller may try ──success──> closed
^                           │
└────────failure────────────┘
"""

import threading
import time
from collections.abc import Callable

import structlog

from cephstorage.domain.errors import DatabaseUnavailable

log = structlog.get_logger()

_PAUSE = 0.5
_RETRY_AFTER = 2.0


def unavailable(retry_after: float = _RETRY_AFTER) -> DatabaseUnavailable:
    """What callers are told. The log says where the database is and what it said; clients need not know."""
    return DatabaseUnavailable("The database does not answer; the service's log says why.", retry_after=retry_after)


class Breaker:
    """Thread-safe. ``name`` is the database's in the log; ``attempt`` the seconds that a try may take."""

    def __init__(self, name: str, attempt: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._attempt = attempt
        self._clock = clock
        self._lock = threading.Lock()
        self._why = ""
        self._since = 0.0
        self._next = 0.0
        self.trips = 0
        """How often it has tripped. What was begun before the last time is not to be trusted."""

    def enter(self) -> int:
        """``trips`` now, for a call that may begin. Raises DatabaseUnavailable while the database is gone."""
        with self._lock:
            if self._why:
                now = self._clock()
                if now < self._next:
                    raise unavailable()
                self._next = now + self._attempt
            return self.trips

    def check(self, entered: int) -> None:
        """Raise DatabaseUnavailable when it has tripped since a call entered."""
        with self._lock:
            if self._why and self.trips != entered:
                raise unavailable()

    def trip(self, why: str) -> None:
        """Note that the database is gone, for a reason that the operator will read."""
        with self._lock:
            now = self._clock()
            first, self._why = not self._why, why
            self._next = now + _PAUSE
            self.trips += 1
            if first:
                self._since = now
        if first:
            log.error("database_lost", database=self._name, msg=why)

    def mend(self) -> None:
        """Note that the database answers."""
        if not self._why:
            return
        with self._lock:
            gone, self._why = self._clock() - self._since, ""
        log.warning("database_back", database=self._name, seconds_gone=round(gone, 1))
