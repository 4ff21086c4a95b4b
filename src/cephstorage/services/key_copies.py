"""Copies and renames of keys, within and between the buckets of a tenant: the store copies, no byte passes through here."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cephstorage.domain.errors import InvalidInput, PreconditionFailed
from cephstorage.domain.lifecycle import parse_expires
from cephstorage.domain.metadata import metadata_of
from cephstorage.domain.names import BucketName, key_name
from cephstorage.domain.records import NO_PRECONDITION, Precondition, Record, parse_content_type, parse_timetag
from cephstorage.domain.transfers import CopySource, Kind, TransferRequest
from cephstorage.ports.index import BucketIndex, KeyIndex
from cephstorage.services.keys import visible
from cephstorage.services.purges import Purges
from cephstorage.transfer.engine import TransferEngine

_WAIT = 20.0
"""Seconds for which an answer waits for the copy. Ceph copies up to 5 GiB by reference; what is larger takes longer."""


@dataclass(frozen=True, slots=True)
class CopyOrder:
    """A wish to have a key's version under another name, too, or instead (``moves``).

    ``if_source_match`` is about the ETag of the source, ``precondition`` about the key to come. What is None stays as
    it is at the source, but for ``expires``, which goes along with what moves and not with a copy.
    """

    source_bucket: BucketName
    source_key: str
    key: str
    moves: bool = False
    if_source_match: str | None = None
    precondition: Precondition = NO_PRECONDITION
    content_type: str | None = None
    timetag: str | float | None = None
    metadata: Mapping[str, str] | None = None
    expires: str | float | None = None


@dataclass(frozen=True, slots=True)
class CopyUnderWay:
    """The copy goes on; its end is told under the token, as of any transfer."""

    token: str


class KeyCopies:
    """Makes copies."""

    def __init__(
        self,
        keys: KeyIndex,
        buckets: BucketIndex,
        engine: TransferEngine,
        purges: Purges,
        clock: Callable[[], float],
        wait: float = _WAIT,
    ) -> None:
        self._keys = keys
        self._buckets = buckets
        self._engine = engine
        self._purges = purges
        self._clock = clock
        self._wait = wait

    async def make(self, bucket: BucketName, order: CopyOrder) -> Record | CopyUnderWay:
        """Copy, or rename. The answer comes when it is durable and visible, or else says where to ask.

        Raises InvalidInput, BucketNotFound, KeyNotFound, PreconditionFailed.
        """
        source = await self._source(order)
        request = _request(bucket, order, source, self._clock())
        await self._buckets.get(bucket)
        token, landing = await self._engine.copy(request, source)
        landing.add_done_callback(lambda _: self._purges.wake())
        try:
            async with asyncio.timeout(self._wait):
                record = await asyncio.shield(landing)
        except TimeoutError:
            return CopyUnderWay(token)
        await self._purges.settle(bucket, request.key)
        if order.moves:
            await self._purges.settle(order.source_bucket, source.key)
        return record

    async def _source(self, order: CopyOrder) -> Record:
        source = await visible(self._keys, self._buckets, order.source_bucket, order.source_key)
        if not Precondition(if_match=order.if_source_match).holds(source.etag, exists=True):
            raise PreconditionFailed(
                f"The key {source.key!r} in {source.bucket} is another version than the one to be copied."
            )
        return source


def _request(bucket: BucketName, order: CopyOrder, source: Record, now: float) -> TransferRequest:
    key = key_name(order.key)
    if order.moves and (bucket, key) == (source.bucket, source.key):
        raise InvalidInput("A key can't be renamed to its own name.")
    return TransferRequest(
        Kind.COPY,
        bucket,
        key,
        content_type=parse_content_type(order.content_type),
        timetag=parse_timetag(order.timetag),
        precondition=order.precondition,
        metadata=source.metadata if order.metadata is None else metadata_of(order.metadata),
        expires=parse_expires(order.expires, now) or (source.expires if order.moves else None),
        copy_of=CopySource(source.bucket, source.key, source.generation, source.store_version, order.moves),
    )
