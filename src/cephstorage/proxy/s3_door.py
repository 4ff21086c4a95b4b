"""The door behind RGW's 404 (and 412, see below): a key that a bucket does not have yet, but the mirror that the bucket is bound to may.

nginx asks here when RGW has answered 404 to a signed GET or HEAD of a key (``edge.s3_door``). RGW's 404 tells less than
it seems: it is given to whoever may list the bucket, also without the right to read what is in it, and the name may be
that of a bucket of another RGW tenant, or of none. So who gets bytes of the mirror directly is only the user to whom
the buckets belong, by the access key under which RGW has just accepted the signature. For everybody else the
object is stored first, and then RGW is asked again: its answer is the client's.

A key that somebody has deleted through S3 leaves a mark in the versioned bucket. It stays deleted.

A download in several ranges begins with the mirror's ETag and goes on when the object has been stored, under RGW's. Its
If-Match is then a 412 of RGW's, and is judged here by the validators that the client was shown, as long as RGW
still has that very copy.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Protocol

from cephstorage.domain.edge import ACCEL_REDIRECT, S3, S3_AGAIN, S3_LET_IN, S3_PREFIX
from cephstorage.domain.errors import InvalidName, OriginUnreachable
from cephstorage.domain.mirrors import Mirror
from cephstorage.domain.names import BucketName, decode_target
from cephstorage.ports.index import KeyIndex
from cephstorage.proxy.exchange import Exchange, Request
from cephstorage.proxy.mirror import MirrorProxy
from cephstorage.services.mirrors import Mirrors
from cephstorage.services.visits import Outcome, Visitor

_ACCESS_KEY = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/,\s=]+)/[^,\s=]+, ?SignedHeaders=[^,\s=]+, ?Signature=[0-9a-f]{64}"
    r"|AWS ([^:\s]+):[A-Za-z0-9+/]{27}="
)
"""Signature Version 4 or 2 as clients write it, all of it: who can make RGW read one access key and us another gets in."""
_REFUSALS = frozenset(range(400, 500)) - {HTTPStatus.TOO_MANY_REQUESTS}
"""Answers of a mirror that say that there is nothing to be had."""


class StoredNames(Protocol):
    """What lies in the store under a name."""

    async def untouched(self, bucket: BucketName, key: str) -> bool:
        """See ``ports.store.Store``."""
        ...

    async def is_newest(self, bucket: BucketName, key: str, store_version: str) -> bool:
        """See ``ports.store.Store``."""
        ...


class S3Door:
    """Answers S3 clients for whom RGW has nothing. ``access_key``: that of the user who owns the buckets."""

    def __init__(
        self,
        mirrors: Mirrors,
        keys: KeyIndex,
        proxy: MirrorProxy,
        visitor: Visitor,
        store: StoredNames,
        access_key: Callable[[], str],
    ) -> None:
        self._mirrors = mirrors
        self._keys = keys
        self._proxy = proxy
        self._visitor = visitor
        self._store = store
        self._access_key = access_key

    async def serve(self, exchange: Exchange) -> None:
        """Send the object, or have RGW asked again. Raises errors of the tree."""
        assert exchange.edge is not None, "nobody but our edge gets here"
        request = exchange.request
        mirror, path = self._asked(request)
        key = decode_target(path.encode("latin-1")).removeprefix("/")
        owner = _access_key(request) == self._access_key()
        if mirror is None or not key or not await self._may_have(exchange, mirror.bucket, key, owner=owner):
            await _ask_again(exchange)
            return
        if owner:
            exchange.request = _to_mirror(request, mirror, path)
            exchange.edge = replace(exchange.edge, s3=S3_LET_IN)
            await self._proxy.serve(exchange)
        else:
            await self._store_first(exchange, mirror, path)

    async def _may_have(self, exchange: Exchange, bucket: BucketName, key: str, *, owner: bool) -> bool:
        """Whether it is the mirror's to answer: what nobody has stored or deleted, or the very copy that RGW has.

        Nobody but the owner was ever shown validators of the mirror's.
        """
        if exchange.edge is None or exchange.edge.store_failed != HTTPStatus.PRECONDITION_FAILED:
            return await self._store.untouched(bucket, key)
        record = await self._keys.get(bucket, key) if owner else None
        return record is not None and await self._store.is_newest(bucket, key, record.store_version)

    def _asked(self, request: Request) -> tuple[Mirror | None, str]:
        """The mirror of the bucket, and the path of the key there. Of several mirrors it is the first by host name."""
        name, _, key = request.raw_path.removeprefix(f"{S3_PREFIX}/").partition("/")
        try:
            bucket = BucketName.parse(name)
        except InvalidName:
            return None, ""
        return next(iter(self._mirrors.all(str(bucket))), None), f"/{key}"

    async def _store_first(self, exchange: Exchange, mirror: Mirror, path: str) -> None:
        """Have the key filled, seen by nobody; RGW is asked again when it is visible, or never will be."""
        visited = await self._visitor.visit(mirror, path)
        if visited.outcome is Outcome.FAILED and visited.status not in _REFUSALS:
            raise OriginUnreachable(visited.msg)
        await _ask_again(exchange)


def _access_key(request: Request) -> str:
    """The access key under which RGW has accepted the request's signature; empty when it may have read another one."""
    found = _ACCESS_KEY.fullmatch(request.headers.get("authorization", ""))
    return (found[1] or found[2]) if found is not None else ""


def _to_mirror(request: Request, mirror: Mirror, path: str) -> Request:
    """The request as one to the mirror, let in. What the client showed to RGW is for nobody else."""
    headers = {name: value for name, value in request.headers.items() if name != "authorization"}
    return replace(
        request,
        raw_path=path,
        raw_query="",
        written=path,
        headers={**headers, "host": mirror.host},
        internal={**request.internal, S3: S3_LET_IN},
    )


async def _ask_again(exchange: Exchange) -> None:
    await exchange.whole(200, [(ACCEL_REDIRECT, S3_AGAIN)], b"")
