"""S3's operations as RGW 16 and later answer them: each is one request, or the pages of one listing.

Source: the S3 API reference; where RGW differs it is said.
"""

import calendar
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from urllib.parse import unquote

from cephstorage.domain.errors import StoreUnavailable
from cephstorage.domain.sigv4 import path_of
from cephstorage.store.ceph.gateway import Answer, Body, Gateway
from cephstorage.store.ceph.xml import NOWHERE, VERSIONING_ON, Element, completion, parse

_PAGE = "1000"
_QUESTION = 10.0
"""Seconds for a question on which a reader waits."""
_URL_KEYS = ("encoding-type", "url")


@dataclass(frozen=True, slots=True)
class ListedVersion:
    """A version in a listing; a delete marker has no bytes. ``written_at`` in epoch seconds."""

    key: str
    version_id: str
    marker: bool
    newest: bool = True
    size: int = 0
    etag: str = ""
    written_at: float = 0.0


@dataclass(frozen=True, slots=True)
class ListedBucket:
    """A bucket of the user's; ``age`` in seconds by the gateway's own clock."""

    name: str
    age: float


@dataclass(frozen=True, slots=True)
class ListedUpload:
    """An unfinished upload of parts; ``begun`` in epoch seconds."""

    key: str
    upload: str
    begun: float


@dataclass(frozen=True, slots=True)
class ListedPart:
    """A part that the gateway has; ``etag`` is its md5 in hex."""

    number: int
    size: int
    etag: str


