"""Conditional requests as RFC 9110 section 13 has them: comparison, dates, and the order of preconditions."""

from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from werkzeug.http import parse_date, parse_etags, quote_etag

from cephstorage.domain.ranges import Span
from cephstorage.domain.validators import (
    _DATE,
    Answer,
    Outcome,
    Validators,
    evaluate,
    http_date,
    is_strong,
    parse_http_date,
    strong_match,
    valid_etag,
)

MODIFIED = "Sun, 06 Nov 1994 08:49:37 GMT"
EARLIER = "Sun, 06 Nov 1994 08:49:36 GMT"
LATER = "Sun, 06 Nov 1994 08:49:38 GMT"
BOTH = Validators('"a"', MODIFIED)
WEAK = Validators('W/"a"', MODIFIED)
DATE_ONLY = Validators(None, MODIFIED)
ETAG_ONLY = Validators('"a"', None)
NEITHER = Validators()

FULL = Answer(Outcome.FULL, Span(0, 100))
PART = Answer(Outcome.PARTIAL, Span(10, 20))
NOT_MODIFIED = Answer(Outcome.NOT_MODIFIED)
FAILED = Answer(Outcome.PRECONDITION_FAILED)
UNSATISFIABLE = Answer(Outcome.UNSATISFIABLE)

