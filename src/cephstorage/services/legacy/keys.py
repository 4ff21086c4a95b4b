"""Keys of the original: each is checked against Ceph, and becomes a record of the version that lies there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from cephstorage.domain.errors import StoredBytesMissing
from cephstorage.domain.legacy import Kind, LegacyKey
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import Record, attempt_of, key_validators
from cephstorage.ports.index import Adoption
from cephstorage.ports.store import Store, StoredObject
from cephstorage.services.buckets import Buckets
from cephstorage.services.legacy.findings import Finding, Line, Outcome, Told, Wishes
from cephstorage.services.rehash import Rehash
from cephstorage.services.visits import Pace, abreast
from cephstorage.transfer.description import record_of

BATCH = 200
"""Keys that are looked up and adopted at once: in memory, and in one transaction."""
_NO_OBJECT = "Ceph has no object under this key."
_SOURCE = "legacy"
_NOT_DESCRIBED = "What is written on the object makes no sense; see to it in Ceph, then run the import again."
_WRITTEN_SINCE = "The index has another version of this key, which stays."


@dataclass(frozen=True, slots=True)
class Wanted:
    """A key's document and where it stood."""

    line: Line
    key: LegacyKey

    def told(self, outcome: Outcome, msg: str = "") -> Finding:
        """What became of it."""
        return Finding(outcome, Kind.KEY, self.line.file, self.line.number, str(self.key.bucket), self.key.key, msg)


@dataclass(frozen=True, slots=True)
class _Checked:
    """A document whose object is as it says: the record to be. ``remark``: what could not be proved."""

    wanted: Wanted
    record: Record
    remark: str = ""


