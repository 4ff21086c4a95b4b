"""Byte ranges: what a client may ask for, what an origin answered, and which spans a spool holds.

All intervals are half open, ``[start, end)``, in bytes from the beginning of the object.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_ONE_RANGE = re.compile(r"[ \t]*bytes=(\d{0,19})-(\d{0,19})[ \t]*", re.IGNORECASE | re.ASCII)
_CONTENT_RANGE = re.compile(r"\s*bytes\s+(?:(\d{1,19})-(\d{1,19})|\*)/(\d{1,19}|\*)\s*", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open interval of bytes."""

    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class RangeRequest:
    """One range as a client wrote it (RFC 9110 section 14.1.2): either a first byte or a suffix length."""

    first: int | None
    last: int | None
    suffix: int | None = None

    def resolve(self, length: int) -> Span | None:
        """The span of an object of ``length`` bytes, or None when it can't be satisfied (416)."""
        if self.suffix is not None:
            start = max(0, length - self.suffix)
            return Span(start, length) if self.suffix > 0 and length > 0 else None
        assert self.first is not None
        if self.first >= length:
            return None
        return Span(self.first, length if self.last is None else min(self.last + 1, length))

    def header(self) -> str:
        """The Range header that asks for the same bytes."""
        if self.suffix is not None:
            return f"bytes=-{self.suffix}"
        return f"bytes={self.first}-{'' if self.last is None else self.last}"


def parse_range(header: str | None) -> RangeRequest | None:
    """Read a Range header. None means "ignore it and answer 200".

    RFC 9110 section 14.2 lets a server ignore any Range. Ignored here: other units, bad syntax, and
    several ranges (no multipart answers: nginx's slices and every download tool use one).
    """
    match = _ONE_RANGE.fullmatch(header) if header else None
    if match is None:
        return None
    first, last = match.groups()
    if first == "":
        return RangeRequest(None, None, int(last)) if last else None
    if last != "" and int(last) < int(first):
        return None
    return RangeRequest(int(first), int(last) if last else None)


@dataclass(frozen=True, slots=True)
class ContentRange:
    """A Content-Range of an origin's 206 or 416. ``span`` is None for ``bytes */N``; ``total`` None for ``/*``."""

    span: Span | None
    total: int | None


def parse_content_range(header: str | None) -> ContentRange | None:
    """Read a Content-Range header (RFC 9110 section 14.4); None when it is absent or invalid."""
    match = _CONTENT_RANGE.fullmatch(header) if header else None
    if match is None:
        return None
    first, last, size = match.groups()
    total = None if size == "*" else int(size)
    if first is None:
        return ContentRange(None, total) if total is not None else None
    span = Span(int(first), int(last) + 1)
    if span.end <= span.start or (total is not None and span.end > total):
        return None
    return ContentRange(span, total)


class SpanSet:
    """A set of bytes, kept as sorted disjoint spans. Adjacent spans melt into one."""

    __slots__ = ("_ends", "_starts")

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for span in spans:
            self.add(span.start, span.end)

    def __iter__(self) -> Iterator[Span]:
        return (Span(start, end) for start, end in zip(self._starts, self._ends, strict=True))

    def __repr__(self) -> str:
        return f"SpanSet({[(span.start, span.end) for span in self]})"

    def add(self, start: int, end: int) -> None:
        """Add ``[start, end)``."""
        if end <= start:
            return
        low = bisect_left(self._ends, start)
        high = bisect_right(self._starts, end)
        if low < high:
            start = min(start, self._starts[low])
            end = max(end, self._ends[high - 1])
        self._starts[low:high] = [start]
        self._ends[low:high] = [end]

    def held_end(self, position: int) -> int:
        """Where the run of held bytes that begins at ``position`` ends; ``position`` itself if none does."""
        index = bisect_right(self._starts, position) - 1
        return max(position, self._ends[index]) if index >= 0 else position

    def gap_end(self, position: int, limit: int) -> int:
        """Where the next held byte after ``position`` lies, at most ``limit``."""
        index = bisect_right(self._starts, position)
        return min(limit, self._starts[index]) if index < len(self._starts) else limit

    def gaps(self, start: int, end: int) -> Iterator[Span]:
        """The spans within ``[start, end)`` that are not held, in order."""
        position = self.held_end(start)
        while position < end:
            gap_end = self.gap_end(position, end)
            yield Span(position, gap_end)
            position = self.held_end(gap_end)

    def total(self) -> int:
        """Number of bytes held."""
        return sum(self._ends) - sum(self._starts)
