"""Filling a spool from an origin: the first answer, ranges far ahead first, resuming after breaks.

The coordinator keeps a few pulls going and decides what each fetches next. What a reader needs far
ahead of every running pull gets a pull of its own; the background works through the gaps in order, in
segments short enough that nobody waits long for a byte inside one. So every byte is asked for once, except that an
answer in flight can't be told to leave something out.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from cephstorage.domain.digests import Digest
from cephstorage.domain.errors import (
    CephStorageError,
    OriginBroken,
    OriginBusy,
    OriginChanged,
    OriginProtocol,
    StoreFull,
)
from cephstorage.domain.freshness import joined
from cephstorage.domain.policy import DigestSource, Mode
from cephstorage.domain.ranges import Span, SpanSet
from cephstorage.domain.records import OriginFacts
from cephstorage.domain.storability import confirms
from cephstorage.domain.transfers import RetryPolicy, SourceFacts
from cephstorage.domain.validators import Validators
from cephstorage.domain.variants import chosen_by
from cephstorage.ports.origin import Origin, OriginRequest, OriginResponse
from cephstorage.transfer import intake, pull
from cephstorage.transfer.intake import Limits
from cephstorage.transfer.joining import joined_version
from cephstorage.transfer.live import Confirmed, Flowing, LiveTransfer, NotStored
from cephstorage.transfer.parts import Expected
from cephstorage.transfer.pull import Pull

SEGMENT = 8 << 20
"""Bytes that a background pull asks for at a time once ranges are known to work, and how far ahead of a
running pull a reader's need must lie to deserve a pull of its own."""
PASSED_OVER = 4 << 20
"""Bytes that a running answer brings in vain at most, because they were fetched ahead of it: for more it is cut."""
BACKGROUND_PULLS = 2
MOST_PULLS = 6
REWRITE_LIMIT = 32 << 20
_UNKNOWN_END = 1 << 62
RESUME = RetryPolicy(attempts=7, base=0.4, cap=15.0)
"""Readers are waiting meanwhile: about 12 to 25 seconds in all, then the fill gives up."""


