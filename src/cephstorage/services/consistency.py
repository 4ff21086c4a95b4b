"""One key is held against the store, and what does not agree is mended, followed, or noted.

    index ──> store ──> index again ──> judge ──> act

What the store shows is believed only together with what the index knew before and after it was asked. Each change
looks again in its own transaction. So a check may be made at any time, of any key, by anybody, any number of times.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from cephstorage.domain.consistency import Graces, Judgement, Known, Policy, Seen, Verdict, agrees, judge, transfer_of
from cephstorage.domain.errors import QuotaExceeded, StoredBytesMissing, StoreUnavailable
from cephstorage.domain.findings import MOST_FINDINGS, Done, Finding, FindingKind
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import Record
from cephstorage.ports.consistency import ConsistencyIndex, FindingTable
from cephstorage.ports.store import Store, StoredObject
from cephstorage.services.purges import Purges
from cephstorage.services.rehash import MEANING, MISSING, Rehash
from cephstorage.services.repairs import Repairs
from cephstorage.services.visits import Pace
from cephstorage.transfer.description import record_of

log = structlog.get_logger()

_TRIES = 3
_RECHECKED = 20
_RECHECK_AFTER = 60.0
_WELL = frozenset({Verdict.FINE, Verdict.LEFTOVER})
_LOOKS = frozenset({"damaged", "hidden", "unknown"})
"""Actions that come again with every look, as long as nobody does something about it."""


@dataclass(frozen=True, slots=True)
class Checked:
    """The verdict on a key, and what was done: a word that is counted, empty for nothing."""

    verdict: Verdict
    action: str = ""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is left alone, and what is done about other clients' doings. Seconds."""

    grace: float = 86400.0
    policy: Policy = Policy.ADOPT

    def graces(self, *, hinted: bool) -> Graces:
        """Who is told of a change need not wait: only what our own transfers leave behind has to be old."""
        return Graces(0.0 if hinted else self.grace, self.grace)


