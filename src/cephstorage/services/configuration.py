"""The options in force: from the environment, else from the database, else the default; changed while we run.

A change is checked as a whole, tried out and only then stored; every process learns of it by the counter of
changes and takes it over as a whole: everything that follows from it is prepared first, then put in place
at once. What can't be prepared leaves the old values in force, and readiness says so.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog

from cephstorage.domain.configuration import OPTIONS, Option, Source, Values, check_together, option
from cephstorage.domain.errors import CephStorageError, Conflict, SettingFixed, Unavailable
from cephstorage.ports.tables import SettingsTable
from cephstorage.services.sealing import SealedSettings

log = structlog.get_logger()
_TRIES = 10


def stored_options(kept: Mapping[str, str], environment: Values, opened: Callable[[str, str], str]) -> dict[str, str]:
    """The options among the kept settings that the environment does not fix. Raises SecretKeyWrong, InvalidSetting."""
    wanted = {name: text for name, text in kept.items() if name in OPTIONS and name not in environment}
    plain = {name: opened(name, text) if OPTIONS[name].secret else text for name, text in wanted.items()}
    return {name: option(name).checked(text) for name, text in plain.items()}


def merged(stored: Mapping[str, str], environment: Values) -> dict[str, str]:
    """The values in force: from the environment, else from the database, else the default."""
    return {**{name: known.default for name, known in OPTIONS.items()}, **stored, **environment}


class Follower(Protocol):
    """Whatever follows from the values: the store, the spool, the guard."""

    async def try_out(self, values: Values, changed: frozenset[str], *, ask: bool) -> str | None:
        """Try what ``changed``, as far as this machine goes, or (``ask``) ask the other side, too; what it saw.

        Raises SettingUntenable.
        """
        ...

    async def prepare(self, values: Values) -> Callable[[], None]:
        """Make ready what follows from the values; the result puts it in place. Raises SettingUntenable."""
        ...


@dataclass(frozen=True, slots=True)
class Shown:
    """An option as it may be shown: ``value`` is None for a secret and for what is not set."""

    option: Option
    value: str | None
    source: Source
    given: bool

    @property
    def fixed(self) -> bool:
        """Whether only the environment can change it."""
        return self.source is Source.ENVIRONMENT


class Configuration:
    """Knows the options and changes them. ``environment`` holds those that are fixed by it."""

    def __init__(
        self, table: SettingsTable, sealed: SealedSettings, environment: Values, follower: Follower, *, on_ceph: bool
    ) -> None:
        self._table = table
        self._sealed = sealed
        self._environment = environment
        self._follower = follower
        self._on_ceph = on_ceph
        self._stored: Mapping[str, str] = {}
        self._values: Values = self._merged({})
        self._in_force: Values | None = None
        self._fault: CephStorageError | None = None
        self._taking_over = asyncio.Lock()

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    @property
    def values(self) -> Values:
        """Every option's value."""
        return self._values

    def shown(self) -> list[Shown]:
        """Every option, without secrets."""
        return [self._shown(known) for known in OPTIONS.values()]

    def _shown(self, known: Option) -> Shown:
        value = self._values[known.name]
        return Shown(known, value if value and not known.secret else None, self._source(known.name), bool(value))

    def _source(self, name: str) -> Source:
        if name in self._environment:
            return Source.ENVIRONMENT
        return Source.DATABASE if name in self._stored else Source.DEFAULT

    async def refresh(self) -> None:
        """Take over what is stored. Raises SecretKeyWrong, InvalidSetting, SettingUntenable: the old values stay.

        A database that does not answer is no fault of the values.
        """
        async with self._taking_over:
            try:
                stored = self._read(await self._table.all())
                values = self._merged(stored)
                put_in_place = None if values == self._in_force else await self._follower.prepare(values)
            except Unavailable:
                raise
            except CephStorageError as error:
                self._fault = error
                raise
            self._stored, self._values, self._in_force, self._fault = stored, values, values, None
            if put_in_place is not None:
                put_in_place()
                log.info("settings_taken_over", names=sorted(stored))

    def _read(self, kept: Mapping[str, str]) -> dict[str, str]:
        return stored_options(kept, self._environment, self._sealed.opened)

    def _merged(self, stored: Mapping[str, str]) -> dict[str, str]:
        return merged(stored, self._environment)

    async def check(self) -> str:
        """One line for ``/readyz``. Raises what keeps the stored values from being in force."""
        if self._fault is not None:
            raise self._fault
        sources = [shown.source for shown in self.shown()]
        return f"{sources.count(Source.ENVIRONMENT)} from the environment, {sources.count(Source.DATABASE)} from the database"

    async def change(self, wishes: Mapping[str, str | None], *, probe: bool) -> str | None:
        """Set options, or take them back to their default (None), all or none; what the trial saw.

        ``probe`` False does not ask the other side, which may be down. Raises InvalidSetting, SettingFixed,
        SettingUntenable, SecretKeyWrong.
        """
        wanted = {
            name: None if text is None else option(name).checked(text) for name, text in self._free(wishes).items()
        }
        for _ in range(_TRIES):
            version = await self._table.version()
            others = {name: text for name, text in (await self._table.all()).items() if name not in wanted}
            seen = await self._tried(wanted, self._read(others), probe=probe)
            kept = {name: self._kept(name, text) for name, text in wanted.items()}
            if not kept or await self._table.change(kept, version):
                log.info("settings_changed", names=sorted(kept))
                await self.refresh()
                return seen
        raise Conflict("The settings are being changed by others all the time; try again.", retry_after=1)

    def _free(self, wishes: Mapping[str, str | None]) -> Mapping[str, str | None]:
        for name in wishes:
            if option(name).name in self._environment:
                raise SettingFixed(
                    f"{name} is fixed by {option(name).variable} in the environment, which wins over the database; "
                    "change it there and restart, or unset the variable."
                )
        return wishes

    async def _tried(self, wanted: Mapping[str, str | None], others: Mapping[str, str], *, probe: bool) -> str | None:
        """See whether the values to be would work. Raises InvalidSetting, SettingUntenable."""
        to_be = {name: text for name, text in wanted.items() if text is not None}
        values = self._merged({**others, **to_be})
        check_together(values, on_ceph=self._on_ceph)
        changed = frozenset(name for name in values if values[name] != self._values[name])
        return await self._follower.try_out(values, changed, ask=probe)

    def _kept(self, name: str, text: str | None) -> str | None:
        return self._sealed.sealed(name, text) if text is not None and OPTIONS[name].secret else text
