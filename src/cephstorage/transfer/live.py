"""A transfer that is moving in this process, as its readers see it.

The engine puts bytes in; any number of readers follow, each at its own place. Readers wait here, state
what they need (so that far ranges are fetched first), and get the transfer's error when it fails.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cephstorage.domain.decision import is_failure
from cephstorage.domain.digests import Digest
from cephstorage.domain.errors import CephStorageError
from cephstorage.domain.policy import OriginAnswer, Policy
from cephstorage.domain.ranges import RangeRequest, Span
from cephstorage.domain.records import OriginFacts, Record
from cephstorage.domain.transfers import Lease, SourceFacts, TransferRequest
from cephstorage.ports.origin import OriginResponse
from cephstorage.transfer.room import Room
from cephstorage.transfer.spool import Spool

WITHHELD = 64 * 1024
"""Bytes at the end that readers get only after the promised digests were found right."""


@dataclass(frozen=True, slots=True)
class Flowing:
    """The origin's answer is being spooled: readers may follow."""

    source: SourceFacts


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The origin says that the stored copy is still good (304); ``facts`` are those of this answer."""

    facts: OriginFacts


@dataclass(frozen=True, slots=True)
class Refused:
    """The origin's answer is an error, small enough to be shared by everybody who waited for it."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    retry_after: float = 0.0


@dataclass(slots=True)
class NotStored:
    """The answer may not be stored. The first taker gets it to pass through; the others ask for themselves."""

    reason: str
    response: OriginResponse | None
    status: int
    retry_after: float = 0.0

    def take(self) -> OriginResponse | None:
        """The open answer, once."""
        response, self.response = self.response, None
        return response


@dataclass(frozen=True, slots=True)
class Landed:
    """There is no answer of the origin: what an earlier owner had brought was found stored. The key is to be looked at."""


Head = Flowing | Confirmed | Refused | NotStored | Landed


