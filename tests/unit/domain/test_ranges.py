"""Byte ranges: the grammar, its arithmetic, and the set of spans against a plain set of numbers."""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from werkzeug.datastructures import Range
from werkzeug.http import parse_content_range_header, parse_range_header

from cephstorage.domain.ranges import ContentRange, RangeRequest, Span, SpanSet, parse_content_range, parse_range

# RFC 9110 section 14.1.2 of a representation of 10,000 bytes, and what else clients write.
RANGES: list[tuple[str, Span | None]] = [
    ("bytes=0-499", Span(0, 500)),
    ("bytes=500-999", Span(500, 1000)),
    ("bytes=-500", Span(9500, 10000)),
    ("bytes=9500-", Span(9500, 10000)),
    ("bytes=0-0", Span(0, 1)),
    ("bytes=-1", Span(9999, 10000)),
    ("bytes=0-", Span(0, 10000)),
    ("bytes=0-9999", Span(0, 10000)),
    ("bytes=0-10000", Span(0, 10000)),
    ("bytes=0-9999999999999999999", Span(0, 10000)),
    ("bytes=-20000", Span(0, 10000)),
    ("bytes=007-0009", Span(7, 10)),
    ("BYTES=1-2", Span(1, 3)),
    (" bytes=1-2\t", Span(1, 3)),
    ("bytes=10000-", None),
    ("bytes=10000-10001", None),
    ("bytes=-0", None),
]
IGNORED = [
    None,
    "",
    "bytes",
    "bytes=",
    "bytes=-",
    "bytes=a-b",
    "bytes=1",
    "bytes=2-1",
    "bytes=--1",
    "bytes=1--2",
    "bytes=0-1,2-3",
    "bytes=0-1,-1",
    "bytes = 0-1",
    "bytes=0 - 1",
    "bytes=0-1;q=1",
    "bytes=+1-2",
    "bytes=0x1-2",
    "bytes=1_0-20",
    "bytes=١-٢",
    "bytes=0-99999999999999999999",
    "bits=0-1",
    "items=0-1",
    "0-1",
    "bytes=0-1\n\n",
]


@pytest.mark.parametrize(("header", "span"), RANGES)
def test_ranges_of_ten_thousand_bytes(header: str, span: Span | None) -> None:
    requested = parse_range(header)
    assert requested is not None
    assert requested.resolve(10000) == span


@pytest.mark.parametrize("header", IGNORED)
def test_other_range_headers_are_ignored(header: str | None) -> None:
    assert parse_range(header) is None


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=-0", "bytes=-5"])
def test_an_empty_object_has_no_bytes_to_give(header: str) -> None:
    requested = parse_range(header)
    assert requested is not None
    assert requested.resolve(0) is None


NUMBERS = st.integers(0, 50) | st.integers(0, 10**18)
REQUESTS = st.one_of(
    st.builds(lambda first, more: RangeRequest(first, first + more), NUMBERS, NUMBERS),
    st.builds(lambda first: RangeRequest(first, None), NUMBERS),
    st.builds(lambda suffix: RangeRequest(None, None, suffix), NUMBERS),
)


@given(REQUESTS)
def test_a_request_reads_back_from_its_header(request: RangeRequest) -> None:
    assert parse_range(request.header()) == request


@given(REQUESTS, st.integers(0, 60))
def test_resolving_agrees_with_counting(request: RangeRequest, length: int) -> None:
    if request.suffix is not None:
        wanted = [byte for byte in range(length) if byte >= length - request.suffix]
    else:
        assert request.first is not None
        wanted = [n for n in range(length) if n >= request.first and (request.last is None or n <= request.last)]
    span = request.resolve(length)
    assert (list(range(span.start, span.end)) if span else []) == wanted


@given(REQUESTS)
def test_werkzeug_reads_a_valid_range_alike(request: RangeRequest) -> None:
    oracle = parse_range_header(request.header())
    if request.suffix == 0:
        assert request.resolve(100) is None
        return
    assert oracle is not None
    assert oracle.units == "bytes"
    assert oracle.ranges == _werkzeug_ranges(request)


