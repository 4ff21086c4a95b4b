"""Writing versions of keys: sent whole or in parts, or copied by the gateway, one try of an attempt at a time.

An attempt has a name that the version bears. What a try may have left behind is found by it, so that nothing is sent
twice and nothing stays that nobody knows.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from cephstorage.domain.errors import StoreUnavailable
from cephstorage.domain.records import attempt_of
from cephstorage.domain.sigv4 import path_of
from cephstorage.ports.store import Note, StoredObject, StoredVersion
from cephstorage.store.ceph.looking import Looking, missing, same
from cephstorage.store.ceph.naming import (
    NO_VERSIONS,
    VersionName,
    attempt_in,
    headers_of,
    is_md5,
    noted_name,
    planned_name,
    stored_name,
)
from cephstorage.store.ceph.parts import PartedUpload, SpoolFile, Stretch, content_md5
from cephstorage.store.ceph.s3 import S3

WHOLE = 32 << 20
"""Bytes up to which an object goes in one request: sent again, should that break, but hashed only once."""
COPIED_WHOLE = 5 << 30
"""Bytes up to which S3 copies an object in one request."""
COPIED_PART = 1 << 30
"""Of a larger one: RGW reads and writes a part within the time that a request may take."""
_MOST_REMEMBERED = 100_000


class Writing:
    """Writes over one gateway."""

    def __init__(self, s3: S3, looking: Looking) -> None:
        self._s3 = s3
        self._looking = looking
        self._commits: dict[str, _Turn] = {}
        self._fresh: OrderedDict[str, None] = OrderedDict()
        self._begun: OrderedDict[str, str] = OrderedDict()
        self.copied_whole, self.copied_part = COPIED_WHOLE, COPIED_PART

    @property
    def uploads(self) -> set[str]:
        """Uploads in parts that attempts of this process have begun."""
        return set(self._begun.values())

    def forget(self, attempt: str) -> str | None:
        """The upload that an attempt has begun; nobody takes it up any more."""
        return self._begun.pop(attempt, None)

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
            if not self._first_time(planned) and (found := await self._looking.holds(planned)) is not None:
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
            if not self._first_time(planned) and (found := await self._looking.holds(planned)) is not None:
                return found
            version_id = VersionName.parse(source.store_version).version_id
            if version_id is None:
                raise missing(source.bucket, source.key)
            named = f"{path_of(str(source.bucket), source.key)}?versionId={quote(version_id, safe='')}"
            if planned.size <= self.copied_whole:
                made = await self._copy_whole(named, planned)
            else:
                made = await self._copy_parts(named, planned, note)
            if made is None:
                raise missing(source.bucket, source.key)
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
            await self._s3.delete_version(bucket, planned.key, headers.get("x-amz-version-id", NO_VERSIONS))

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
        return await self._versioned(planned, answer.headers.get("x-amz-version-id", NO_VERSIONS))

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
        found = await self._looking.holds(planned)
        return VersionName.parse(found).version_id if found is not None else None

    async def _versioned(self, planned: StoredObject, version_id: str) -> str:
        """The version id, which a bucket without versioning does not give: that is mended, and this try fails."""
        if version_id == NO_VERSIONS:
            bucket = str(planned.bucket)
            await self._s3.delete_version(bucket, planned.key, version_id)
            await self._s3.enable_versioning(bucket)
            raise StoreUnavailable(f"The bucket {bucket} had no versioning in Ceph; it is switched on now.")
        return version_id

    async def _whole(self, planned: StoredObject, version_id: str) -> str:
        """The version id of what was put together, when the gateway shows it as it was planned."""
        found = await self._looking.look(planned.bucket, planned.key, version_id)
        if found is None or not same(found, planned):
            raise StoreUnavailable(f"The Ceph gateway does not show {planned.key!r} as it was sent.")
        return version_id


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