@dataclass(slots=True)
class KeyImport:
    """Imports keys, some at a time; nothing is kept between two batches but which buckets there are."""

    store: Store
    buckets: Buckets
    adoption: Adoption
    rehash: Rehash
    wishes: Wishes
    told: Told
    _in_ceph: frozenset[BucketName] | None = None
    _ready: dict[BucketName, bool] = field(default_factory=dict)

    @property
    def seen(self) -> Sequence[BucketName]:
        """The buckets that there are in Ceph, of those that were asked for."""
        return [bucket for bucket, there in self._ready.items() if there]

    async def take(self, batch: Sequence[Wanted]) -> None:
        """Import some keys. Raises StoreUnavailable, DatabaseUnavailable."""
        by_bucket: dict[BucketName, list[Wanted]] = {}
        for wanted in batch:
            by_bucket.setdefault(wanted.key.bucket, []).append(wanted)
        for bucket, some in by_bucket.items():
            if await self._is_ready(bucket):
                await self._of_bucket(bucket, some)
                continue
            for wanted in some:
                self.told(wanted.told(Outcome.MISSING, f"Ceph has no bucket {bucket} of the user in ceph_access_key."))

    async def _is_ready(self, bucket: BucketName) -> bool:
        """Whether Ceph has the bucket. It gets versions before anything in it is looked at, so that from then on nobody
        can put other bytes in the place of those that were checked.
        """
        if bucket not in self._ready:
            if self._in_ceph is None:
                self._in_ceph = frozenset(await self.store.buckets())
            there = bucket in self._in_ceph
            if there and not self.wishes.dry_run:
                await self.buckets.create(bucket)
            self._ready[bucket] = there
        return self._ready[bucket]

    async def _of_bucket(self, bucket: BucketName, some: Sequence[Wanted]) -> None:
        visible = await self.adoption.visible(bucket, [wanted.key.key for wanted in some])
        checked: dict[str, _Checked] = {}
        for wanted, found in await self._looked_at(some, visible):
            now = checked[wanted.key.key].record if wanted.key.key in checked else visible.get(wanted.key.key)
            judged = await self._judged(wanted, found, now)
            if isinstance(judged, Finding):
                self.told(judged)
            else:
                checked[wanted.key.key] = judged
        await self._adopt(bucket, list(checked.values()))

    async def _looked_at(
        self, some: Sequence[Wanted], visible: Mapping[str, Record]
    ) -> list[tuple[Wanted, StoredObject | None]]:
        """What Ceph has under each key. Those that need not be asked for are told at once."""
        asked = []
        for wanted in some:
            if self.wishes.skip_known and wanted.key.key in visible:
                self.told(wanted.told(Outcome.KNOWN))
            else:
                asked.append(wanted)

        async def look(wanted: Wanted) -> StoredObject | None:
            return await self.store.current(wanted.key.bucket, wanted.key.key)

        return list(zip(asked, await abreast(look, asked, self.wishes.concurrency), strict=True))

    async def _judged(self, wanted: Wanted, found: StoredObject | None, now: Record | None) -> "_Checked | Finding":
        """Compare document, object and index (``now``)."""
        if found is None:
            return wanted.told(Outcome.MISSING, _NO_OBJECT)
        differences = wanted.key.differences(found.size, found.md5)
        if now is not None:
            same = attempt_of(now.store_version) == attempt_of(found.store_version)
            return wanted.told(*((Outcome.KNOWN, "") if same and not differences else (Outcome.KEPT, _WRITTEN_SINCE)))
        if differences:
            return wanted.told(Outcome.DIFFERS, differences)
        if not found.md5 and (self.wishes.read or wanted.key.md5 is None):
            if (found := await self._hashed(found)) is None:
                return wanted.told(Outcome.MISSING, _NO_OBJECT)
            if differences := wanted.key.differences(found.size, found.md5):
                return wanted.told(Outcome.DIFFERS, differences)
        remark = "" if found.md5 else "Its ETag is no md5, so that only its size was compared; --read hashes it."
        record = _record(wanted.key, found)
        return wanted.told(Outcome.DIFFERS, _NOT_DESCRIBED) if record is None else _Checked(wanted, record, remark)

    async def _hashed(self, found: StoredObject) -> StoredObject | None:
        """An object with its md5; None when it has gone meanwhile."""
        try:
            return replace(found, md5=await self.rehash.md5(found, Pace(None)))
        except StoredBytesMissing:
            return None

    async def _adopt(self, bucket: BucketName, checked: Sequence[_Checked]) -> None:
        """Make the records visible where nothing is, and tell what became of each."""
        taken = {each.record.key for each in checked}
        if checked and not self.wishes.dry_run:
            await self.adoption.adopt(bucket, [each.record for each in checked])
            taken = await self._named(bucket, [each.record for each in checked])
        for each in checked:
            outcome = Outcome.UNVERIFIED if each.remark else Outcome.TAKEN
            there = each.record.key in taken
            self.told(each.wanted.told(*((outcome, each.remark) if there else (Outcome.KEPT, _WRITTEN_SINCE))))

    async def _named(self, bucket: BucketName, records: Sequence[Record]) -> set[str]:
        """The keys whose visible records name these versions."""
        now = await self.adoption.visible(bucket, [record.key for record in records])
        versions = {key: attempt_of(record.store_version) for key, record in now.items()}
        return {record.key for record in records if versions.get(record.key) == attempt_of(record.store_version)}

    async def scan(self, bucket: BucketName) -> None:
        """Look through a bucket in Ceph for objects that the index does not have; adopt them, if that is wished."""
        if not await self._is_ready(bucket):
            self.told(Finding(Outcome.MISSING, "object", bucket=str(bucket), msg="Ceph has no such bucket."))
            return
        names: dict[str, None] = {}
        async for found in self.store.objects(bucket):
            names[found.key] = None
            if len(names) == BATCH:
                await self._unlisted(bucket, list(names))
                names = {}
        await self._unlisted(bucket, list(names))

    async def _unlisted(self, bucket: BucketName, names: Sequence[str]) -> None:
        visible = await self.adoption.visible(bucket, names)
        lacking = [name for name in names if name not in visible]

        async def look(name: str) -> StoredObject | None:
            found = await self.store.current(bucket, name)
            if found is None or found.md5 or not self.wishes.unlisted:
                return found
            return await self._hashed(found)

        founds = [found for found in await abreast(look, lacking, self.wishes.concurrency) if found is not None]
        records = [record for found in founds if (record := record_of(found)) is not None]
        taken: set[str] = set()
        if self.wishes.unlisted and records:
            await self.adoption.adopt(bucket, [replace(record, generation=0) for record in records])
            taken = await self._named(bucket, records)
        for found in founds:
            outcome = Outcome.ADOPTED if found.key in taken else Outcome.UNLISTED
            msg = "" if found.key in taken else "The index does not have it."
            self.told(Finding(outcome, "object", bucket=str(bucket), name=found.key, msg=msg))


def _record(wanted: LegacyKey, found: StoredObject) -> Record | None:
    """The record that the document asks for, of the version that Ceph has. What the document leaves out, Ceph says.

    What this service stored itself keeps what is written on it; None when that makes no sense.
    """
    described = replace(found, md5=found.md5 or wanted.md5 or "", metadata={"timetag": "0", **found.metadata})
    record = record_of(described)
    if record is None:
        return None
    if found.metadata.get("source") != "s3":
        return replace(record, generation=0)
    ts = record.ts if wanted.ts is None else wanted.ts
    public = key_validators(described.md5, ts)
    return replace(
        record,
        ts=ts,
        validated_at=ts,
        content_type=wanted.content_type or record.content_type,
        generation=0,
        etag=public.etag,
        last_modified=public.last_modified,
        source=_SOURCE,
    )
