"""Settings of the original: taken where none is set here, secrets sealed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cephstorage.domain.configuration import OPTIONS
from cephstorage.domain.legacy import Kind, LegacySettings
from cephstorage.ports.tables import SettingsTable
from cephstorage.services.configuration import stored_options
from cephstorage.services.legacy.findings import Finding, Line, Outcome, Told
from cephstorage.services.sealing import Seal


@dataclass(slots=True)
class SettingsImport:
    """Imports settings. ``seal`` None: there is no key yet, and a dry run makes none.

    ``taken`` are those of this run, by name, for whoever needs them before they are in force.
    """

    table: SettingsTable
    seal: Seal | None
    environment: Mapping[str, str] = field(repr=False)
    told: Told
    dry_run: bool = False
    taken: dict[str, str] = field(default_factory=dict, repr=False)

    async def take(self, line: Line, settings: LegacySettings) -> None:
        """Import some settings. Raises SecretKeyWrong, DatabaseUnavailable."""
        opened = self.seal.open if self.seal is not None else lambda _, kept: kept
        stored = stored_options(await self.table.all(), self.environment, opened)
        for name, text in settings.values.items():
            there = {**stored, **self.environment, **self.taken}.get(name)
            if there is None:
                await self._put(name, text)
            self._tell(line, name, *_outcome(name, text, there))
        for name in settings.unknown:
            self._tell(line, name, Outcome.REFUSED, "No setting stands for this field; set it by hand if it matters.")

    async def _put(self, name: str, text: str) -> None:
        if not self.dry_run:
            kept = self.seal.seal(name, text) if OPTIONS[name].secret and self.seal is not None else text
            await self.table.put(name, kept, only_if_absent=True)
        self.taken[name] = text

    def _tell(self, line: Line, name: str, outcome: Outcome, msg: str) -> None:
        self.told(Finding(outcome, Kind.SETTING, line.file, line.number, name=name[:100], msg=msg))


def _outcome(name: str, text: str, there: str | None) -> tuple[Outcome, str]:
    if there is None:
        return Outcome.TAKEN, ""
    if there == text:
        return Outcome.KNOWN, ""
    shown = "another value" if OPTIONS[name].secret else repr(there)
    return Outcome.KEPT, f"It is {shown} here, which stays."
