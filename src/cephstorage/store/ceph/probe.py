"""What this RGW can do, found out by doing it in a bucket of its own, which is gone afterwards.

Releases differ, and so do gateways of one release by their settings. What the store needs and does not
find would show itself only under load, or by wrong bytes. A bucket whose prober died is removed by the next
one that comes long enough after it.
"""

import hashlib
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping

from cephstorage.domain.abilities import LONGEST_TRY, Ability
from cephstorage.domain.errors import CephStorageError, StoreUnavailable
from cephstorage.domain.sigv4 import path_of, presigned
from cephstorage.store.ceph.gateway import Gateway
from cephstorage.store.ceph.parts import content_md5
from cephstorage.store.ceph.s3 import S3

_KEY = "probe/a b+ü"
_BODY = b"cephstorage"
_MD5 = hashlib.md5(_BODY, usedforsecurity=False).hexdigest()
_OTHER_MD5 = hashlib.md5(b"other", usedforsecurity=False).hexdigest()
_WORD = "x-amz-meta-word"


_SCRATCH = re.compile(r"cephstorage___probe\.[0-9a-f]{8}")
"""Three underscores like every bucket of ours, and a dot, which none of them may have."""
_DIRECTLY = "Reach Ceph RGW 16.2 or later directly (ceph_gateway): something between drops or changes requests."
_WITHOUT = {
    "versions": "an overwrite would harm what is being read. The buckets need versioning: Ceph RGW 16.2 or later.",
    "user metadata": f"attempts can't be told apart after a crash. {_DIRECTLY}",
    "Content-MD5 is verified": f"bytes damaged on their way would be stored. {_DIRECTLY}",
    "uploads in parts": "objects above 32 MiB can't be stored. See rgw_multipart_min_part_size and"
    " rgw_multipart_part_upload_limit in ceph.conf (5 MiB and 10000 by default), and use Ceph RGW 16.2 or later.",
    "presigned addresses": "the edge can't fetch stored bytes. Host must reach the gateway as it was sent:"
    " see ceph_gateway, and rgw_dns_name in ceph.conf.",
    "unordered listing": "buckets are listed in order, slowly where they have many shards.",
    "conditional PUT of versions": "nothing; attempts are told apart by their names.",
}
"""What follows where an ability is missing, and what to do."""


class Probe:
    """Tries a gateway's abilities, one after the other."""

    def __init__(self, gateway: Gateway, leftover_age: float = LONGEST_TRY) -> None:
        """``leftover_age``: seconds after which a scratch bucket is nobody's any more."""
        self._gateway = gateway
        self._leftover_age = leftover_age
        self._s3 = S3(gateway)
        self._bucket = f"cephstorage___probe.{secrets.token_hex(4)}"
        self._path = path_of(self._bucket, _KEY)

    async def run(self) -> list[Ability]:
        """Try everything. Raises StoreMisconfigured, StoreUnavailable, StoreFull when it does not even come to that."""
        for bucket in await self._s3.buckets():
            if _SCRATCH.fullmatch(bucket.name) and bucket.age > self._leftover_age:
                await self._remove(bucket.name)
        try:
            await self._gateway.ask("PUT", path_of(self._bucket))
            return [
                _ability("versions", able=await self._able(self._versions)),
                _ability("user metadata", able=await self._metadata()),
                _ability("Content-MD5 is verified", able=await self._refuses(_OTHER_MD5)),
                _ability("uploads in parts", able=await self._able(self._parts)),
                _ability("presigned addresses", able=await self._presigned()),
                _ability("unordered listing", able=await self._able(self._unordered), needed=False),
                _ability(
                    "conditional PUT of versions",
                    able=await self._refuses(_MD5, {"if-none-match": "*"}),
                    needed=False,
                ),
            ]
        finally:
            await self._remove(self._bucket)

    async def _put(self, md5: str = _MD5, more: Mapping[str, str] | None = None) -> str:
        headers = {"content-md5": content_md5(md5), _WORD: "kept", **(more or {})}
        answer = await self._gateway.ask("PUT", self._path, (), headers, _BODY)
        return answer.headers.get("x-amz-version-id", "null")

    async def _versions(self) -> bool:
        await self._s3.enable_versioning(self._bucket)
        first, second = await self._put(), await self._put()
        await self._s3.delete_version(self._bucket, _KEY, second)
        current = await self._s3.head(self._bucket, _KEY)
        return "null" not in {first, second} and (current or {}).get("x-amz-version-id") == first

    async def _metadata(self) -> bool:
        await self._put()
        headers = await self._s3.head(self._bucket, _KEY) or {}
        return (headers.get(_WORD), headers.get("etag", "").strip('"')) == ("kept", _MD5)

    async def _refuses(self, md5: str, more: Mapping[str, str] | None = None) -> bool:
        return not await self._able(lambda: self._put(md5, more))

    async def _parts(self) -> None:
        upload = await self._s3.begin_upload(self._bucket, _KEY, {})
        query = [("uploadId", upload), ("partNumber", "1")]
        await self._gateway.ask("PUT", self._path, query, {"content-md5": content_md5(_MD5)}, _BODY)
        there = await self._s3.parts(self._bucket, _KEY, upload) or []
        if [(part.number, part.size, part.etag) for part in there] != [(1, len(_BODY), _MD5)]:
            raise StoreUnavailable("The gateway does not list a part as it was sent.")
        if await self._s3.complete(self._bucket, _KEY, upload, [_MD5]) is None:
            raise StoreUnavailable("The gateway does not know the upload that it has begun.")

    async def _presigned(self) -> bool:
        version_id = await self._put()
        config = self._gateway.config
        query = [("versionId", version_id)]
        target = presigned(config.credentials, config.host, self._path, query, time.time(), 60)
        return await self._gateway.get_anonymously(target) == _BODY

    async def _unordered(self) -> None:
        if not [version async for version in self._s3.versions(self._bucket, ordered=False)]:
            raise StoreUnavailable("The gateway lists nothing.")

    async def _able(self, operation: Callable[[], Awaitable[object]]) -> bool:
        """Whether the gateway does it. One that is not there or busy for a moment says nothing about that: raised."""
        try:
            return await operation() is not False
        except CephStorageError as error:
            if error.retry_after is not None:
                raise
            return False

    async def _remove(self, bucket: str) -> None:
        """Remove a scratch bucket with what a prober puts there; one with anything else stays."""
        async for upload in self._s3.uploads(bucket):
            await self._s3.abort(bucket, upload.key, upload.upload)
        for version in [found async for found in self._s3.versions(bucket)]:
            if version.key == _KEY:
                await self._s3.delete_version(bucket, version.key, version.version_id)
        await self._s3.delete_bucket(bucket)


def _ability(name: str, *, able: bool, needed: bool = True) -> Ability:
    return Ability(name, able, _WITHOUT[name], needed)