class LiveTransfer:
    """The moving side of one transfer. Lives on the event loop; only the spool's writes happen in threads."""

    def __init__(self, request: TransferRequest, lease: Lease, spool: Spool) -> None:
        self.request = request
        self.lease = lease
        self.spool = spool
        self.begun_with = spool.spans.total()
        """Bytes that an earlier attempt has left."""
        self.first_range: RangeRequest | None = None
        self.revalidating: Mapping[str, str] = {}
        self.source: SourceFacts | None = None
        self.length: int | None = None
        self.promised: tuple[Digest, ...] = ()
        self.verified = False
        self.record: Record | None = None
        self.seekable = False
        self.bounded: bool | None = None
        """Whether a quota bounds the bucket; None: not looked at yet."""
        self.room: Room | None = None
        self.readers = 0
        self.kept = False
        """Somebody wants the object itself, and reads none of it (a warm-up)."""
        self.unread = False
        """Nobody reads any more and a rule ends the fill: it is being dropped."""
        self._followed = False
        self.want: Callable[[Span], None] = lambda _: None
        self._head: asyncio.Future[Head] = asyncio.get_running_loop().create_future()
        self._ended: asyncio.Future[Record | None] = asyncio.get_running_loop().create_future()
        self._error: CephStorageError | None = None
        self._waiters: set[asyncio.Future[None]] = set()
        self._closing: asyncio.Future[None] | None = None
        for future in (self._head, self._ended):
            future.add_done_callback(_mark_seen)

    def announce(self, head: Head) -> None:
        """Tell everybody what the origin answered."""
        if isinstance(head, Flowing):
            self.source = head.source
            self.length = head.source.length
        if not self._head.done():
            self._head.set_result(head)
        self._wake()

    async def head(self) -> Head:
        """What the origin answered. Raises the transfer's error when it failed before."""
        return await asyncio.shield(self._head)

    @property
    def answered(self) -> bool:
        """Whether the origin's answer, or the transfer's error, is known already."""
        return self._head.done()

    def refusal_wait(self) -> float | None:
        """Seconds that the origin asked for when it failed to answer well (0.0: it named none); None when it did not."""
        head = self._head.result() if self._head.done() and not self._head.exception() else None
        if isinstance(head, Refused | NotStored) and is_failure(self.request.terms.policy.mode, head.status):
            return head.retry_after
        return None

    def is_first_reader(self) -> bool:
        """Whether nobody has followed this transfer before: asked once by each that follows it."""
        first, self._followed = not self._followed, True
        return first

    def drop_untaken(self) -> None:
        """Close an answer that nobody took (everybody who waited for it has left)."""
        head = self._head.result() if self._head.done() and not self._head.exception() else None
        if isinstance(head, NotStored) and (response := head.take()) is not None:
            self._closing = asyncio.ensure_future(response.close())

    def put(self, position: int, size: int) -> None:
        """Bytes have been written to the spool."""
        self.spool.publish(position, size)
        self._wake()

    def measured(self, length: int) -> None:
        """The length is known now (a chunked body has ended)."""
        self.length = length
        self._wake()

    def settle(self) -> None:
        """The promised digests are right: the withheld end may be read."""
        self.verified = True
        self._wake()

    def landed(self, record: Record | None) -> None:
        """The transfer ended well; ``record`` is None when there was nothing to land."""
        self.record = record
        if not self._head.done():
            self._head.set_result(Landed())
        if not self._ended.done():
            self._ended.set_result(record)
        self._wake()

    def failed(self, error: CephStorageError) -> None:
        """The transfer ended badly. Readers of a verified spool keep reading: their bytes are right."""
        self._error = error
        for future in (self._head, self._ended):
            if not future.done():
                future.set_exception(error)
        self._wake()

    async def ended(self) -> Record | None:
        """Wait for the landing. Raises the transfer's error."""
        return await asyncio.shield(self._ended)

    @property
    def policy(self) -> Policy:
        """What the rules say of this object, by what the origin has answered so far."""
        kind = self.source.content_type if self.source is not None else None
        terms = self.request.terms
        return terms.policy if kind is None else terms.when(OriginAnswer(200, kind))

    @property
    def finishes(self) -> bool:
        """Whether the fill goes on when nobody reads it: by the rules, by its share so far, or because it is whole."""
        least = self.policy.finish_from
        if least <= 0 or self.kept or self.complete:
            return True
        return bool(self.length) and 100.0 * self.spool.spans.total() >= least * (self.length or 0)

    @property
    def front(self) -> int:
        """Where the run of bytes from the beginning ends."""
        return self.spool.spans.held_end(0)

    @property
    def complete(self) -> bool:
        """Whether every byte is in the spool."""
        return self.length is not None and self.front >= self.length

    def readable_end(self, position: int) -> int:
        """Up to where a reader at ``position`` may read now."""
        end = self.spool.spans.held_end(position)
        if self.promised and not self.verified:
            end = min(end, max(0, (self.length if self.length is not None else self.front) - WITHHELD))
        return end

    def read_now(self, position: int, size: int) -> bytes | bytearray | None:
        """Bytes that are at hand, or None when the reader has to wait. Raises the transfer's error."""
        end = self.readable_end(position)
        if end > position:
            return self.spool.read_now(position, min(size, end - position))
        if self.length is not None and position >= self.length and (self.verified or not self.promised):
            return b""
        if self._error is not None and not self.verified:
            raise self._error
        return None

    async def readable(self, position: int, until: int | None = None) -> int:
        """Wait for the byte at ``position``; where the run of readable bytes from there ends.

        ``position`` itself at the end of the object. ``until`` is where this reader means to stop: what is
        missing up to there is fetched first when the front is far away. Raises the transfer's error when
        the bytes will not come.
        """
        while True:
            end = self.readable_end(position)
            if end > position or self.read_now(position, 1) is not None:
                return end
            stop = until if until is not None else self.length
            if stop is not None and stop > position:
                self.want(Span(position, stop))
            await self.changed()

    async def read(self, position: int, size: int, until: int | None = None) -> bytes | bytearray:
        """Bytes at ``position``, waited for as in ``readable``; empty at the end of the object."""
        end = await self.readable(position, until)
        if end <= position:
            return b""
        return await asyncio.to_thread(self.spool.read, position, min(size, end - position))

    async def changed(self) -> None:
        """Wait until something happens to the transfer."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


def _mark_seen(future: "asyncio.Future[Head] | asyncio.Future[Record | None]") -> None:
    if not future.cancelled():
        future.exception()
