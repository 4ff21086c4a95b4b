"""One origin answer flowing into the spool: the smallest movement of bytes.

A pull covers ``[position, end)`` and moves ``position`` as bytes arrive. ``end`` None means "until the
body ends" (chunked). While it runs the coordinator may lower ``end``, when somebody else fetches the rest, and may
name spans in between that somebody else fetches: these are dropped as they come by.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from cephstorage.domain.errors import (
    OriginBroken,
    OriginChanged,
    OriginProtocol,
)
from cephstorage.domain.ranges import RangeRequest, Span, SpanSet
from cephstorage.ports.origin import Framing, Origin, OriginResponse, Passage
from cephstorage.transfer.intake import Limits, content_range, origin_request, source_error, total_length
from cephstorage.transfer.joining import joined_version, same_version, shows_same_version
from cephstorage.transfer.live import LiveTransfer

STEP = 2 << 20
"""Bytes that are moved at most before readers hear of them."""


@dataclass(slots=True)
class Pull:
    """A piece of the object on its way. ``skip`` bytes of the answer lie before ``position``.

    ``urgent``: a reader waits for just these bytes, so that the background rests meanwhile. ``plain``: asks
    without Range and drops what lies before ``position``, because this origin's ranges are wrong. ``over`` is what
    others fetch of the answer's way.
    """

    position: int
    end: int | None
    response: OriginResponse | None = None
    skip: int = 0
    cut: bool = False
    moved: bool = False
    urgent: bool = False
    plain: bool = False
    over: SpanSet = field(default_factory=SpanSet)

    def covers(self, position: int) -> bool:
        """Whether this pull will bring the byte at ``position``."""
        ahead = self.position <= position and (self.end is None or position < self.end)
        return ahead and self.over.held_end(position) == position

    def pieces(self, end: int) -> Iterator[Span]:
        """What it will bring; ``end`` where the body's is not known."""
        return self.over.gaps(self.position, end if self.end is None else self.end)

    def leave(self, span: Span, most: int) -> None:
        """Leave a span ahead to others: pass over it, or stop there.

        What is passed over comes twice, and so does what is under way when a connection is cut: nobody knows how much
        that is, except that it is no more than is left. So up to ``most`` bytes in all are passed over.
        """
        if self.end is None or span.end >= self.end or self.over.total() + len(span) > most:
            self.stop_at(span.start)
        else:
            self.over.add(span.start, span.end)

    def take_back(self, others: SpanSet) -> None:
        """Bring what was left to others and they do not."""
        self.over = SpanSet(span for span in self.over if next(others.gaps(span.start, span.end), None) is None)

    @property
    def satisfied(self) -> bool:
        """Whether all is there that was not left to others."""
        return self.cut and self.end is not None and self.position >= self.end

    def stop_at(self, end: int) -> None:
        """Leave everything from ``end`` on to others."""
        self.end = end
        self.cut = True

    def answered_to(self, end: int | None) -> None:
        """The answer reaches to ``end``; what was left to others stays theirs."""
        if not self.cut or self.end is None or (end is not None and end < self.end):
            self.end, self.cut = end, False


async def run(pull: Pull, live: LiveTransfer, origin: Origin, limits: Limits) -> None:
    """Bring the pull's bytes into the spool. Raises the origin's errors, TooLarge, StoreFull."""
    response = pull.response or await _open(pull, live, origin, limits)
    try:
        passage = response.passage() if pull.end is not None and not pull.skip else None
        if passage is not None:
            await _pour(pull, live, passage)
        else:
            await _read(pull, live, limits, response)
        if not pull.satisfied:
            _check_end(pull, live, response)
    finally:
        await response.close()


async def _pour(pull: Pull, live: LiveTransfer, passage: Passage) -> None:
    """Past Python. What comes after an end that was lowered meanwhile belongs to others."""
    while pull.end is not None and pull.position < pull.end and await passage.ready():
        position = pull.position
        if (passed := min(pull.over.held_end(position), pull.end) - position) > 0:
            pull.position += await live.spool.drop(passage, min(STEP, passed))
            continue
        count = await live.spool.draw(passage, position, min(STEP, pull.over.gap_end(position, pull.end) - position))
        count = min(count, pull.end - position)
        if count > 0:
            _note(pull, live, count)


async def _read(pull: Pull, live: LiveTransfer, limits: Limits, response: OriginResponse) -> None:
    async for chunk in response.chunks():
        await _take(pull, live, limits, chunk)
        if pull.satisfied:
            return


