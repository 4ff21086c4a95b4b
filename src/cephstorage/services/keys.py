"""Keys of tenants: create from a URL, upload, look up, list, delete; and the progress of all that."""

import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cephstorage.domain.digests import Digest, parse_md5
from cephstorage.domain.errors import CephStorageError, FolderNotFound, InvalidInput, KeyNotFound, PreconditionFailed
from cephstorage.domain.lifecycle import parse_expires
from cephstorage.domain.listing import checked
from cephstorage.domain.metadata import metadata_of
from cephstorage.domain.names import BucketName, key_name
from cephstorage.domain.records import (
    FolderUsage,
    ListQuery,
    Page,
    Precondition,
    Record,
    parse_content_type,
    parse_timetag,
)
from cephstorage.domain.transfers import Kind, State, Transfer, TransferRequest
from cephstorage.domain.urls import check_url
from cephstorage.ports.index import BucketIndex, KeyIndex
from cephstorage.ports.ledger import TransferLedger
from cephstorage.services.origins import OriginSecrets
from cephstorage.services.purges import Purges
from cephstorage.transfer.engine import TransferEngine
from cephstorage.transfer.parts import new_transfer

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class Order:
    """A wish to create a key from a URL, as the caller wrote it."""

    key: str
    url: str
    content_type: str | None = None
    md5: str | None = None
    timetag: str | float | None = None
    if_absent: bool = False
    if_match: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    expires: str | float | None = None