@dataclass(slots=True)
class Fetch:
    """One attempt to make the spool of ``live`` whole."""

    live: LiveTransfer
    origin: Origin
    limits: Limits
    chance: Callable[[], float]
    resume: RetryPolicy = RESUME
    clock: Callable[[], float] = time.time
    expected: Expected | None = None
    _running: dict["asyncio.Task[None]", Pull] = field(default_factory=dict)
    _demands: list[Span] = field(default_factory=list)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _ranges_lie: bool = False
    _crowded: bool = False
    _digests: tuple[Digest, ...] = ()
    _asked_at: float = 0.0
    _answered_at: float = 0.0

    async def run(self) -> bool:
        """Make the spool whole. False when the origin's answer leaves nothing to land.

        Raises the origin's errors, StoreFull and TooLarge. What is in the spool stays for another attempt.
        """
        self.live.want = self._want
        if self.live.source is not None:
            self._digests = await self._expectation()
        if self._resumes():
            first = None
            self.limits.spools.promise(self.live.lease.transfer_id, self.live.length or 0)
            if self.live.request.mirror_host is None:  # whoever had it before has lost its room with the lease
                await self._hold(self.live.length or 0)
        else:
            response = await self._first_answer()
            if response is None:
                return False
            if self.live.request.rewrite_links is not None:
                return await self._rewritten(response)
            first = self._begin(response)
        try:
            await self._complete(first)
        finally:
            await self._stop_pulls()
        return True

    def _resumes(self) -> bool:
        """Whether an earlier process left bytes that may be joined with more of the same version."""
        live = self.live
        held = live.spool.spans.total()
        if (
            live.source is None
            or held == 0
            or (live.source.resume_validator is None and live.front != live.source.length)
        ):
            if held:
                live.spool.reset()
            live.source = None
            return False
        live.promised = intake.promised_digests(live.request, live.source) + self._digests
        live.announce(Flowing(live.source))
        return True

    async def _hold(self, size: int) -> None:
        if self.live.room is not None:
            await self.live.room.hold(size)

    @property
    def _expects(self) -> bool:
        """Whether a rule says where a digest of the bytes is found."""
        return self.live.request.terms.policy.digest is not DigestSource.NONE

    async def _expectation(self) -> tuple[Digest, ...]:
        """What a rule has the bytes checked against."""
        if self.expected is None or not self._expects:
            return ()
        return await self.expected(self.live.request)

    async def _first_answer(self) -> OriginResponse | None:
        """The answer that is to be spooled; None when it was handed to the waiters instead.

        What its bytes are checked against is found out meanwhile.
        """
        if not self._expects:
            return await self._answer_to_spool()
        expecting = asyncio.create_task(self._expectation())
        try:
            response = await self._answer_to_spool()
            if response is not None:
                try:
                    self._digests = await expecting
                except BaseException:
                    await response.close()
                    raise
            return response
        finally:
            expecting.cancel()

    async def _answer_to_spool(self) -> OriginResponse | None:
        response = await self._ask()
        request = self.live.request
        try:
            if request.mirror_host is None:
                intake.check_fetch(response, request)
                length = intake.total_length(response) or 0
                self.limits.admit(self.live.lease.transfer_id, length)
                await self._hold(length)
                return response
            head = await intake.unstored_head(
                response,
                request,
                revalidating=bool(self.live.revalidating),
                limits=self.limits,
                transfer_id=self.live.lease.transfer_id,
                room=self.live.room,
            )
        except BaseException:  # who is dropped meanwhile leaves its place at the origin to others
            await response.close()
            raise
        head = head or self._unspoolable(response)
        if isinstance(head, Confirmed):
            head = Confirmed(self._timed(head.facts))
        if head is not None:
            self.live.announce(head)
            return None
        return response

    def _unspoolable(self, response: OriginResponse) -> NotStored | None:
        """The answer for who takes it, where the spool's disk takes no file."""
        try:
            self.live.spool.file()
        except OSError:
            return NotStored(StoreFull.code, response, response.status)
        return None

    def _timed(self, facts: OriginFacts) -> OriginFacts:
        """What is remembered of the first answer, with what only the asking tells of it."""
        request = self.live.request
        by_origin = request.terms.policy.mode is Mode.ORIGIN
        varies = chosen_by(joined(facts.headers).get("vary"), request.headers) if by_origin else ()
        return replace(facts, request_time=self._asked_at, response_time=self._answered_at, varies=varies)

    def _source(self, response: OriginResponse) -> SourceFacts:
        source = intake.source_facts(response, self.live.request)
        return source if source.origin is None else replace(source, origin=self._timed(source.origin))

    async def _ask(self) -> OriginResponse:
        """Ask for what the first reader wants; fall back to the whole object where a span can't be joined.

        A page whose links are rewritten has other places than the origin's, so it is asked for whole.
        """
        plain = intake.origin_request(self.live.request)
        wanted = self.live.first_range if self.live.request.rewrite_links is None else None
        asked = replace(plain, range=wanted, headers=(*plain.headers, *self.live.revalidating.items()))
        response = await self._open(asked)
        if response.status == 416 or (response.status == 206 and not intake.joinable(response, asked)):
            await response.close()
            response = await self._open(replace(asked, range=None))
            if response.status == 206 and not intake.has_place(response):
                await response.close()
                raise OriginProtocol(
                    "The origin answers 206 to whatever it is asked, and does not say with which part."
                )
        if response.status == 304 and not self._confirms(response):
            await response.close()
            self.live.revalidating = {}
            response = await self._open(plain)
        return response

    def _confirms(self, response: OriginResponse) -> bool:
        shown = intake.origin_facts(response, self.live.request).validators
        return confirms(Validators(self.live.revalidating.get("If-None-Match")), shown)

    async def _open(self, asked: OriginRequest) -> OriginResponse:
        self._asked_at = self.clock()
        response = await self.origin.open(asked)
        self._answered_at = self.clock()
        return response

    def _begin(self, response: OriginResponse) -> Pull:
        live = self.live
        source = self._source(response)
        live.promised = intake.promised_digests(live.request, source) + self._digests
        live.seekable = response.status == 206 or response.headers.get("accept-ranges", "").lower() == "bytes"
        live.announce(Flowing(source))
        answered = intake.content_range(response)
        span = answered.span if answered is not None else None
        if span is None:
            return Pull(0, response.length, response)
        return Pull(span.start, span.end, response, urgent=True)

    async def _rewritten(self, response: OriginResponse) -> bool:
        """A small page whose links are made to lead through the mirror: spooled whole, announced afterwards."""
        live = self.live
        assert live.request.rewrite_links is not None
        old, new = (link.encode() for link in live.request.rewrite_links)
        body = bytearray()
        try:
            async for chunk in response.chunks():
                body += chunk
                if len(body) > REWRITE_LIMIT:
                    raise OriginBroken("The page is too large for its links to be rewritten.")
        finally:
            await response.close()
        page = bytes(body).replace(old, new)
        await live.spool.put(0, page)
        source = self._source(response)
        live.announce(Flowing(replace(source, length=len(page), resume_validator=None, declared=())))
        live.put(0, len(page))
        return True

    async def _complete(self, first: Pull | None) -> None:
        failures = 0
        if first is not None:
            self._start(first)
        while not self.live.complete:
            self._start_pulls()
            ended = await self._next_ends()
            for done, error in ended:
                failures = 0 if done.moved else failures
                if error is not None:
                    self._take_back()
                self._crowded = isinstance(error, OriginBusy) and bool(self._running)
                if self._crowded:
                    continue  # there is no place for one more: those that run go on
                if isinstance(error, OriginProtocol) and not done.plain and done.response is None:
                    self._distrust_ranges()
                elif error is not None:
                    failures += 1
                    await self._pause(failures, error)

    def _take_back(self) -> None:
        """What was left to a pull that has failed comes by in a running answer, perhaps."""
        fetched = self._assigned()
        for running in self._running.values():
            running.take_back(fetched)

    def _distrust_ranges(self) -> None:
        """The origin answers ranges wrongly: what is missing is read from whole answers."""
        self._ranges_lie = True
        self.live.seekable = False

    async def _pause(self, failures: int, error: BaseException) -> None:
        """Wait before the next try, or raise the error when there is none."""
        if not isinstance(error, CephStorageError) or not error.retryable or isinstance(error, OriginChanged):
            raise error
        delay = self.resume.delay(failures, self.chance(), error.retry_after)
        if delay is None or delay > self.resume.cap or self._whole_only():
            raise error  # readers are not held for as long as a Retry-After may ask; a queued transfer is
        await asyncio.sleep(delay)

    def _whole_only(self) -> bool:
        """Whether this origin's bytes can't be asked for again from the middle."""
        return joined_version(self.live) is None

    def _want(self, need: Span) -> None:
        """A reader waits for these bytes: see to it unless a running pull brings them soon."""
        if not any(p.covers(need.start) and need.start - p.position < SEGMENT for p in self._running.values()):
            self._demands.append(need)
            self._wake.set()

    def _start_pulls(self) -> None:
        demands, self._demands = self._demands, []  # who still wants something says so again at the next byte
        if self._whole_only() or (self._crowded and self._running):
            return
        if self.live.seekable:
            for span in self._needed_now(demands):
                self._start(Pull(span.start, span.end, urgent=True))
        if any(running.urgent for running in self._running.values()):
            return
        while len(self._running) < (BACKGROUND_PULLS if self.live.seekable else 1):
            if (gap := self._next_gap()) is None:
                break
            self._start(gap)

    def _needed_now(self, demands: Iterable[Span]) -> Iterator[Span]:
        """The first missing span of every reader's need that no pull will reach soon."""
        for demand in demands:
            gap = next(self.live.spool.spans.gaps(demand.start, demand.end), None)
            if gap is None or len(self._running) >= MOST_PULLS:
                continue
            reaching = next((p for p in self._running.values() if p.covers(gap.start)), None)
            if reaching is not None:
                if gap.start - reaching.position < SEGMENT:
                    continue
                reaching.leave(gap, PASSED_OVER)
            free = next(self._assigned().gaps(gap.start, gap.end), None)
            if free is not None and free.start == gap.start:
                yield free

    def _assigned(self) -> SpanSet:
        """What is in the spool or on its way."""
        spans = SpanSet(self.live.spool.spans)
        for running in self._running.values():
            for piece in running.pieces(_UNKNOWN_END):
                spans.add(piece.start, piece.end)
        return spans

    def _next_gap(self) -> Pull | None:
        """The next piece for the background: a segment, or all of the gap where ranges may not work."""
        length = self.live.length
        if length is None:
            return Pull(self.live.front, None, plain=self._ranges_lie) if not self._running else None
        gap = next(self._assigned().gaps(0, length), None)
        if gap is None:
            return None
        if self._ranges_lie:
            return Pull(gap.start, gap.end, plain=True)
        return Pull(gap.start, min(gap.end, gap.start + SEGMENT) if self.live.seekable else gap.end)

    def _start(self, piece: Pull) -> None:
        task = asyncio.create_task(pull.run(piece, self.live, self.origin, self.limits))
        self._running[task] = piece

    async def _next_ends(self) -> list[tuple[Pull, BaseException | None]]:
        """Wait until a pull ends or a reader needs something; return the pulls that ended, and how."""
        self._wake.clear()
        if not self._running:
            raise OriginBroken("The connection ended before the body did, and the origin can't resume it.")
        woken = asyncio.create_task(self._wake.wait())
        try:
            await asyncio.wait({*self._running, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
        ended = [task for task in self._running if task.done()]
        return [(self._running.pop(task), task.exception()) for task in ended]

    async def _stop_pulls(self) -> None:
        for task in self._running:
            task.cancel()
        for task in self._running:
            with contextlib.suppress(asyncio.CancelledError, CephStorageError):
                await task
        self._running.clear()