def _werkzeug_ranges(request: RangeRequest) -> list[tuple[int, int | None]]:
    if request.suffix is not None:
        return [(-request.suffix, None)]
    assert request.first is not None
    return [(request.first, None if request.last is None else request.last + 1)]


@given(REQUESTS.filter(lambda request: request.suffix != 0), st.integers(1, 10**6))
def test_werkzeug_resolves_alike(request: RangeRequest, length: int) -> None:
    oracle = Range("bytes", _werkzeug_ranges(request)).range_for_length(length)
    if request.suffix is not None and request.suffix > length:
        return  # werkzeug makes a negative start of a long suffix; RFC 9110 section 14.1.2 says the whole
    span = request.resolve(length)
    assert (None if span is None else (span.start, span.end)) == oracle


CONTENT_RANGES: list[tuple[str | None, ContentRange | None]] = [
    ("bytes 0-499/1234", ContentRange(Span(0, 500), 1234)),
    ("bytes 734-1233/1234", ContentRange(Span(734, 1234), 1234)),
    ("bytes 42-1233/*", ContentRange(Span(42, 1234), None)),
    ("bytes */1234", ContentRange(None, 1234)),
    ("bytes */0", ContentRange(None, 0)),
    ("Bytes 0-0/1", ContentRange(Span(0, 1), 1)),
    ("bytes */*", None),
    ("bytes 5-4/10", None),
    ("bytes 0-10/10", None),
    ("bytes 0-0/0", None),
    ("bytes 0-/10", None),
    ("bytes -5/10", None),
    ("bytes=0-4/10", None),
    ("bytes 0-4", None),
    ("items 0-4/10", None),
    ("bytes 0-4/10, bytes 5-9/10", None),
    ("", None),
    (None, None),
]


@pytest.mark.parametrize(("header", "expected"), CONTENT_RANGES)
def test_content_range(header: str | None, expected: ContentRange | None) -> None:
    assert parse_content_range(header) == expected


@given(NUMBERS, NUMBERS, st.none() | NUMBERS)
def test_werkzeug_reads_a_valid_content_range_alike(first: int, more: int, rest: int | None) -> None:
    last = first + more
    total = None if rest is None else last + 1 + rest
    header = f"bytes {first}-{last}/{'*' if total is None else total}"
    ours, oracle = parse_content_range(header), parse_content_range_header(header)
    assert ours is not None
    assert ours.span is not None
    assert oracle is not None
    assert (ours.span.start, ours.span.end, ours.total) == (oracle.start, oracle.stop, oracle.length)


LIMIT = 40
ENDS = st.tuples(st.integers(0, LIMIT), st.integers(0, LIMIT))


@given(st.lists(ENDS, max_size=12), ENDS)
@example([(0, 5), (5, 10)], (0, 10))
@example([(0, 5), (10, 15), (3, 12)], (2, 20))
def test_span_set_behaves_like_a_set_of_numbers(added: list[tuple[int, int]], window: tuple[int, int]) -> None:
    spans, model = SpanSet(), set[int]()
    for start, end in added:
        spans.add(start, end)
        model |= set(range(start, end))
    assert {byte for span in spans for byte in range(span.start, span.end)} == model
    assert spans.total() == len(model)
    missing = [byte for span in spans.gaps(*window) for byte in range(span.start, span.end)]
    assert missing == [byte for byte in range(*window) if byte not in model]
    for position in range(LIMIT + 1):
        assert spans.held_end(position) == next(n for n in range(position, LIMIT + 2) if n not in model)


@given(st.lists(ENDS, max_size=12))
def test_span_set_is_kept_sorted_disjoint_and_apart(added: list[tuple[int, int]]) -> None:
    spans = list(SpanSet(Span(start, end) for start, end in added))
    assert all(len(span) > 0 for span in spans)
    assert all(left.end < right.start for left, right in itertools.pairwise(spans))
    assert list(SpanSet(reversed(spans))) == spans


def test_gap_end_is_the_next_held_byte_within_the_limit() -> None:
    spans = SpanSet([Span(10, 20), Span(30, 40)])
    assert [spans.gap_end(position, 35) for position in (0, 20, 30, 50)] == [10, 30, 35, 35]
    assert repr(spans) == "SpanSet([(10, 20), (30, 40)])"