@dataclass(frozen=True, slots=True)
class UploadOrder:
    """A wish to store a body at a key. ``length`` is the announced one, in bytes."""

    key: str
    content_type: str | None
    md5: str | None
    timetag: str | float | None
    precondition: Precondition
    length: int | None
    promised: tuple[Digest, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    expires: str | float | None = None


class Keys:
    """The key storage."""

    def __init__(
        self,
        keys: KeyIndex,
        buckets: BucketIndex,
        ledger: TransferLedger,
        engine: TransferEngine,
        purges: Purges,
        secrets: OriginSecrets,
        clock: Callable[[], float],
    ) -> None:
        self._keys = keys
        self._buckets = buckets
        self._ledger = ledger
        self._engine = engine
        self._purges = purges
        self._secrets = secrets
        self._clock = clock

    async def create(self, bucket: BucketName, orders: Sequence[Order], idempotency_key: str | None) -> list[str]:
        """Queue creations from URLs, all or none; one token each.

        Raises InvalidKey, InvalidUrl, InvalidDigest, InvalidTimetag, BucketNotFound, PreconditionFailed,
        IdempotencyMismatch.
        """
        if idempotency_key is not None and not _IDEMPOTENCY_KEY.fullmatch(idempotency_key):
            raise InvalidInput("The Idempotency-Key must be 1 to 255 printable ASCII characters.")
        news = []
        for number, order in enumerate(orders):
            request = self._fetch_request(bucket, order)
            scoped = f"{bucket.username}:{idempotency_key}:{number}" if idempotency_key is not None else None
            fingerprint = _fingerprint(request, self._secrets.fingerprint(order.url), order.expires)
            news.append(new_transfer(request, fingerprint, scoped))
        tokens = await self._ledger.create(news, self._clock())
        self._engine.wake()
        return tokens

    def check(self, bucket: BucketName, order: Order) -> None:
        """Raise what is wrong with an order: InvalidKey, InvalidUrl, InvalidDigest, InvalidTimetag, InvalidInput."""
        self._fetch_request(bucket, order)

    async def take_in(
        self, bucket: BucketName, orders: Sequence[Order]
    ) -> tuple[int, list[tuple[int, CephStorageError]]]:
        """Queue creations, except of what is there with the md5 that the order names.

        How many were queued, and which were refused: their numbers among the orders, and why. Raises BucketNotFound.
        """
        md5s = await self._keys.md5s(bucket, [order.key for order in orders], self._clock())
        wanted = [n for n, order in enumerate(orders) if not order.md5 or md5s.get(order.key) != parse_md5(order.md5)]
        refused: list[tuple[int, CephStorageError]] = []
        try:
            await self.create(bucket, [orders[number] for number in wanted], None)
        except PreconditionFailed:
            for number in wanted:  # all or none: find out which
                try:
                    await self.create(bucket, [orders[number]], None)
                except PreconditionFailed as error:
                    refused.append((number, error))
        return len(wanted) - len(refused), refused

    async def upload(self, bucket: BucketName, order: UploadOrder, body: AsyncIterator[bytes]) -> Record:
        """Store a body. The answer comes when it is durable and visible; before, nothing of it is."""
        key = key_name(order.key)
        bounded = (await self._buckets.get(bucket)).bounded
        request = TransferRequest(
            Kind.UPLOAD,
            bucket,
            key,
            content_type=parse_content_type(order.content_type),
            md5=parse_md5(order.md5),
            timetag=parse_timetag(order.timetag),
            precondition=order.precondition,
            metadata=metadata_of(order.metadata),
            expires=parse_expires(order.expires, self._clock()),
        )
        present = await self._keys.get(bucket, key)
        if not order.precondition.holds(present.etag if present else None, exists=present is not None):
            raise PreconditionFailed(f"The key {key!r} is not in the state that the request demands.")
        record = await self._engine.upload(request, body, order.length, order.promised, bounded=bounded)
        await self._purges.settle(bucket, key)
        return record

    async def get(self, bucket: BucketName, key: str) -> Record:
        """The record of a key. Raises KeyNotFound, BucketNotFound."""
        return await visible(self._keys, self._buckets, bucket, key)

    async def listing(self, bucket: BucketName, query: ListQuery) -> Page:
        """One page of keys and sub-folders, to be shown. Raises InvalidInput, BucketNotFound, InvalidCursor."""
        return await self._keys.listing(bucket, replace(checked(query), facts=False))

    async def usage(self, bucket: BucketName, vfolder: str, limit: int, cursor: str | None) -> FolderUsage:
        """What a folder holds. Raises InvalidInput, BucketNotFound, FolderNotFound, InvalidCursor."""
        checked(ListQuery(vfolder))
        usage = await self._keys.usage(bucket, vfolder, limit, cursor)
        if usage is None:
            raise FolderNotFound(f"There is no folder {vfolder!r} in the bucket {bucket}.")
        return usage

    async def delete(self, bucket: BucketName, key: str) -> None:
        """Delete a key: invisible at once, at the edges too; its bytes go soon. Raises KeyNotFound, BucketNotFound."""
        await self._keys.delete(bucket, key_name(key), self._clock())
        self._engine.landed.set()
        await self._purges.settle(bucket, key)

    async def progress(self, token: str) -> Transfer:
        """A transfer by its token, with the freshest byte counts. Raises TransferNotFound."""
        return self._freshened(await self._ledger.get(token))

    def _freshened(self, transfer: Transfer) -> Transfer:
        fresh = self._engine.progress(transfer.id) if transfer.state is State.INPROGRESS else None
        return transfer if fresh is None else transfer.with_bytes(*fresh)

    async def cancel(self, token: str) -> None:
        """End a transfer. Raises TransferNotFound, TransferEnded."""
        await self._engine.cancel(token)

    def _fetch_request(self, bucket: BucketName, order: Order) -> TransferRequest:
        url, userinfo = self._secrets.seal_userinfo(check_url(order.url))
        return TransferRequest(
            Kind.FETCH,
            bucket,
            key_name(order.key),
            url=url,
            content_type=parse_content_type(order.content_type),
            md5=parse_md5(order.md5),
            timetag=parse_timetag(order.timetag),
            precondition=Precondition(order.if_absent, order.if_match),
            userinfo=userinfo,
            metadata=metadata_of(order.metadata),
            expires=parse_expires(order.expires, self._clock()),
        )


async def visible(keys: KeyIndex, buckets: BucketIndex, bucket: BucketName, key: str) -> Record:
    """The record of a key. Raises InvalidKey, KeyNotFound, BucketNotFound."""
    record = await keys.get(bucket, key_name(key))
    if record is None:
        await buckets.get(bucket)
        raise KeyNotFound(f"There is no key {key!r} in the bucket {bucket}.")
    return record


def _fingerprint(request: TransferRequest, credentials: str, expires: str | float | None) -> str:
    """Equal requests have equal fingerprints: bucket, key, URL with its credentials, and every expectation.

    ``expires`` is as written: a span from now means another moment each time.
    """
    condition = request.precondition
    parts = [
        str(request.bucket),
        request.key,
        request.url,
        request.content_type,
        request.md5,
        request.timetag,
        condition.if_absent,
        condition.if_match,
        *([credentials] if credentials else []),
        *([request.metadata] if request.metadata else []),
        *([{"expires": expires}] if expires else []),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
