"""Remembers what origins said is not there, in this process and within bounds.

Clients ask again and again for what does not exist (a build tool tries each of its repositories for each file). A mirror
that was replaced has nothing of this, and a purge makes every process forget all of it: asking again costs little.
"""

from collections import OrderedDict
from collections.abc import Callable

from cephstorage.domain.absences import LARGEST_BODY, Absence
from cephstorage.domain.mirrors import Mirror
from cephstorage.ports.tables import SettingsTable

MOST = 10_000
MOST_BYTES = 16 << 20
_SIGNAL = "absences_forgotten"
_Name = tuple[str, float, str]


class Absences:
    """Absent targets by mirror (as it was when they were asked for) and canonical target; the oldest are forgotten first."""

    def __init__(self, settings: SettingsTable, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._known: OrderedDict[_Name, Absence] = OrderedDict()
        self._bytes = 0
        self._purged = ""

    def remember(self, mirror: Mirror, target: str, absence: Absence) -> None:
        """Keep an answer, if it is small."""
        if len(absence.body) > LARGEST_BODY:
            return
        name = (mirror.host, mirror.created_at, target)
        self._drop(name)
        self._known[name] = absence
        self._bytes += _weight(absence)
        while len(self._known) > MOST or self._bytes > MOST_BYTES:
            self._drop(next(iter(self._known)))

    def find(self, mirror: Mirror, target: str) -> Absence | None:
        """The answer to repeat now."""
        name = (mirror.host, mirror.created_at, target)
        found = self._known.get(name)
        if found is not None and found.until <= self._clock():
            self._drop(name)
            return None
        return found

    def forget(self, mirror: Mirror, target: str) -> None:
        """Forget what was said of one target, in this process; the others forget it when its time is over."""
        self._drop((mirror.host, mirror.created_at, target))

    def _drop(self, name: _Name) -> None:
        if (gone := self._known.pop(name, None)) is not None:
            self._bytes -= _weight(gone)

    async def refresh(self) -> None:
        """Forget everything if somebody has purged. Raises DatabaseUnavailable."""
        self._forget(await self._settings.get(_SIGNAL) or "")

    async def forget_everywhere(self) -> None:
        """Forget everything here at once, and in every other process within a moment. Raises DatabaseUnavailable."""
        self._forget(repr(self._clock()))
        await self._settings.put(_SIGNAL, self._purged)

    def _forget(self, purged: str) -> None:
        if purged != self._purged:
            self._purged = purged
            self._known.clear()
            self._bytes = 0


def _weight(absence: Absence) -> int:
    return len(absence.body) + sum(len(name) + len(value) for name, value in absence.headers)