class S3:
    """Operations on buckets, objects, versions and parts."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def create_bucket(self, bucket: str) -> None:
        """Make a versioned bucket; one that is ours already is fine."""
        await self._gateway.ask("PUT", path_of(bucket), fine={"BucketAlreadyOwnedByYou"})
        await self.enable_versioning(bucket)

    async def enable_versioning(self, bucket: str) -> None:
        """Have every PUT make a version of its own."""
        await self._gateway.ask("PUT", path_of(bucket), [("versioning", "")], body=VERSIONING_ON)

    async def try_name(self, bucket: str) -> None:
        """See whether a bucket could have this name. Raises StoreMisconfigured.

        Only a creation tells. One in a place that does not exist is refused for the place, after the name.
        """
        await self._gateway.ask("PUT", path_of(bucket), body=NOWHERE, fine={"InvalidLocationConstraint"})

    async def delete_bucket(self, bucket: str) -> bool:
        """Remove an empty bucket; False when it is not empty. A missing one is fine."""
        answer = await self._gateway.ask("DELETE", path_of(bucket), fine={404, "BucketNotEmpty"})
        return answer.code != "BucketNotEmpty"

    async def head(self, bucket: str, key: str, version_id: str | None = None) -> Mapping[str, str] | None:
        """The headers of a version, by default the current one; None when it is not there."""
        query = [("versionId", version_id)] if version_id is not None else []
        timeout = min(_QUESTION, self._gateway.config.timeout)
        answer = await self._gateway.ask("HEAD", path_of(bucket, key), query, fine={400, 404}, timeout=timeout)
        return answer.headers if answer.status == HTTPStatus.OK else None

    async def put(self, bucket: str, key: str, body: Body, md5: str, headers: Mapping[str, str]) -> Answer:
        """Store an object in one request. ``md5`` is Content-MD5's value: RGW refuses other bytes."""
        return await self._gateway.ask("PUT", path_of(bucket, key), (), {**headers, "content-md5": md5}, body)

    async def delete_version(self, bucket: str, key: str, version_id: str) -> None:
        """Remove one version; a missing one is fine."""
        await self._gateway.ask("DELETE", path_of(bucket, key), [("versionId", version_id)], fine={404})

    async def lay_marker(self, bucket: str, key: str) -> None:
        """Delete a key as clients do: in a versioned bucket every version stays."""
        await self._gateway.ask("DELETE", path_of(bucket, key), fine={404})

    async def begin_upload(self, bucket: str, key: str, headers: Mapping[str, str]) -> str:
        """Begin an upload of parts; its id."""
        answer = await self._gateway.ask("POST", path_of(bucket, key), [("uploads", "")], headers)
        return _root(answer).text("UploadId")

    async def put_part(self, bucket: str, key: str, upload: str, number: int, body: Body, md5: str) -> Answer:
        """Store a part."""
        query = [("uploadId", upload), ("partNumber", str(number))]
        return await self._gateway.ask("PUT", path_of(bucket, key), query, {"content-md5": md5}, body)

    async def copy(
        self, bucket: str, key: str, source: str, headers: Mapping[str, str], *, part: tuple[str, int] | None = None
    ) -> str | None:
        """Have the gateway copy bytes; the ETag of what came of it, None when the source is not there.

        ``source`` is the value of x-amz-copy-source. ``part``: the upload that it becomes a part of, and its number.
        A refusal may come with status 200, once the gateway has begun (S3 API, "CopyObject").
        """
        query = [("uploadId", part[0]), ("partNumber", str(part[1]))] if part is not None else []
        sent = {**headers, "x-amz-copy-source": source}
        answer = await self._gateway.ask("PUT", path_of(bucket, key), query, sent, fine={"NoSuchKey", "NoSuchVersion"})
        if answer.code:
            return None
        return _root(answer).text("ETag").strip('"')

    async def parts(self, bucket: str, key: str, upload: str) -> list[ListedPart] | None:
        """The parts that have come; None when there is no such upload."""
        found: list[ListedPart] = []
        while True:
            query = [("uploadId", upload), ("max-parts", _PAGE)]
            query += [("part-number-marker", str(found[-1].number))] if found else []
            answer = await self._gateway.ask("GET", path_of(bucket, key), query, fine={"NoSuchUpload", "NoSuchKey"})
            if answer.status == HTTPStatus.NOT_FOUND:
                return None
            root = _root(answer)
            page = [_part(part) for part in root.children("Part")]
            found += page
            if root.text("IsTruncated") != "true" or not page:
                return found

    async def complete(self, bucket: str, key: str, upload: str, etags: Iterable[str]) -> str | None:
        """Make the parts an object; its version id. None when there is no such upload (any more)."""
        answer = await self._gateway.ask(
            "POST",
            path_of(bucket, key),
            [("uploadId", upload)],
            body=completion(etags),
            fine={"NoSuchUpload"},
        )
        if answer.code:
            return None
        return _root(answer).text("VersionId") or answer.headers.get("x-amz-version-id", "null")

    async def abort(self, bucket: str, key: str, upload: str) -> None:
        """Give up an upload of parts; a missing one is fine."""
        await self._gateway.ask("DELETE", path_of(bucket, key), [("uploadId", upload)], fine={404})

    async def versions(
        self, bucket: str, prefix: str = "", *, ordered: bool = True, page_size: int = 1000
    ) -> AsyncIterator[ListedVersion]:
        """Versions and delete markers whose keys have a prefix. None of a missing bucket.

        Unordered (``allow-unordered``, RGW only) a bucket of many shards is read shard by shard.
        """
        after: tuple[str, str] | None = None
        while True:
            page, more = await self.version_page(bucket, prefix, after, ordered=ordered, page_size=page_size)
            for version in page:
                yield version
            if not more:
                return
            after = page[-1].key, page[-1].version_id

    async def version_page(
        self,
        bucket: str,
        prefix: str = "",
        after: tuple[str, str] | None = None,
        *,
        ordered: bool = True,
        page_size: int = 1000,
    ) -> tuple[list[ListedVersion], bool]:
        """A page of such a listing behind a key and version, and whether there is more."""
        query = [("versions", ""), _URL_KEYS, ("max-keys", str(page_size))]
        query += [("prefix", prefix)] if prefix else []
        query += [] if ordered else [("allow-unordered", "true")]
        query += [("key-marker", after[0]), ("version-id-marker", after[1])] if after is not None else []
        answer = await self._gateway.ask("GET", path_of(bucket), query, fine={"NoSuchBucket"})
        if answer.status == HTTPStatus.NOT_FOUND:
            return [], False
        root = _root(answer)
        page = [_version(node) for node in root.children("Version", "DeleteMarker")]
        return page, bool(page) and root.text("IsTruncated") == "true"

    async def newest(self, bucket: str, key: str) -> ListedVersion | None:
        """The key's newest version or delete marker; None when it has none. Raises what a missing bucket means.

        Listings are in the order of keys, so that a key comes before what only begins with it.
        """
        query = [("versions", ""), _URL_KEYS, ("max-keys", "1"), ("prefix", key)]
        root = _root(await self._gateway.ask("GET", path_of(bucket), query, timeout=_QUESTION))
        first = next((_version(node) for node in root.children("Version", "DeleteMarker")), None)
        return first if first is not None and first.key == key else None

    async def uploads(self, bucket: str, prefix: str = "") -> AsyncIterator[ListedUpload]:
        """Unfinished uploads of parts whose keys have a prefix. None of a missing bucket."""
        query = [("uploads", ""), _URL_KEYS, ("max-uploads", _PAGE), *([("prefix", prefix)] if prefix else [])]
        after: list[tuple[str, str]] = []
        while True:
            answer = await self._gateway.ask("GET", path_of(bucket), [*query, *after], fine={"NoSuchBucket"})
            if answer.status == HTTPStatus.NOT_FOUND:
                return
            root = _root(answer)
            page = [_upload(node) for node in root.children("Upload")]
            for upload in page:
                yield upload
            if root.text("IsTruncated") != "true" or not page:
                return
            after = [("key-marker", page[-1].key), ("upload-id-marker", page[-1].upload)]

    async def answers(self, timeout: float) -> float:
        """Ask for the user's buckets, which takes gateway, credentials and OSDs; the clock's lead over the gateway's."""
        answer = await self._gateway.ask("GET", "/", timeout=timeout)
        return clock_difference(answer, time.time())

    async def release(self, timeout: float) -> str:
        """How the gateway names itself, with its release since Ceph 19; empty when it does not."""
        return (await self._gateway.ask("GET", "/", timeout=timeout)).headers.get("server", "")

    async def buckets(self) -> list[ListedBucket]:
        """The user's buckets; RGW lists them all at once."""
        answer = await self._gateway.ask("GET", "/")
        now = time.time() - clock_difference(answer, time.time())
        listed = [node for group in _root(answer).children("Buckets") for node in group.children("Bucket")]
        return [ListedBucket(node.text("Name"), now - _moment(node.text("CreationDate"))) for node in listed]


def clock_difference(answer: Answer, now: float) -> float:
    """Seconds by which this machine's clock is ahead of the gateway's, to a second or so."""
    try:
        there = calendar.timegm(time.strptime(answer.headers.get("date", ""), "%a, %d %b %Y %H:%M:%S GMT"))
    except ValueError:
        return 0.0
    return now - there


def _root(answer: Answer) -> Element:
    root = parse(answer.body)
    if root is None:
        raise StoreUnavailable("The Ceph gateway's answer is no XML; see whether ceph_gateway is an RGW's address.")
    return root


def _part(node: Element) -> ListedPart:
    return ListedPart(int(node.text("PartNumber")), int(node.text("Size")), node.text("ETag").strip('"'))


def _version(node: Element) -> ListedVersion:
    return ListedVersion(
        unquote(node.text("Key")),
        node.text("VersionId"),
        node.name == "DeleteMarker",
        node.text("IsLatest") == "true",
        int(node.text("Size") or 0),
        node.text("ETag").strip('"'),
        _moment(node.text("LastModified")),
    )


def _upload(node: Element) -> ListedUpload:
    return ListedUpload(unquote(node.text("Key")), node.text("UploadId"), _moment(node.text("Initiated")))


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