async def _take(pull: Pull, live: LiveTransfer, limits: Limits, chunk: bytes) -> None:
    if pull.skip:
        dropped = min(pull.skip, len(chunk))
        pull.skip -= dropped
        chunk = chunk[dropped:]
    if pull.end is not None and len(chunk) > pull.end - pull.position:
        if not pull.cut:
            raise OriginProtocol("The origin sent more bytes than it announced.")
        chunk = chunk[: pull.end - pull.position]
    if chunk and live.length is None:
        limits.grow(live.spool.name, pull.position + len(chunk))
        if live.room is not None and live.request.mirror_host is None:  # a mirror's readers get all of it
            await live.room.grow(pull.position + len(chunk))
    while chunk:
        position = pull.position
        if (passed := min(pull.over.held_end(position) - position, len(chunk))) > 0:
            pull.position, chunk = position + passed, chunk[passed:]
            continue
        piece = chunk[: pull.over.gap_end(position, position + len(chunk)) - position]
        await live.spool.put(position, piece)
        _note(pull, live, len(piece))
        chunk = chunk[len(piece) :]


def _note(pull: Pull, live: LiveTransfer, count: int) -> None:
    position = pull.position
    pull.position += count
    pull.moved = True
    live.put(position, count)


def _check_end(pull: Pull, live: LiveTransfer, response: OriginResponse) -> None:
    """The answer ended cleanly: that is either the object's end or a lie."""
    if pull.skip:
        raise OriginChanged("The origin's answer ended before the bytes that are here of it already.")
    if pull.end is None:
        if response.framing is Framing.CLOSE and not live.promised:
            raise OriginBroken("The connection was closed before a clean end of the body.")
        live.measured(pull.position)
    elif pull.position < pull.end:
        raise OriginBroken(f"The origin's answer ended at byte {pull.position} of {pull.end}.")


async def _open(pull: Pull, live: LiveTransfer, origin: Origin, limits: Limits) -> OriginResponse:
    """Ask for the pull's bytes under the validator that all spans of this spool share.

    The answer may be the first one that tells the length.
    """
    assert live.source is not None
    asked_end = pull.end
    wanted = None if pull.plain else RangeRequest(pull.position, None if asked_end is None else asked_end - 1)
    request = replace(
        origin_request(live.request),
        range=wanted,
        if_range=live.source.resume_validator,
        version=joined_version(live),
    )
    response = await origin.open(request)
    try:
        _check_continues(pull, live, response, asked_end)
        if live.length is None:
            await _bounded(pull, live, limits, total_length(response))
    except BaseException:
        await response.close()
        raise
    return response


async def _bounded(pull: Pull, live: LiveTransfer, limits: Limits, total: int | None) -> None:
    """The length is known now, or how much comes at least. Raises TooLarge, StoreFull, QuotaExceeded."""
    if (least := total if total is not None else pull.end) is None:
        return
    limits.admit(live.spool.name, least)
    if live.room is not None and live.request.mirror_host is None:
        await live.room.hold(least)
    if total is not None:
        live.measured(total)


def _check_continues(pull: Pull, live: LiveTransfer, response: OriginResponse, asked_end: int | None) -> None:
    """Raise unless the answer goes on with the same version. The pull may have been cut short meanwhile."""
    error = source_error(response) if response.status != 416 else None
    if error is not None:
        raise error
    total = total_length(response)
    other_length = total is not None and (total < live.front if live.length is None else total != live.length)
    if response.status == 206 and other_length and shows_same_version(live, response):
        raise OriginProtocol("The origin's 206 has another length than its 200 of the same version.")
    if response.status == 416 or other_length or not same_version(live, response):
        raise OriginChanged("The object changed at the origin while it was being read; it is fetched anew.")
    if response.status == 200:
        live.seekable = False
        pull.skip = pull.position
        pull.answered_to(total)
        return
    answered = content_range(response)
    if answered is None or answered.span is None or answered.span.start != pull.position:
        raise OriginProtocol("The origin's 206 has a wrong Content-Range; its bytes were not used.")
    if response.length not in {None, len(answered.span)}:
        raise OriginProtocol("The origin's 206 has a Content-Range and a Content-Length that disagree.")
    if asked_end is not None and answered.span.end > asked_end:
        raise OriginProtocol("The origin's 206 holds more than was asked for; its bytes were not used.")
    pull.answered_to(answered.span.end)
    live.seekable = True
