"""An import from its first line to its last."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from cephstorage.domain.errors import CephStorageError, InvalidDocument, SecretKeyWrong, Unavailable
from cephstorage.domain.extended_json import read_document
from cephstorage.domain.legacy import Kind, LegacyKey, LegacyMirror, LegacyProgress, LegacySettings, read_legacy, unread
from cephstorage.domain.names import BucketName
from cephstorage.domain.policy import Rule
from cephstorage.services.legacy.findings import Finding, Line, Outcome, Told, Wishes
from cephstorage.services.legacy.keys import BATCH, KeyImport, Wanted
from cephstorage.services.legacy.settings import SettingsImport
from cephstorage.services.mirrors import MirrorOrder, Mirrors

LONGEST_LINE = 1 << 20
"""Bytes. A document of MongoDB may have 16 MiB; one that describes a key, a mirror or a setting has some hundred."""


@dataclass(frozen=True, slots=True)
class Target:
    """What an import writes to, once the store is open."""

    keys: KeyImport
    mirrors: Mirrors


@dataclass(slots=True)
class LegacyImport:
    """Imports lines. ``open_target`` is called when the first key or mirror comes: the access to Ceph may stand in a
    line before it.
    """

    open_target: Callable[[], Awaitable[Target]]
    settings: SettingsImport
    wishes: Wishes
    told: Told
    _target: Target | None = None

    async def run(self, lines: Iterable[Line], scanned: Sequence[BucketName] = ()) -> None:
        """Import all lines, then look for objects that none of them speaks of.

        ``scanned``: buckets to look through, beside those of the lines. Raises StoreUnavailable, StoreMisconfigured,
        DatabaseUnavailable, SecretKeyWrong; what was done until then stays.
        """
        batch: list[Wanted] = []
        for line in lines:
            try:
                batch += await self._line(line)
            except (Unavailable, SecretKeyWrong):
                raise
            except CephStorageError as error:
                self.told(Finding(Outcome.REFUSED, "line", line.file, line.number, msg=error.msg))
            if len(batch) >= BATCH:
                await self._take(batch)
                batch = []
        await self._take(batch)
        await self._scan(scanned)

    async def _line(self, line: Line) -> list[Wanted]:
        """Do what a line asks for; a key waits for others."""
        if line.text is None:
            raise InvalidDocument(f"The line has more than {LONGEST_LINE} bytes.")
        if not line.text.strip():
            return []
        document = read_document(line.text)
        found = read_legacy(document, line.bucket)
        self.told.note_unread(unread(document))
        match found:
            case LegacyKey():
                return [Wanted(line, found)]
            case LegacyMirror():
                await self._mirror(line, found)
            case LegacyProgress():
                self._progress(line, found)
            case LegacySettings():
                await self.settings.take(line, found)
        return []

    async def _mirror(self, line: Line, wanted: LegacyMirror) -> None:
        mirrors = (await self._opened()).mirrors
        order = MirrorOrder(wanted.host, wanted.origin, str(wanted.bucket), Rule())
        mirror, there = mirrors.ordered(order), mirrors.of_host(wanted.host)
        outcome, msg = Outcome.TAKEN, ""
        if there is not None:
            same = (there.bucket, there.origin) == (mirror.bucket, mirror.origin)
            outcome, msg = (
                (Outcome.KNOWN, "") if same else (Outcome.KEPT, "There is a mirror of this host, which stays.")
            )
        elif not self.wishes.dry_run:
            await mirrors.put(order)
        self.told(Finding(outcome, Kind.MIRROR, line.file, line.number, str(wanted.bucket), wanted.host, msg))

    def _progress(self, line: Line, found: LegacyProgress) -> None:
        """Ended creations are history. Those that have not ended are told, so that they can be asked for anew."""
        msg = "" if found.ended else "It had not ended; create the key again, if the import does not find it."
        outcome = Outcome.PAST if found.ended else Outcome.UNFINISHED
        self.told(Finding(outcome, Kind.PROGRESS, line.file, line.number, name=found.key, msg=msg))

    async def _take(self, batch: Sequence[Wanted]) -> None:
        if batch:
            await (await self._opened()).keys.take(batch)

    async def _scan(self, scanned: Sequence[BucketName]) -> None:
        if self.wishes.unlisted is None or self.wishes.dry_run:
            return
        seen = self._target.keys.seen if self._target is not None else ()
        for bucket in dict.fromkeys((*scanned, *seen)):
            await (await self._opened()).keys.scan(bucket)

    async def _opened(self) -> Target:
        if self._target is None:
            self._target = await self.open_target()
        return self._target