# Step 1: If-Match, step 2: If-Unmodified-Since, 3: If-None-Match, 4: If-Modified-Since, 5: Range with If-Range.
PRECEDENCE: list[tuple[str, dict[str, str], Validators, Answer]] = [
    ("nothing asked", {}, BOTH, FULL),
    # step 1
    ("if-match holds", {"if-match": '"a"'}, BOTH, FULL),
    ("if-match in a list", {"if-match": '"x", "a"'}, BOTH, FULL),
    ("if-match star", {"if-match": "*"}, NEITHER, FULL),
    ("if-match fails", {"if-match": '"x"'}, BOTH, FAILED),
    ("if-match is strong: weak stored", {"if-match": 'W/"a"'}, WEAK, FAILED),
    ("if-match is strong: weak asked", {"if-match": 'W/"a"'}, BOTH, FAILED),
    ("if-match without an etag", {"if-match": '"a"'}, DATE_ONLY, FAILED),
    ("if-match that is no tag", {"if-match": "a"}, BOTH, FAILED),
    ("if-match with a broken weak flag", {"if-match": 'w/"a"'}, BOTH, FAILED),
    ("if-match before if-none-match", {"if-match": '"x"', "if-none-match": '"a"'}, BOTH, FAILED),
    ("if-match hides if-unmodified-since", {"if-match": '"a"', "if-unmodified-since": EARLIER}, BOTH, FULL),
    ("if-match holds, then if-none-match", {"if-match": '"a"', "if-none-match": '"a"'}, BOTH, NOT_MODIFIED),
    ("if-match: a weak tag among strong ones", {"if-match": 'W/"a", "x"'}, BOTH, FAILED),
    ("if-match: the strong one among weak ones", {"if-match": 'W/"x", "a"'}, BOTH, FULL),
    ("if-match before if-modified-since", {"if-match": '"x"', "if-modified-since": LATER}, BOTH, FAILED),
    ("if-match before range", {"if-match": '"x"', "range": "bytes=10-19"}, BOTH, FAILED),
    # step 2
    ("if-unmodified-since holds", {"if-unmodified-since": MODIFIED}, BOTH, FULL),
    ("if-unmodified-since fails", {"if-unmodified-since": EARLIER}, BOTH, FAILED),
    ("if-unmodified-since without a date", {"if-unmodified-since": EARLIER}, ETAG_ONLY, FULL),
    ("if-unmodified-since invalid", {"if-unmodified-since": "yesterday"}, BOTH, FULL),
    ("if-unmodified-since before step 3", {"if-unmodified-since": EARLIER, "if-none-match": '"a"'}, BOTH, FAILED),
    (
        "if-unmodified-since holds, then step 4",
        {"if-unmodified-since": LATER, "if-modified-since": LATER},
        BOTH,
        NOT_MODIFIED,
    ),
    ("if-unmodified-since before range", {"if-unmodified-since": EARLIER, "range": "bytes=10-19"}, BOTH, FAILED),
    ("if-unmodified-since with a weak tag", {"if-unmodified-since": MODIFIED}, WEAK, FULL),
    # step 3
    ("if-none-match matches", {"if-none-match": '"a"'}, BOTH, NOT_MODIFIED),
    ("if-none-match in a list", {"if-none-match": '"x",, W/"a" ,'}, BOTH, NOT_MODIFIED),
    ("if-none-match star", {"if-none-match": "*"}, NEITHER, NOT_MODIFIED),
    ("if-none-match is weak: weak stored", {"if-none-match": '"a"'}, WEAK, NOT_MODIFIED),
    ("if-none-match is weak: weak asked", {"if-none-match": 'W/"a"'}, BOTH, NOT_MODIFIED),
    ("if-none-match other", {"if-none-match": '"x"'}, BOTH, FULL),
    ("if-none-match comma inside a tag", {"if-none-match": '"x,"a","y"'}, BOTH, FULL),
    ("if-none-match without quotes", {"if-none-match": "a"}, BOTH, FULL),
    ("if-none-match without an etag", {"if-none-match": '"a"'}, DATE_ONLY, FULL),
    ("if-none-match hides if-modified-since", {"if-none-match": '"x"', "if-modified-since": LATER}, BOTH, FULL),
    ("if-none-match before range", {"if-none-match": '"a"', "range": "bytes=10-19"}, BOTH, NOT_MODIFIED),
    # step 4
    ("if-modified-since same", {"if-modified-since": MODIFIED}, BOTH, NOT_MODIFIED),
    ("if-modified-since later", {"if-modified-since": LATER}, BOTH, NOT_MODIFIED),
    ("if-modified-since earlier", {"if-modified-since": EARLIER}, BOTH, FULL),
    ("if-modified-since old form", {"if-modified-since": "Sunday, 06-Nov-94 08:49:37 GMT"}, BOTH, NOT_MODIFIED),
    ("if-modified-since oldest form", {"if-modified-since": "Sun Nov  6 08:49:37 1994"}, BOTH, NOT_MODIFIED),
    ("if-modified-since invalid", {"if-modified-since": "Sun, 06 Nov 1994"}, BOTH, FULL),
    ("if-modified-since without a date", {"if-modified-since": LATER}, ETAG_ONLY, FULL),
    ("if-modified-since before range", {"if-modified-since": LATER, "range": "bytes=10-19"}, BOTH, NOT_MODIFIED),
    # step 5
    ("range", {"range": "bytes=10-19"}, BOTH, PART),
    ("range beyond the end", {"range": "bytes=100-"}, BOTH, UNSATISFIABLE),
    ("several ranges are ignored", {"range": "bytes=0-1,5-6"}, BOTH, FULL),
    ("range after steps that hold", {"if-match": '"a"', "if-none-match": '"x"', "range": "bytes=10-19"}, BOTH, PART),
    ("if-range holds", {"range": "bytes=10-19", "if-range": '"a"'}, BOTH, PART),
    ("if-range other", {"range": "bytes=10-19", "if-range": '"x"'}, BOTH, FULL),
    ("if-range is strong: weak stored", {"range": "bytes=10-19", "if-range": 'W/"a"'}, WEAK, FULL),
    ("if-range is strong: weak asked", {"range": "bytes=10-19", "if-range": 'W/"a"'}, BOTH, FULL),
    ("if-range is strong: strong asked, weak stored", {"range": "bytes=10-19", "if-range": '"a"'}, WEAK, FULL),
    ("if-range is one tag", {"range": "bytes=10-19", "if-range": '"a", "b"'}, BOTH, FULL),
    ("if-range without quotes", {"range": "bytes=10-19", "if-range": "a"}, BOTH, FULL),
    ("if-range date equal", {"range": "bytes=10-19", "if-range": MODIFIED}, BOTH, PART),
    ("if-range date earlier", {"range": "bytes=10-19", "if-range": EARLIER}, BOTH, FULL),
    ("if-range date later", {"range": "bytes=10-19", "if-range": LATER}, BOTH, FULL),
    ("if-range date without a date", {"range": "bytes=10-19", "if-range": MODIFIED}, ETAG_ONLY, FULL),
    ("if-range fails before 416", {"range": "bytes=100-", "if-range": '"x"'}, BOTH, FULL),
    (
        "if-range date in an old form",
        {"range": "bytes=10-19", "if-range": "Sunday, 06-Nov-94 08:49:37 GMT"},
        BOTH,
        PART,
    ),
    ("if-range that is no date", {"range": "bytes=10-19", "if-range": "yesterday"}, BOTH, FULL),
    (
        "if-range: a weak tag never holds, whatever is stored",
        {"range": "bytes=10-19", "if-range": 'W/"x"'},
        NEITHER,
        FULL,
    ),
    ("if-range after a 304", {"range": "bytes=10-19", "if-range": '"a"', "if-none-match": '"a"'}, BOTH, NOT_MODIFIED),
    ("if-range after a 412", {"range": "bytes=10-19", "if-range": '"a"', "if-match": '"x"'}, BOTH, FAILED),
    ("if-range without range", {"if-range": '"x"'}, BOTH, FULL),
]


@pytest.mark.parametrize(("headers", "held", "answer"), [row[1:] for row in PRECEDENCE], ids=[r[0] for r in PRECEDENCE])
def test_precedence(headers: dict[str, str], held: Validators, answer: Answer) -> None:
    assert evaluate(headers, held, 100) == answer


@pytest.mark.parametrize("header", ["bytes=10-19", "bytes=-5", "bytes=100-"])
def test_a_range_of_unknown_length_is_answered_whole(header: str) -> None:
    assert evaluate({"range": header}, BOTH, None) == Answer(Outcome.FULL, None)


def test_preconditions_do_not_need_the_length() -> None:
    assert evaluate({"if-none-match": '"a"'}, BOTH, None) == NOT_MODIFIED
    assert evaluate({"if-match": '"x"'}, BOTH, None) == FAILED


