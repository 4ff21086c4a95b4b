"""The store on Ceph RGW: every key under its own name in the bucket ``username___bucketname``.

Buckets are versioned. Each landing is an object version of its own, which is read and deleted by its
version id: an overwrite, a failed attempt or another S3 client never touches the bytes that a record
names, and any S3 tool still sees the keys.
"""

import asyncio
import contextlib
import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from cephstorage.domain.abilities import Ability
from cephstorage.domain.consistency import Seen
from cephstorage.domain.errors import BucketNotEmpty, StoredBytesMissing, StoreUnavailable
from cephstorage.domain.handover import EDGE_LIFETIME
from cephstorage.domain.names import BucketName, bucket_or_none
from cephstorage.domain.records import attempt_of
from cephstorage.domain.sigv4 import Credentials, path_of, presigned
from cephstorage.ports.store import Note, StoredObject, StoredPage, StoredUrl, StoredVersion
from cephstorage.store.ceph.config import CephConfig, base_of, host_of
from cephstorage.store.ceph.failures import UnknownBucket
from cephstorage.store.ceph.gateway import Gateway
from cephstorage.store.ceph.naming import (
    VersionName,
    attempt_in,
    headers_of,
    is_md5,
    noted_name,
    object_of,
    planned_name,
    seen_of,
    stored_name,
    strays_name,
)
from cephstorage.store.ceph.notifications import CephNotifications
from cephstorage.store.ceph.parts import PartedUpload, SpoolFile, Stretch, content_md5
from cephstorage.store.ceph.probe import Probe
from cephstorage.store.ceph.reader import CephReader
from cephstorage.store.ceph.s3 import S3, ListedVersion

WHOLE = 32 << 20
"""Bytes up to which an object goes in one request: sent again, should that break, but hashed only once."""
COPIED_WHOLE = 5 << 30
"""Bytes up to which S3 copies an object in one request."""
COPIED_PART = 1 << 30
"""Of a larger one: RGW reads and writes a part within the time that a request may take."""
CHECK_TIMEOUT = 5.0
_URL_STEP = 3600
_URL_LIFE = _URL_STEP + EDGE_LIFETIME + 5 * 3600
_MOST_REMEMBERED = 100_000
_LOOKED_AT = 16
_FEW = 20


