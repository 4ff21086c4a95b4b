"""Looking at versions of a key: one by its id, the current one, those of an attempt."""

from collections.abc import AsyncIterator

from cephstorage.domain.errors import StoredBytesMissing
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import attempt_of
from cephstorage.ports.store import StoredObject
from cephstorage.store.ceph.failures import Denied
from cephstorage.store.ceph.naming import NO_VERSIONS, VersionName, object_of, unread_object
from cephstorage.store.ceph.s3 import S3, ListedVersion

FEW = 20
"""Versions on a page where one key is looked at."""


class Looking:
    """Looks by HEAD, and by listing where only an attempt's name is known."""

    def __init__(self, s3: S3) -> None:
        self._s3 = s3

    async def holds(self, planned: StoredObject) -> str | None:
        """Look at the version that is named, else at the key's current one, else at all of them."""
        version_id = VersionName.parse(planned.store_version).version_id
        look = self.ours if version_id is None else self.look
        found = await look(planned.bucket, planned.key, version_id)
        if found is not None and same(found, planned):
            return found.store_version
        if version_id is None:
            async for found in self.of_attempt(planned.bucket, planned.key, attempt_of(planned.store_version)):
                if same(found, planned):
                    return found.store_version
        return None

    async def look(self, bucket: BucketName, key: str, version_id: str | None) -> StoredObject | None:
        """A version, by default the current one; None when there is none. Raises Denied of another user's."""
        headers = await self._s3.head(str(bucket), key, version_id)
        if headers is None:
            return None
        return object_of(bucket, key, version_id or headers.get("x-amz-version-id", NO_VERSIONS), headers)

    async def ours(self, bucket: BucketName, key: str, version_id: str | None) -> StoredObject | None:
        """The same; None for what another user owns: it is nothing of ours. Where it is we who are wrong, that is raised."""
        try:
            return await self.look(bucket, key, version_id)
        except Denied:
            await self._s3.newest(str(bucket), key)
            return None

    async def listed(self, bucket: BucketName, version: ListedVersion) -> StoredObject | None:
        """A version that a listing has shown; None when it has gone meanwhile."""
        try:
            return await self.look(bucket, version.key, version.version_id)
        except Denied:
            return unread_object(bucket, version)

    async def current(self, bucket: BucketName, key: str) -> StoredObject | None:
        """What clients get under a key, whoever owns it."""
        try:
            return await self.look(bucket, key, None)
        except Denied:
            newest = await self._s3.newest(str(bucket), key)
            return unread_object(bucket, newest) if newest is not None and not newest.marker else None

    async def of_attempt(self, bucket: BucketName, key: str, attempt: str) -> AsyncIterator[StoredObject]:
        """The versions that an attempt has made of a key: one, unless answers were lost."""
        async for version in self._s3.versions(str(bucket), key, page_size=FEW):
            if version.key != key:
                return  # in byte order, the key itself comes before all others that begin with it
            if version.marker:
                continue
            found = await self.ours(bucket, key, version.version_id)
            if found is not None and attempt_of(found.store_version) == attempt:
                yield found


def same(found: StoredObject, planned: StoredObject) -> bool:
    """Whether a version is what the attempt planned, whole."""
    return found.size == planned.size and attempt_of(found.store_version) == attempt_of(planned.store_version)


def missing(bucket: BucketName, key: str) -> StoredBytesMissing:
    """What is raised when a version is not there."""
    return StoredBytesMissing(f"Ceph lost the bytes of {key!r} in {bucket}; upload it again.")