@dataclass(slots=True)
class Consistency:
    """Checks keys. ``removed`` is called when bytes may be removed; ``count`` hears of every action."""

    index: ConsistencyIndex
    findings: FindingTable
    store: Store
    rehash: Rehash
    repairs: Repairs
    purges: Purges
    bounds: Bounds
    clock: Callable[[], float]
    removed: Callable[[], None]
    count: Callable[[str], None] = lambda _: None

    async def check(self, bucket: BucketName, key: str, *, hinted: bool = False, mend: bool = True) -> Checked:
        """Look at a key and act. ``hinted``: somebody says that a client of the store changed it just now.

        ``mend`` False: nothing is brought anew, it is only seen whether that has helped. Raises StoreUnavailable,
        DatabaseUnavailable, BucketNotFound.
        """
        seen = await self._look(bucket, key)
        if seen is None:
            return Checked(Verdict.PASSING)
        known, versions = seen
        graces = self.bounds.graces(hinted=hinted)
        found = judge(known, versions, self.clock(), graces, self.bounds.policy, hinted=hinted)
        if found.verdict in _WELL and known.record is not None and await self._is_unsound(known.record):
            if known.coming or not mend:  # only reading the bytes again tells, which is for those who ask for it
                return Checked(Verdict.PASSING) if known.coming else Checked(Verdict.DIFFERS, "damaged")
            found = Judgement(Verdict.DIFFERS, found.version)
        removed = await self._remove(bucket, key, found)
        action = await self._act(bucket, key, known, versions, found, mend=mend) or removed
        if action and (mend or action not in _LOOKS):
            self.count(action)
            say = log.warning if action == "damaged" else log.info
            say("key_checked", action=action, bucket=str(bucket), key=key, verdict=found.verdict.value)
        return Checked(found.verdict, action)

    async def _look(self, bucket: BucketName, key: str) -> tuple[Known, tuple[Seen, ...]] | None:
        """What both show of a key while its record stays the same; None when it does not stay."""
        before = (await self.index.known(bucket, [key]))[key]
        for _ in range(_TRIES):
            versions = tuple(await self.store.versions(bucket, key))
            transfers = sorted({transfer_of(each.store_version) for each in versions if not each.foreign} - {""})
            after = (await self.index.known(bucket, [key], transfers))[key]
            if _version(before.record) == _version(after.record):
                known = replace(after, leaving=before.leaving | after.leaving, coming=before.coming | after.coming)
                return replace(known, kept=before.kept | after.kept), versions
            before = after
        return None

    async def _remove(self, bucket: BucketName, key: str, found: Judgement) -> str:
        """Have leftovers removed, but for what was laid aside to be looked at by a person."""
        names = [each.store_version for each in found.leftovers]
        finding = await self.findings.get(bucket, key) if names else None
        if finding is not None and finding.kind is FindingKind.QUARANTINED:
            return ""
        if not names or not await self.index.release(bucket, key, names):
            return ""
        self.removed()
        return "removed"

    async def _act(
        self,
        bucket: BucketName,
        key: str,
        known: Known,
        versions: tuple[Seen, ...],
        found: Judgement,
        *,
        mend: bool,
    ) -> str:
        """What follows from a verdict."""
        record, version = known.record, found.version
        if found.verdict in _WELL:
            hidden = record is None and versions and versions[0].marker and not all(each.marker for each in versions)
            return await self._mended(bucket, key, unless=FindingKind.QUARANTINED if hidden else None)
        if found.verdict is Verdict.MISSING and record is not None:
            await self.require(bucket)
            return await self._bring(record, MISSING, shown=True, mend=mend)
        if found.verdict is Verdict.DIFFERS and record is not None:
            return await self._read(record, shown=version is not None and not agrees(record, version), mend=mend)
        if found.verdict is Verdict.HIDDEN and record is not None:
            return await self._follow_deletion(record, found)
        if found.verdict is Verdict.UNKNOWN and version is not None:
            return await self._take(bucket, key, record, version, found)
        return ""

    async def require(self, bucket: BucketName) -> None:
        """See to it that the store has the bucket: else it is the store that is wrong, not each of its keys.

        Raises StoreUnavailable.
        """
        if bucket not in await self.store.buckets():
            msg = f"The store has no bucket {bucket}: nothing is mended. See whether it is the right store, and all there."
            raise StoreUnavailable(msg)

    async def look_again(self) -> None:
        """See whether findings have been mended, those first that were looked at longest ago.

        Each goes to the end of the queue first: one that can't be looked at keeps none waiting.
        """
        for finding in await self.findings.oldest(self.clock() - _RECHECK_AFTER, _RECHECKED):
            await self._note(replace(finding, seen_at=self.clock()))
            await self.check(finding.bucket, finding.key, mend=False)

    async def damaged(self, record: Record, fault: str, *, mend: bool = True) -> str:
        """The bytes of a record have been read and are not what they should be: what was done. Raises StoreUnavailable."""
        if fault == MISSING:
            await self.require(record.bucket)
        action = await self._bring(record, fault, shown=fault == MISSING, mend=mend)
        self.count(action)
        log.warning("key_checked", action=action, bucket=str(record.bucket), key=record.key, code=fault)
        return action

    async def _read(self, record: Record, *, shown: bool, mend: bool) -> str:
        """Let the bytes themselves decide."""
        fault = await self.rehash.fault(record, Pace(None))
        if fault is None:
            return await self._mended(record.bucket, record.key)
        return await self._bring(record, fault, shown=shown, mend=mend)

    async def sound(self, record: Record) -> None:
        """The bytes of a record have been read and are what they should be."""
        if await self._is_unsound(record):
            await self._mended(record.bucket, record.key)

    async def _is_unsound(self, record: Record) -> bool:
        """Whether the bytes of this very version were read and found wrong."""
        finding = await self.findings.get(record.bucket, record.key)
        return finding is not None and finding.bytes_of == record.store_version

    async def _bring(self, record: Record, fault: str, *, shown: bool, mend: bool) -> str:
        """Have bytes brought anew, and note what can't be mended at once. ``shown``: a listing tells of it, too."""
        of = "" if shown else record.store_version
        if not mend:
            earlier = await self.findings.get(record.bucket, record.key)
            done, detail = (earlier.done, earlier.detail) if earlier is not None else (Done.NOTHING, MEANING[fault])
            await self._find(record.bucket, record.key, FindingKind.DAMAGED, fault, done, detail, of)
            return "damaged"
        mended = await self.repairs.mend(record)
        if mended.over:
            await self._mended(record.bucket, record.key)
            return "refilled" if mended.done is Done.REFILL else ""
        msg = f"{MEANING[fault]} {mended.detail}"
        await self._find(record.bucket, record.key, FindingKind.DAMAGED, fault, mended.done, msg, of)
        return "refetched" if mended.done is Done.REFETCH else "damaged"

    async def _follow_deletion(self, record: Record, found: Judgement) -> str:
        if not found.adoptable:
            msg = "A client of the store has deleted the key there; its record is still visible."
            await self._find(record.bucket, record.key, FindingKind.HIDDEN, "deleted_in_store", Done.NOTHING, msg)
            return "hidden"
        if not await self.index.drop(record, self.clock()):
            return ""
        await self._changed(record.bucket, record.key)
        return "dropped"

    async def _take(self, bucket: BucketName, key: str, record: Record | None, version: Seen, found: Judgement) -> str:
        """Adopt what no record names, lay it aside, or note it."""
        if found.adoptable:
            return await self._adopt(bucket, key, record, version)
        if self.bounds.policy is Policy.QUARANTINE and record is None:
            msg = f"No record names this version: {version.store_version}. It is hidden from clients of the store."
            if not await self._find(bucket, key, FindingKind.QUARANTINED, "unknown_object", Done.ASIDE, msg):
                return "unknown"  # nobody would ever learn of it, nor would anything keep it
            await self.store.hide(bucket, key)
            return "quarantined"
        msg = f"The store's clients get a version that no record names: {version.store_version}."
        await self._find(bucket, key, FindingKind.UNKNOWN, "unknown_object", Done.NOTHING, msg)
        return "unknown"

    async def _adopt(self, bucket: BucketName, key: str, record: Record | None, version: Seen) -> str:
        found = await self.store.current(bucket, key)
        if found is None or found.store_version != version.store_version:
            return ""  # it has changed, or something of ours lies above and goes first
        try:
            described = record_of(found if found.md5 else await self._hashed(found))
        except StoredBytesMissing:
            return ""
        if described is None:
            msg = f"What is written on the version {version.store_version} does not suffice for a record."
            await self._find(bucket, key, FindingKind.UNKNOWN, "not_described", Done.NOTHING, msg)
            return "unknown"
        try:
            if await self.index.adopt(described, record, self.clock()) is None:
                return ""
        except QuotaExceeded as error:
            await self._find(bucket, key, FindingKind.UNKNOWN, error.code, Done.NOTHING, error.msg)
            return "unknown"
        await self._changed(bucket, key)
        return "adopted"

    async def _hashed(self, found: StoredObject) -> StoredObject:
        return replace(found, md5=await self.rehash.md5(found, Pace(None)))

    async def _changed(self, bucket: BucketName, key: str) -> None:
        self.removed()
        await self.purges.settle(bucket, key)
        await self._mended(bucket, key)

    async def _find(
        self, bucket: BucketName, key: str, kind: FindingKind, code: str, done: Done, detail: str, bytes_of: str = ""
    ) -> bool:
        now = self.clock()
        return await self._note(Finding(bucket, key, kind, code, done, detail, now, now, bytes_of))

    async def _note(self, finding: Finding) -> bool:
        """Note a finding; False when the bucket has too many already."""
        kept = await self.findings.keep(finding, MOST_FINDINGS)
        if not kept:
            log.warning("finding_not_listed", bucket=str(finding.bucket), key=finding.key, code=finding.code)
        return kept

    async def _mended(self, bucket: BucketName, key: str, unless: FindingKind | None = None) -> str:
        finding = await self.findings.get(bucket, key)
        if finding is None or finding.kind is unless:
            return ""
        return "mended" if await self.findings.mended(bucket, key) else ""


def _version(record: Record | None) -> tuple[int, str] | None:
    return (record.generation, record.store_version) if record is not None else None
