"""What this RGW can do, found out by doing it in a bucket of its own, which is gone afterwards.

Releases differ, and so do gateways of one release by their settings. What the store needs and does not
find would show itself only under load, or by wrong bytes.
"""

import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from cephstorage.domain.errors import CephStorageError, StoreUnavailable
from cephstorage.store.ceph.gateway import Gateway
from cephstorage.store.ceph.parts import content_md5
from cephstorage.store.ceph.s3 import S3
from cephstorage.store.ceph.signing import path_of, presigned

_KEY = "probe/a b+ü"
_BODY = b"cephstorage"
_MD5 = hashlib.md5(_BODY, usedforsecurity=False).hexdigest()
_OTHER_MD5 = hashlib.md5(b"other", usedforsecurity=False).hexdigest()
_WORD = "x-amz-meta-word"


@dataclass(frozen=True, slots=True)
class Ability:
    """Something that a gateway can do or can't. ``needed``: the store does not work without it."""

    name: str
    able: bool
    needed: bool = True


class Probe:
    """Tries a gateway's abilities, one after the other."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._s3 = S3(gateway)
        self._bucket = f"cephstorage___probe-{secrets.token_hex(4)}"
        self._path = path_of(self._bucket, _KEY)

    async def run(self) -> list[Ability]:
        """Try everything. Raises StoreMisconfigured, StoreUnavailable, StoreFull when it does not even come to that."""
        await self._s3.create_bucket(self._bucket)
        try:
            return [
                Ability("versions", await self._versions()),
                Ability("user metadata", await self._metadata()),
                Ability("Content-MD5 is verified", await self._refuses(_OTHER_MD5)),
                Ability("uploads in parts", await self._able(self._parts)),
                Ability("presigned addresses", await self._presigned()),
                Ability("unordered listing", await self._able(self._unordered), needed=False),
                Ability("conditional PUT of versions", await self._refuses(_MD5, {"if-none-match": "*"}), needed=False),
            ]
        finally:
            await self._clean_up()

    async def _put(self, md5: str = _MD5, more: Mapping[str, str] | None = None) -> str:
        headers = {"content-md5": content_md5(md5), _WORD: "kept", **(more or {})}
        answer = await self._gateway.ask("PUT", self._path, (), headers, _BODY)
        return answer.headers.get("x-amz-version-id", "null")

    async def _versions(self) -> bool:
        first, second = await self._put(), await self._put()
        await self._s3.delete_version(self._bucket, _KEY, second)
        current = await self._s3.head(self._bucket, _KEY)
        return "null" not in {first, second} and (current or {}).get("x-amz-version-id") == first

    async def _metadata(self) -> bool:
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
        if await self._s3.complete(self._bucket, _KEY, upload, [_MD5]) in {None, "null"}:
            raise StoreUnavailable("The gateway gives no version to what was put together.")

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
        """Whether the gateway does it. One that does not answer at all is no matter of ability, and seen elsewhere."""
        try:
            await operation()
        except CephStorageError:
            return False
        return True

    async def _clean_up(self) -> None:
        async for upload in self._s3.uploads(self._bucket):
            await self._s3.abort(self._bucket, upload.key, upload.upload)
        for version in [found async for found in self._s3.versions(self._bucket)]:
            await self._s3.delete_version(self._bucket, version.key, version.version_id)
        await self._s3.delete_bucket(self._bucket)