class CephStore:
    """Implements ``cephstorage.ports.store.Store`` over one gateway."""

    def __init__(self, config: CephConfig) -> None:
        self._gateway = Gateway(config)
        self._s3 = S3(self._gateway)
        self._commits: dict[str, _Turn] = {}
        self._fresh: OrderedDict[str, None] = OrderedDict()
        self._begun: OrderedDict[str, str] = OrderedDict()
        self.copied_whole, self.copied_part = COPIED_WHOLE, COPIED_PART

    @property
    def gateway(self) -> str:
        """The gateway's address."""
        return self._gateway.config.gateway

    async def create_bucket(self, bucket: BucketName) -> None:
        """Make the bucket, versioned."""
        await self._s3.create_bucket(str(bucket))

    async def delete_bucket(self, bucket: BucketName) -> None:
        """Remove an empty bucket, with delete markers and unfinished uploads that lie in it.

        Raises BucketNotEmpty when there are objects.
        """
        name = str(bucket)
        if await self._s3.delete_bucket(name):
            return
        async for upload in self._s3.uploads(name):
            await self._s3.abort(name, upload.key, upload.upload)
        async for version in self._s3.versions(name):
            if version.marker:
                await self._s3.delete_version(name, version.key, version.version_id)
        if not await self._s3.delete_bucket(name):
            raise BucketNotEmpty(f"The bucket {bucket} still has objects in Ceph; remove these first.")

    def plan_version(self, transfer_id: str, fence: int) -> str:
        """One name per attempt. Until its first commit nothing of it can be in the store."""
        name = planned_name(transfer_id, fence)
        _remember(self._fresh, name, None)
        return name

    async def commit(self, part: Path, planned: StoredObject, note: Note | None = None) -> str:
        """Send the spool file: small ones in one request, large ones in parts (port ``Store``).

        A cancelled commit stops where it is; what it has sent is found by the attempt's name.
        """
        attempt = attempt_of(planned.store_version)
        async with self._alone(attempt):
            if not self._first_time(planned) and (found := await self.holds(planned)) is not None:
                return found
            file = SpoolFile(part, planned.size)
            try:
                if planned.size <= WHOLE:
                    version_id = await self._send_whole(file, planned)
                else:
                    version_id = await self._send_parts(file, planned, note)
            finally:
                file.close()
            return stored_name(attempt, version_id)

    async def copy(self, source: StoredVersion, planned: StoredObject, note: Note | None = None) -> str:
        """Have the gateway copy the version: at once, or in parts where S3 wants that (port ``Store``)."""
        attempt = attempt_of(planned.store_version)
        async with self._alone(attempt):
            if not self._first_time(planned) and (found := await self.holds(planned)) is not None:
                return found
            version_id = VersionName.parse(source.store_version).version_id
            if version_id is None:
                raise _missing(source.bucket, source.key)
            named = f"{path_of(str(source.bucket), source.key)}?versionId={quote(version_id, safe='')}"
            if planned.size <= self.copied_whole:
                made = await self._copy_whole(named, planned)
            else:
                made = await self._copy_parts(named, planned, note)
            if made is None:
                raise _missing(source.bucket, source.key)
            return stored_name(attempt, made)

    async def _copy_whole(self, source: str, planned: StoredObject) -> str | None:
        headers = {**headers_of(planned), "x-amz-metadata-directive": "REPLACE"}
        etag = await self._s3.copy(str(planned.bucket), planned.key, source, headers)
        if etag is None:
            return None
        if is_md5(etag) and etag != planned.md5:
            await self._drop_wrong_copy(planned)
            return None
        version_id = await self._version_of(planned)  # RGW does not say it in its answer
        if version_id is None:
            raise StoreUnavailable(f"The Ceph gateway does not show {planned.key!r} as it was copied.")
        return await self._versioned(planned, version_id)

    async def _drop_wrong_copy(self, planned: StoredObject) -> None:
        """Other bytes lay under the source's name: a bucket without versioning has but the one version ``null``."""
        bucket = str(planned.bucket)
        headers = await self._s3.head(bucket, planned.key) or {}
        if attempt_in(headers) == attempt_of(planned.store_version):
            await self._s3.delete_version(bucket, planned.key, headers.get("x-amz-version-id", "null"))

    async def _copy_parts(self, source: str, planned: StoredObject, note: Note | None) -> str | None:
        """Take up the upload that this attempt has begun, or begin one. What is there of it is of the same version."""
        bucket, key, step = str(planned.bucket), planned.key, self.copied_part
        upload = self._begun.get(attempt_of(planned.store_version)) or VersionName.parse(planned.store_version).upload
        there = await self._s3.parts(bucket, key, upload) if upload is not None else None
        if upload is None or there is None:
            upload, there = await self._begin_upload(planned, note), []
        etags = {part.number: part.etag for part in there}
        for number, start in enumerate(range(0, planned.size, step), 1):
            if number in etags:
                continue
            span = {"x-amz-copy-source-range": f"bytes={start}-{min(start + step, planned.size) - 1}"}
            etag = await self._s3.copy(bucket, key, source, span, part=(upload, number))
            if etag is None:
                await self._s3.abort(bucket, key, upload)
                return None
            etags[number] = etag
        version_id = await self._s3.complete(bucket, key, upload, [etags[number] for number in sorted(etags)])
        self._begun.pop(attempt_of(planned.store_version), None)
        if version_id is None:
            raise StoreUnavailable(f"The copy of {key!r} was aborted at the gateway; it begins again.")
        return await self._whole(planned, await self._versioned(planned, version_id))

    def _first_time(self, planned: StoredObject) -> bool:
        return self._fresh.pop(planned.store_version, _UNKNOWN) is not _UNKNOWN

    @contextlib.asynccontextmanager
    async def _alone(self, attempt: str) -> AsyncIterator[None]:
        """One commit of an attempt at a time in this process."""
        turn = self._commits.setdefault(attempt, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if turn.users == 0:
                del self._commits[attempt]

    async def _send_whole(self, file: SpoolFile, planned: StoredObject) -> str:
        bucket, body = str(planned.bucket), Stretch(file, 0, planned.size)
        answer = await self._s3.put(bucket, planned.key, body, content_md5(planned.md5), headers_of(planned))
        if (etag := answer.headers.get("etag", "").strip('"')) != planned.md5:
            raise StoreUnavailable(f"The Ceph gateway stored {planned.key!r} with the md5 {etag}, not {planned.md5}.")
        return await self._versioned(planned, answer.headers.get("x-amz-version-id", "null"))

    async def _send_parts(self, file: SpoolFile, planned: StoredObject, note: Note | None) -> str:
        """Take up the upload that this attempt has begun, or begin one; send what is missing; put it together."""
        bucket, key, attempt = str(planned.bucket), planned.key, attempt_of(planned.store_version)
        upload = self._begun.get(attempt) or VersionName.parse(planned.store_version).upload
        there = await self._s3.parts(bucket, key, upload) if upload is not None else None
        if upload is None or there is None:
            if upload is not None and (version_id := await self._version_of(planned)) is not None:
                return version_id
            upload, there = await self._begin_upload(planned, note), []
        try:
            etags = await PartedUpload(self._s3, bucket, key, upload, file).send_missing(there)
        except ExceptionGroup as group:
            raise group.exceptions[0] from group
        version_id = await self._s3.complete(bucket, key, upload, etags)
        self._begun.pop(attempt, None)
        if version_id is not None:
            return await self._whole(planned, await self._versioned(planned, version_id))
        if (version_id := await self._version_of(planned)) is not None:  # put together by a try whose answer was lost
            return version_id
        raise StoreUnavailable(f"The upload of {key!r} was aborted at the gateway; it begins again.")

    async def _begin_upload(self, planned: StoredObject, note: Note | None) -> str:
        """An upload that is noted before anything of it is sent."""
        bucket, attempt = str(planned.bucket), attempt_of(planned.store_version)
        upload = await self._s3.begin_upload(bucket, planned.key, headers_of(planned))
        _remember(self._begun, attempt, upload)
        if note is not None:
            try:
                await note(noted_name(attempt, upload))
            except BaseException:
                self._begun.pop(attempt, None)
                with contextlib.suppress(StoreUnavailable):
                    await self._s3.abort(bucket, planned.key, upload)
                raise
        return upload

    async def _version_of(self, planned: StoredObject) -> str | None:
        """The id of the attempt's version, when it is there."""
        found = await self.holds(planned)
        return VersionName.parse(found).version_id if found is not None else None

    async def _versioned(self, planned: StoredObject, version_id: str) -> str:
        """The version id, which a bucket without versioning does not give: that is mended, and this try fails."""
        if version_id == "null":
            bucket = str(planned.bucket)
            await self._s3.delete_version(bucket, planned.key, version_id)
            await self._s3.enable_versioning(bucket)
            raise StoreUnavailable(f"The bucket {bucket} had no versioning in Ceph; it is switched on now.")
        return version_id

    async def _whole(self, planned: StoredObject, version_id: str) -> str:
        """The version id of what was put together, when the gateway shows it as it was planned."""
        found = await self._look(planned.bucket, planned.key, version_id)
        if found is None or not _same(found, planned):
            raise StoreUnavailable(f"The Ceph gateway does not show {planned.key!r} as it was sent.")
        return version_id

    async def holds(self, planned: StoredObject) -> str | None:
        """Look at the version that is named, else at the key's current one, else at all of them."""
        version_id = VersionName.parse(planned.store_version).version_id
        found = await self._look(planned.bucket, planned.key, version_id)
        if found is not None and _same(found, planned):
            return found.store_version
        if version_id is None:
            async for found in self._of_attempt(planned.bucket, planned.key, attempt_of(planned.store_version)):
                if _same(found, planned):
                    return found.store_version
        return None

    async def _look(self, bucket: BucketName, key: str, version_id: str | None) -> StoredObject | None:
        """A version, by default the current one; None when there is none."""
        headers = await self._s3.head(str(bucket), key, version_id)
        if headers is None:
            return None
        return object_of(bucket, key, version_id or headers.get("x-amz-version-id", "null"), headers)

    async def current(self, bucket: BucketName, key: str) -> StoredObject | None:
        """Look at the key as any client does."""
        return await self._look(bucket, key, None)

    async def _of_attempt(self, bucket: BucketName, key: str, attempt: str) -> AsyncIterator[StoredObject]:
        """The versions that an attempt has made of a key: one, unless answers were lost."""
        async for version in self._s3.versions(str(bucket), key, page_size=_FEW):
            if version.key != key:
                return  # in byte order, the key itself comes before all others that begin with it
            if version.marker:
                continue
            found = await self._look(bucket, key, version.version_id)
            if found is not None and attempt_of(found.store_version) == attempt:
                yield found

    async def open(self, bucket: BucketName, key: str, store_version: str) -> CephReader:
        """Look whether the version is there; its bytes are asked for when they are read."""
        name = VersionName.parse(store_version)
        if name.version_id is None:
            found = await anext(self._of_attempt(bucket, key, name.attempt), None)
        else:
            found = await self._look(bucket, key, name.version_id)
        if found is None:
            raise _missing(bucket, key)
        version_id = str(VersionName.parse(found.store_version).version_id)
        path = path_of(str(bucket), key)
        return CephReader(self._gateway, path, version_id, found.size, lambda: _missing(bucket, key))

    async def untouched(self, bucket: BucketName, key: str) -> bool:
        """Look at the newest version: a delete marker is one, though HEAD says of it no more than of nothing."""
        try:
            return await self._s3.newest(str(bucket), key) is None
        except UnknownBucket:
            return False

    async def is_newest(self, bucket: BucketName, key: str, store_version: str) -> bool:
        """Compare it with the first in the list."""
        newest = await self._s3.newest(str(bucket), key)
        return newest is not None and newest.version_id == VersionName.parse(store_version).version_id

    def place(self, bucket: BucketName, key: str, store_version: str) -> StoredUrl | None:
        """A signed GET of the version. Its address stays the same for an hour, and is valid for longer after that than an
        edge may keep it.
        """
        version_id = VersionName.parse(store_version).version_id
        if version_id is None:
            return None
        config, step = self._gateway.config, int(time.time() // _URL_STEP)
        target = _signed_get(config.credentials, config.host, bucket, key, version_id, step)
        return StoredUrl(target, config.host)

    def published(self, bucket: BucketName, key: str, store_version: str, expires_in: int) -> str | None:
        """A presigned GET at the gateway's public address; None when none is configured."""
        version_id, config = VersionName.parse(store_version).version_id, self._gateway.config
        if version_id is None or not config.public_address:
            return None
        base, host = base_of(config.public_address), host_of(config.public_address)
        query = [("versionId", version_id)]
        return base + presigned(config.credentials, host, path_of(str(bucket), key), query, time.time(), expires_in)

    async def delete(self, bucket: BucketName, key: str, store_version: str) -> None:
        """Remove a version by its id; of a planned one the unfinished upload, and whatever came of the attempt."""
        name, place = VersionName.parse(store_version), str(bucket)
        if name.version_id is not None:
            await self._s3.delete_version(place, key, name.version_id)
            return
        for upload in {name.upload, self._begun.pop(name.attempt, None)} - {None}:
            await self._s3.abort(place, key, str(upload))
        async for version in self._of_attempt(bucket, key, name.attempt):
            if (found := str(VersionName.parse(version.store_version).version_id)) != name.besides:
                await self._s3.delete_version(place, key, found)

    def strays(self, store_version: str) -> str | None:
        """A request whose answer was lost may have stored, or may store yet, the same bytes once more."""
        name = VersionName.parse(store_version)
        return strays_name(name.attempt, name.version_id) if name.version_id is not None else None

    def tentative(self, store_version: str) -> bool:
        """Every name without a version's id."""
        return VersionName.parse(store_version).version_id is None

    async def abandon(self, bucket: BucketName, keep: Collection[str], before: float, key: str | None = None) -> int:
        """Abort uploads of parts that are older and that nobody names (port ``Store``)."""
        named = {VersionName.parse(version).upload for version in keep} | set(self._begun.values())
        count = 0
        async for upload in self._s3.uploads(str(bucket), key or ""):
            if upload.upload not in named and upload.begun < before and key in {None, upload.key}:
                await self._s3.abort(str(bucket), upload.key, upload.upload)
                count += 1
        return count

    async def objects(self, bucket: BucketName) -> AsyncIterator[StoredObject]:
        """Every version. RGW does not list user metadata, so that each is looked at, some at a time."""
        batch: list[ListedVersion] = []
        async for version in self._s3.versions(str(bucket), ordered=False):
            if not version.marker:
                batch.append(version)
            if len(batch) == _LOOKED_AT:
                for found in await self._look_at(bucket, batch):
                    yield found
                batch = []
        for found in await self._look_at(bucket, batch):
            yield found

    async def _look_at(self, bucket: BucketName, versions: list[ListedVersion]) -> list[StoredObject]:
        found = await asyncio.gather(*(self._look(bucket, v.key, v.version_id) for v in versions))
        return [version for version in found if version is not None]

    async def page(self, bucket: BucketName, place: str | None) -> StoredPage:
        """A page of the bucket, shard by shard; the place is a key and a version id."""
        after: list[str] | None = json.loads(place) if place is not None else None
        page, more = await self._s3.version_page(
            str(bucket), after=(after[0], after[1]) if after is not None else None, ordered=False
        )
        following = json.dumps([page[-1].key, page[-1].version_id]) if more else None
        return StoredPage(tuple(seen_of(version) for version in page), following)

    async def versions(self, bucket: BucketName, key: str) -> list[Seen]:
        """As the gateway lists them, newest first; what has gone meanwhile is left out."""
        listed: list[ListedVersion] = []
        async for version in self._s3.versions(str(bucket), key, page_size=_FEW):
            if version.key != key:
                break
            listed.append(version)
        looked = [await self._seen(bucket, version) for version in listed]
        return [seen for seen in looked if seen is not None]

    async def _seen(self, bucket: BucketName, version: ListedVersion) -> Seen | None:
        if version.marker:
            return seen_of(version)
        found = await self._look(bucket, version.key, version.version_id)
        return seen_of(version, found) if found is not None else None

    async def hide(self, bucket: BucketName, key: str) -> None:
        """Lay a delete marker over it."""
        await self._s3.lay_marker(str(bucket), key)

    async def buckets(self) -> list[BucketName]:
        """Those of the user's buckets that are named as ours are."""
        names = sorted(bucket.name for bucket in await self._s3.buckets())
        return [found for name in names if (found := bucket_or_none(name)) is not None]

    async def latest(self, bucket: BucketName, key: str, among: Collection[str]) -> str | None:
        """The gateway lists the versions of a key newest first."""
        names = {VersionName.parse(version).version_id: version for version in among}
        async for version in self._s3.versions(str(bucket), key, page_size=_FEW):
            if version.key != key:
                return None
            if version.version_id in names:
                return names[version.version_id]
        return None

    def notifications(self) -> CephNotifications:
        """RGW's, over the same gateway."""
        return CephNotifications(self._gateway)

    async def check(self) -> str:
        """Have the gateway list buckets: that takes gateway, keys, monitor and OSD."""
        await self._s3.answers(CHECK_TIMEOUT)
        return f"Ceph gateway {self._gateway.config.gateway}"

    async def clock_lead(self) -> float:
        """Seconds by which this machine's clock is ahead of the gateway's."""
        return await self._s3.answers(CHECK_TIMEOUT)

    async def release(self) -> str:
        """How the gateway names itself; empty when it does not."""
        return await self._s3.release(CHECK_TIMEOUT)

    async def abilities(self) -> list[Ability]:
        """What the gateway can do, tried in a bucket that is made for it and removed."""
        return await Probe(self._gateway).run()

    async def try_name(self, bucket: BucketName) -> None:
        """See whether the gateway accepts names like this one; nothing is made. Raises StoreMisconfigured."""
        await self._s3.try_name(str(bucket))

    async def close(self) -> None:
        """Drop every connection."""
        await self._gateway.close()


_UNKNOWN = object()


@dataclass(slots=True)
class _Turn:
    """A lock, and how many hold or want it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


T = TypeVar("T")


def _remember(names: "OrderedDict[str, T]", name: str, value: T) -> None:
    names[name] = value
    if len(names) > _MOST_REMEMBERED:
        names.popitem(last=False)


def _same(found: StoredObject, planned: StoredObject) -> bool:
    """Whether a version is what the attempt planned, whole."""
    return found.size == planned.size and attempt_of(found.store_version) == attempt_of(planned.store_version)


def _missing(bucket: BucketName, key: str) -> StoredBytesMissing:
    return StoredBytesMissing(f"Ceph lost the bytes of {key!r} in {bucket}; upload it again.")


@lru_cache(maxsize=65536)
def _signed_get(credentials: Credentials, host: str, bucket: BucketName, key: str, version_id: str, step: int) -> str:
    """The target of a GET, signed as of the beginning of an hour."""
    return presigned(
        credentials, host, path_of(str(bucket), key), [("versionId", version_id)], step * _URL_STEP, _URL_LIFE
    )