def test_head_has_preconditions_but_no_ranges() -> None:
    assert evaluate({"range": "bytes=10-19"}, BOTH, 100, method="HEAD") == FULL
    assert evaluate({"range": "bytes=100-"}, BOTH, 100, method="HEAD") == FULL
    assert evaluate({"if-none-match": '"a"'}, BOTH, 100, method="HEAD") == NOT_MODIFIED


@pytest.mark.parametrize(
    ("header", "answer"),
    [
        ("bytes=0-", UNSATISFIABLE),
        ("bytes=-0", UNSATISFIABLE),
        ("bytes=-5", Answer(Outcome.FULL, Span(0, 0))),
    ],
)
def test_ranges_of_an_empty_object(header: str, answer: Answer) -> None:
    assert evaluate({"range": header}, BOTH, 0) == answer


@pytest.mark.parametrize("etag", ['"a"', '""', 'W/"a"', '"a,b"', '"W/"', '"!#~\x80\xff"', ' "a" '])
def test_well_formed_etags(etag: str) -> None:
    assert valid_etag(etag) == etag.strip()


@pytest.mark.parametrize(
    "etag", [None, "", "a", '"', '"a', 'a"', 'w/"a"', "W/a", '"a b"', '"a"b"', '"a", "b"', '"\x7f"', "*"]
)
def test_other_etags(etag: str | None) -> None:
    assert valid_etag(etag) is None


def test_strength() -> None:
    assert is_strong('"a"')
    assert not is_strong('W/"a"')
    assert is_strong('"W/"')


OPAQUE = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"\\'), min_size=1, max_size=6
)


@given(st.lists(st.tuples(OPAQUE, st.booleans()), max_size=4), OPAQUE, st.booleans())
@example([("a", False)], "a", False)
@example([("a", True)], "a", False)
def test_matching_agrees_with_werkzeug(asked: list[tuple[str, bool]], opaque: str, weak: bool) -> None:
    header, etag = ", ".join(quote_etag(*tag) for tag in asked), quote_etag(opaque, weak)
    oracle = parse_etags(header)
    assert strong_match(header, etag) == (not weak and oracle.contains(opaque))
    revalidated = evaluate({"if-none-match": header}, Validators(etag), 100).outcome is Outcome.NOT_MODIFIED
    assert revalidated == oracle.contains_weak(opaque)


@pytest.mark.parametrize(
    "text", [MODIFIED, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", f" {MODIFIED} "]
)
def test_three_forms_of_a_date(text: str) -> None:
    assert parse_http_date(text) == 784111777.0


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "0",
        "784111777",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06 Nov 1994 08:49 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 25:49:37 GMT",
        "Sun, ٠٦ Nov 1994 08:49:37 GMT",
        "1994-11-06T08:49:37Z",
    ],
)
def test_other_dates_are_invalid(text: str | None) -> None:
    assert parse_http_date(text) is None


@given(st.from_regex(_DATE, fullmatch=True))
@example("Sat, 01 Jan 0000 00:00:00 GMT")
def test_nothing_that_looks_like_a_date_breaks_the_reader(text: str) -> None:
    seconds = parse_http_date(text)
    assert seconds is None or http_date(seconds).endswith("GMT")


@given(st.integers(0, 253402300799))
def test_dates_round_trip_and_agree_with_werkzeug(seconds: int) -> None:
    text = http_date(seconds)
    moment = parse_date(text)
    assert moment is not None
    assert format_datetime(moment, usegmt=True) == text
    assert parse_http_date(text) == moment.timestamp() == seconds


def test_fractions_of_a_second_are_dropped() -> None:
    assert http_date(784111777.999) == MODIFIED


@pytest.mark.parametrize(
    ("date", "outcome"),
    [(None, PART), (LATER, PART), (MODIFIED, FULL), (EARLIER, FULL), ("", FULL), ("soon", FULL)],
)
def test_a_date_joins_bytes_only_if_it_names_one_version(date: str | None, outcome: Answer) -> None:
    """RFC 9110 sections 13.1.5 and 8.8.2.2: a second changes what a date can't tell; tags don't depend on it."""
    assert evaluate({"range": "bytes=10-19", "if-range": MODIFIED}, BOTH, 100, date=date) == outcome
    assert evaluate({"range": "bytes=10-19", "if-range": '"a"'}, BOTH, 100, date=date) == PART


@pytest.mark.parametrize(
    ("held", "date", "strong"),
    [
        (BOTH, None, '"a"'),
        (ETAG_ONLY, None, '"a"'),
        (WEAK, LATER, None),
        (DATE_ONLY, LATER, MODIFIED),
        (DATE_ONLY, MODIFIED, None),
        (DATE_ONLY, EARLIER, None),
        (DATE_ONLY, None, None),
        (DATE_ONLY, "now", None),
        (Validators(None, "then"), LATER, None),
        (NEITHER, LATER, None),
    ],
)
def test_what_may_join_two_answers(held: Validators, date: str | None, strong: str | None) -> None:
    assert held.strong(date) == strong
