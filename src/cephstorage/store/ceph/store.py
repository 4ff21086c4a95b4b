"""The store on Ceph RGW: every key under its own name in the bucket ``username___bucketname``.

Buckets are versioned. Each landing is an object version of its own, which is read and deleted by its
version id: an overwrite, a failed attempt or another S3 client never touches the bytes that a record
names, and any S3 tool still sees the keys.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Collection
from functools import lru_cache
from pathlib import Path

from cephstorage.domain.abilities import Ability
from cephstorage.domain.consistency import Seen
from cephstorage.domain.errors import BucketNotEmpty
from cephstorage.domain.handover import EDGE_LIFETIME
from cephstorage.domain.names import BucketName, bucket_or_none
from cephstorage.domain.records import attempt_of
from cephstorage.domain.sigv4 import Credentials, path_of, presigned
from cephstorage.ports.store import Note, StoredObject, StoredPage, StoredUrl, StoredVersion
from cephstorage.store.ceph.config import CephConfig, base_of, host_of
from cephstorage.store.ceph.failures import UnknownBucket
from cephstorage.store.ceph.gateway import Gateway
from cephstorage.store.ceph.looking import FEW, Looking, missing
from cephstorage.store.ceph.naming import NO_VERSIONS, VersionName, seen_of, strays_name
from cephstorage.store.ceph.notifications import CephNotifications
from cephstorage.store.ceph.probe import Probe
from cephstorage.store.ceph.reader import CephReader
from cephstorage.store.ceph.s3 import S3, ListedVersion
from cephstorage.store.ceph.writing import Writing

CHECK_TIMEOUT = 5.0
_URL_STEP = 3600
_URL_LIFE = _URL_STEP + EDGE_LIFETIME + 5 * 3600
_LOOKED_AT = 16


class CephStore:
    """Implements ``cephstorage.ports.store.Store`` over one gateway."""

    def __init__(self, config: CephConfig) -> None:
        self._gateway = Gateway(config)
        self._s3 = S3(self._gateway)
        self._looking = Looking(self._s3)
        self.writing = Writing(self._s3, self._looking)

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
        """One name per attempt."""
        return self.writing.plan_version(transfer_id, fence)

    async def commit(self, part: Path, planned: StoredObject, note: Note | None = None) -> str:
        """Send the spool file: small ones in one request, large ones in parts (port ``Store``)."""
        return await self.writing.commit(part, planned, note)

    async def copy(self, source: StoredVersion, planned: StoredObject, note: Note | None = None) -> str:
        """Have the gateway copy the version (port ``Store``)."""
        return await self.writing.copy(source, planned, note)

    async def holds(self, planned: StoredObject) -> str | None:
        """Look at the version that is named, else at the key's current one, else at all of them."""
        return await self._looking.holds(planned)

    async def current(self, bucket: BucketName, key: str) -> StoredObject | None:
        """Look at the key as any client does."""
        return await self._looking.current(bucket, key)

    async def open(self, bucket: BucketName, key: str, store_version: str) -> CephReader:
        """Look whether the version is there; its bytes are asked for when they are read."""
        name = VersionName.parse(store_version)
        if name.version_id is None:
            found = await anext(self._looking.of_attempt(bucket, key, name.attempt), None)
        else:
            found = await self._looking.look(bucket, key, name.version_id)
        if found is None:
            raise missing(bucket, key)
        version_id = str(VersionName.parse(found.store_version).version_id)
        path = path_of(str(bucket), key)
        return CephReader(self._gateway, path, version_id, found.size, lambda: missing(bucket, key))

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
        """Remove a version by its id; of a planned one the unfinished upload, and whatever came of the attempt.

        Under the id that all objects of a bucket without versions have, another client's may lie by now.
        """
        name, place = VersionName.parse(store_version), str(bucket)
        if name.version_id is not None:
            if name.version_id != NO_VERSIONS or await self._still(bucket, key, name):
                await self._s3.delete_version(place, key, name.version_id)
            return
        for upload in {name.upload, self.writing.forget(name.attempt)} - {None}:
            await self._s3.abort(place, key, str(upload))
        async for version in self._looking.of_attempt(bucket, key, name.attempt):
            if (found := str(VersionName.parse(version.store_version).version_id)) != name.besides:
                await self._s3.delete_version(place, key, found)

    async def _still(self, bucket: BucketName, key: str, name: VersionName) -> bool:
        found = await self._looking.ours(bucket, key, name.version_id)
        return found is not None and attempt_of(found.store_version) == name.attempt

    def strays(self, store_version: str) -> str | None:
        """A request whose answer was lost may have stored, or may store yet, the same bytes once more."""
        name = VersionName.parse(store_version)
        return strays_name(name.attempt, name.version_id) if name.version_id is not None else None

    def tentative(self, store_version: str) -> bool:
        """Every name without a version's id."""
        return VersionName.parse(store_version).version_id is None

    async def abandon(self, bucket: BucketName, keep: Collection[str], before: float, key: str | None = None) -> int:
        """Abort uploads of parts that are older and that nobody names (port ``Store``)."""
        named = {VersionName.parse(version).upload for version in keep} | self.writing.uploads
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
        found = await asyncio.gather(*(self._looking.listed(bucket, version) for version in versions))
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
        async for version in self._s3.versions(str(bucket), key, page_size=FEW):
            if version.key != key:
                break
            listed.append(version)
        looked = [await self._seen(bucket, version) for version in listed]
        return [seen for seen in looked if seen is not None]

    async def _seen(self, bucket: BucketName, version: ListedVersion) -> Seen | None:
        if version.marker:
            return seen_of(version)
        found = await self._looking.listed(bucket, version)
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
        async for version in self._s3.versions(str(bucket), key, page_size=FEW):
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


@lru_cache(maxsize=65536)
def _signed_get(credentials: Credentials, host: str, bucket: BucketName, key: str, version_id: str, step: int) -> str:
    """The target of a GET, signed as of the beginning of an hour."""
    return presigned(
        credentials, host, path_of(str(bucket), key), [("versionId", version_id)], step * _URL_STEP, _URL_LIFE
    )
