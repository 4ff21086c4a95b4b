"""Freshness by RFC 9111 (unless another RFC is named): one row per case, with the section that it is taken from.

An answer of ``BASE`` was asked for at second 1,000,000 and came at once, with a Date of that second.
"""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephstorage.domain.cache_control import LARGEST
from cephstorage.domain.freshness import NO_WISHES, Freshness, Wishes, age_of, freshness_of, joined, wishes
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import OriginFacts, Record
from cephstorage.domain.validators import Validators, http_date

BORN = 1_000_000.0
FACTS = OriginFacts("/a", date=http_date(BORN), request_time=BORN, response_time=BORN)
BASE = Record(
    BucketName("mirrors", "site"), "a", BORN, "0" * 32, "text/plain", 1, 1, '"e"', None, "v", "fill", BORN, FACTS
)
Headers = list[tuple[str, str]]


def stored(headers: Headers, **facts: object) -> Record:
    return replace(BASE, origin=replace(FACTS, headers=tuple(headers), **facts))  # type: ignore[arg-type]


def control(value: str) -> Headers:
    return [("Cache-Control", value)]


LIFETIMES: list[tuple[str, str, Headers, float]] = [
    ("4.2.1", "nothing said is stale at once", [], 0),
    ("4.2.1", "max-age", control("max-age=60"), 60),
    ("4.2.1", "s-maxage before max-age, whatever the order", control("max-age=60, s-maxage=5"), 5),
    ("4.2.1", "s-maxage before Expires", [*control("s-maxage=5"), ("Expires", http_date(BORN + 99))], 5),
    ("5.3", "max-age before Expires", [*control("max-age=60"), ("Expires", http_date(BORN + 99))], 60),
    ("5.3", "a max-age that is nought, too", [*control("max-age=0"), ("Expires", http_date(BORN + 99))], 0),
    ("4.2.1", "Expires minus Date", [("Expires", http_date(BORN + 99))], 99),
    ("5.3", "Expires in the past", [("Expires", http_date(BORN - 5))], 0),
    ("5.3", "Expires that is no date", [("Expires", "0")], 0),
    ("5.3", "Expires that is another no date", [("Expires", "-1")], 0),
    ("4.2.1", "two Expires are none that can be read", [("Expires", http_date(BORN + 9)), ("Expires", "0")], 0),
    ("4.2.1", "the first of two max-age", control("max-age=5, max-age=60"), 5),
    ("4.2.1", "in two lines, too", [*control("max-age=5"), *control("max-age=60")], 5),
    ("4.2.1", "max-age that is no number", control("max-age=soon"), 0),
    ("4.2.1", "max-age without a value", control("max-age"), 0),
    ("4.2.1", "max-age below nought", control("max-age=-1"), 0),
    ("4.2.1", "max-age with a fraction", control("max-age=5.5"), 0),
    ("4.2.1", "and Expires does not help it", [*control("max-age=x"), ("Expires", http_date(BORN + 99))], 0),
    ("5.2", "quoted numbers are read, too", control('max-age="60"'), 60),
    ("5.2", "names in any case", control("MAX-AGE=60"), 60),
    ("1.2.2", "numbers beyond bounds", control("max-age=99999999999999999999"), LARGEST),
    ("5.2.3", "directives that nobody knows", control("x-fast, max-age=60, y=1"), 60),
    ("5.4", "Pragma of an answer means nothing", [*control("max-age=60"), ("Pragma", "no-cache")], 60),
    ("9213 2.2", "CDN-Cache-Control first", [*control("max-age=60"), ("CDN-Cache-Control", "max-age=5")], 5),
    ("9213 2.2", "it silences s-maxage", [*control("s-maxage=60"), ("CDN-Cache-Control", "max-age=5")], 5),
    ("9213 2.2", "it silences Expires", [("Expires", http_date(BORN + 9)), ("CDN-Cache-Control", "public")], 0),
    ("9213 2.1", "unless it can't be read", [*control("max-age=60"), ("CDN-Cache-Control", "max-age=5,")], 60),
    ("9213 2.1", "or is empty", [*control("max-age=60"), ("CDN-Cache-Control", "")], 60),
]  # fmt: skip


@pytest.mark.parametrize(("headers", "lifetime"), [c[2:] for c in LIFETIMES], ids=[f"{c[0]} {c[1]}" for c in LIFETIMES])
def test_lifetime(headers: Headers, lifetime: float) -> None:
    assert freshness_of(stored(headers), BORN).lifetime == lifetime


AGES: list[tuple[str, dict[str, object], float, float]] = [
    # name, facts, seconds after the answer, age
    ("born just now", {}, 0, 0),
    ("resident time", {}, 30, 30),
    ("the clock went back", {}, -30, 0),
    ("Age of a cache on the way", {"age": 100.0}, 0, 100),
    ("and resident time", {"age": 100.0}, 7, 107),
    ("an old Date is an apparent age", {"date": http_date(BORN - 40)}, 0, 40),
    ("the larger of both", {"date": http_date(BORN - 40), "age": 100.0}, 0, 100),
    ("the larger of both, again", {"date": http_date(BORN - 400), "age": 100.0}, 1, 401),
    ("a Date ahead of us", {"date": http_date(BORN + 40)}, 5, 5),
    ("no Date", {"date": None}, 5, 5),
    ("a Date that is none", {"date": "yesterday"}, 5, 5),
    ("the answer's own way", {"request_time": BORN - 3}, 0, 3),
    ("is added to Age", {"request_time": BORN - 3, "age": 100.0}, 0, 103),
    ("an exchange that ended before it began", {"request_time": BORN + 3, "age": 10.0}, 0, 10),
]


@pytest.mark.parametrize(("facts", "later", "age"), [case[1:] for case in AGES], ids=[case[0] for case in AGES])
def test_age(facts: dict[str, object], later: float, age: float) -> None:
    """Section 4.2.3."""
    assert freshness_of(stored([], **facts), BORN + later).age == age


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, 0), ("", 0), ("5", 5), (" 5 ", 5), ("5, 9", 5), ("x", 0), ("-5", 0), ("5.5", 0), ("x, 5", 0),
     ("99999999999999", LARGEST)],
)  # fmt: skip
def test_age_header(header: str | None, seconds: float) -> None:
    """Section 5.1."""
    assert age_of(header) == seconds


def test_what_was_stored_before_its_times_were_kept_counts_from_its_validation() -> None:
    old = replace(stored(control("max-age=60"), request_time=0.0, response_time=0.0), validated_at=BORN + 50)
    assert freshness_of(old, BORN + 55).age == 55, "its Date still says when it was made"
    undated = stored(control("max-age=60"), request_time=0.0, response_time=0.0, date=None)
    assert freshness_of(replace(undated, validated_at=BORN + 50), BORN + 55).age == 5


def test_a_key_without_an_origin_answer_is_stale() -> None:
    uploaded = freshness_of(replace(BASE, origin=None), BORN + 1)
    assert (uploaded.fresh, uploaded.age, uploaded.stands_in()) == (False, 1, True)


@pytest.mark.parametrize(
    ("headers", "modified", "lifetime"),
    [
        ([], http_date(BORN - 1000), 100),
        ([], http_date(BORN - 1e6), 86_400),
        ([], None, 0),
        ([], "long ago", 0),
        ([], http_date(BORN + 1000), 0),
        (control("max-age=5"), http_date(BORN - 1000), 5),
        (control("max-age=x"), http_date(BORN - 1000), 0),
        ([("Expires", "0")], http_date(BORN - 1000), 0),
        (control("public"), http_date(BORN - 1000), 100),
        ([("CDN-Cache-Control", "public"), ("Expires", "0")], http_date(BORN - 1000), 100),
    ],
)
def test_heuristic(headers: Headers, modified: str | None, lifetime: float) -> None:
    """Section 4.2.2: only where the origin names nothing, and only when it is switched on."""
    record = stored(headers, validators=Validators(None, modified))
    assert freshness_of(record, BORN, heuristic=True).lifetime == lifetime
    explicit = {name.lower() for name, _ in headers} == {"cache-control"} and lifetime in {0, 5}
    assert freshness_of(record, BORN).lifetime == (lifetime if explicit else 0)


WISHES: list[tuple[str, dict[str, str], Wishes]] = [
    ("nothing", {}, NO_WISHES),
    ("5.2.1.4", {"cache-control": "no-cache"}, Wishes(no_cache=True)),
    ("5.2.1.5", {"cache-control": "No-Store"}, Wishes(no_store=True)),
    ("5.2.1.7", {"cache-control": "only-if-cached"}, Wishes(only_if_cached=True)),
    ("5.2.1.1", {"cache-control": "max-age=5"}, Wishes(max_age=5)),
    ("5.2.1.1 that can't be read", {"cache-control": "max-age=x"}, Wishes(max_age=0)),
    ("5.2.1.1 without a value", {"cache-control": "max-age"}, Wishes(max_age=0)),
    ("5.2.1.2", {"cache-control": "max-stale=5"}, Wishes(max_stale=5)),
    ("5.2.1.2 without a value", {"cache-control": "max-stale"}, Wishes(max_stale=math.inf)),
    ("5.2.1.2 that can't be read", {"cache-control": "max-stale=x"}, NO_WISHES),
    ("5.2.1.3", {"cache-control": "min-fresh=5"}, Wishes(min_fresh=5)),
    ("5.2.1.3 that can't be read", {"cache-control": "min-fresh=x"}, Wishes(min_fresh=math.inf)),
    ("RFC 5861 section 4", {"cache-control": "stale-if-error=5"}, Wishes(if_error=5)),
    ("5.4", {"pragma": "no-cache"}, Wishes(no_cache=True)),
    ("5.4 with Cache-Control", {"pragma": "no-cache", "cache-control": "max-age=5"}, Wishes(max_age=5)),
    ("5.4 anything else", {"pragma": "fast"}, NO_WISHES),
    ("together", {"cache-control": "no-cache, max-age=0, max-stale=9"}, Wishes(no_cache=True, max_age=0, max_stale=9)),
]


@pytest.mark.parametrize(("headers", "wish"), [case[1:] for case in WISHES], ids=[case[0] for case in WISHES])
def test_wishes(headers: dict[str, str], wish: Wishes) -> None:
    assert wishes(headers) == wish


USES: list[tuple[str, str, int, Wishes, str]] = [
    # section, Cache-Control, age, wish, of "as it is", "meanwhile", "on error" those that may be
    ("4.2 younger than its lifetime", "max-age=10", 9, NO_WISHES, "ame"),
    ("4.2 as old as its lifetime", "max-age=10", 10, NO_WISHES, "me"),
    ("4.2 older", "max-age=10", 11, NO_WISHES, "e"),
    ("5.2.2.4 no-cache", "max-age=10, no-cache", 0, NO_WISHES, ""),
    ("5.2.2.4 no-cache for some fields is no-cache", 'max-age=10, no-cache="x-a"', 0, NO_WISHES, ""),
    ("5.2.2.4 and whatever else is allowed", "no-cache, stale-while-revalidate=9, stale-if-error=9", 0, NO_WISHES, ""),
    ("5.2.2.2 must-revalidate while fresh", "max-age=10, must-revalidate", 9, NO_WISHES, "a"),
    ("5.2.2.2 must-revalidate", "max-age=10, must-revalidate", 10, NO_WISHES, ""),
    ("5.2.2.8 proxy-revalidate", "max-age=10, proxy-revalidate", 10, NO_WISHES, ""),
    ("5.2.2.10 s-maxage revalidates", "s-maxage=10", 10, NO_WISHES, ""),
    ("4.2.4 must-revalidate wins", "max-age=10, must-revalidate, stale-if-error=9, stale-while-revalidate=9", 11,
     NO_WISHES, ""),
    ("RFC 5861 3 within", "max-age=10, stale-while-revalidate=5", 15, NO_WISHES, "me"),
    ("RFC 5861 3 beyond", "max-age=10, stale-while-revalidate=5", 16, NO_WISHES, "e"),
    ("RFC 5861 3 that can't be read", "max-age=10, stale-while-revalidate=x", 11, NO_WISHES, "e"),
    ("RFC 5861 4 within", "max-age=10, stale-if-error=5", 15, NO_WISHES, "e"),
    ("RFC 5861 4 beyond", "max-age=10, stale-if-error=5", 16, NO_WISHES, ""),
    ("RFC 5861 4 nought", "max-age=10, stale-if-error=0", 11, NO_WISHES, ""),
    ("RFC 5861 4 that can't be read", "max-age=10, stale-if-error=x", 11, NO_WISHES, ""),
    ("RFC 5861 4 of the request", "max-age=10", 15, Wishes(if_error=5), "e"),
    ("RFC 5861 4 of the request, beyond", "max-age=10", 16, Wishes(if_error=5), ""),
    ("RFC 5861 4 the origin's word first", "max-age=10, stale-if-error=9", 19, Wishes(if_error=1), "e"),
    ("5.2.1.4 no-cache", "max-age=10", 0, Wishes(no_cache=True), "e"),
    ("5.2.1.4 no-cache while revalidating", "max-age=10, stale-while-revalidate=9", 11, Wishes(no_cache=True), "e"),
    ("5.2.1.1 max-age young enough", "max-age=10", 5, Wishes(max_age=5), "ame"),
    ("5.2.1.1 max-age too old", "max-age=10", 6, Wishes(max_age=5), "e"),
    ("RFC 8246 2 a reload of what is immutable", "max-age=10, immutable", 6, Wishes(max_age=0), "ae"),
    ("RFC 8246 2 a forced reload", "max-age=10, immutable", 6, Wishes(no_cache=True), "e"),
    ("RFC 8246 2 once stale", "max-age=10, immutable", 11, Wishes(max_age=0), "e"),
    ("5.2.1.3 min-fresh enough", "max-age=10", 5, Wishes(min_fresh=5), "ae"),
    ("5.2.1.3 min-fresh too little", "max-age=10", 6, Wishes(min_fresh=5), "e"),
    ("5.2.1.3 min-fresh beside max-stale", "max-age=10", 11, Wishes(min_fresh=1, max_stale=9), "e"),
    ("5.2.1.2 max-stale within", "max-age=10", 15, Wishes(max_stale=5), "ae"),
    ("5.2.1.2 max-stale beyond", "max-age=10", 16, Wishes(max_stale=5), "e"),
    ("5.2.1.2 max-stale any", "max-age=10", 10**6, Wishes(max_stale=math.inf), "ae"),
    ("5.2.1.2 max-stale beside max-age", "max-age=10", 15, Wishes(max_stale=5, max_age=14), "e"),
    ("5.2.2.2 max-stale and must-revalidate", "max-age=10, must-revalidate", 11, Wishes(max_stale=9), ""),
    ("5.2.1.5 no-store does not forbid what is stored", "max-age=10", 5, Wishes(no_store=True), "ame"),
]  # fmt: skip


@pytest.mark.parametrize(("header", "age", "wish", "uses"), [case[1:] for case in USES], ids=[case[0] for case in USES])
def test_use(header: str, age: int, wish: Wishes, uses: str) -> None:
    found = freshness_of(stored(control(header)), BORN + age)
    told = {"a": found.satisfies(wish), "m": found.serves_meanwhile(wish), "e": found.stands_in(wish)}
    assert "".join(letter for letter, allowed in told.items() if allowed) == uses


@pytest.mark.parametrize(("age", "remaining"), [(0, 10), (0.5, 9), (10, 0), (10.5, -1), (25, -15)])
def test_what_remains(age: float, remaining: int) -> None:
    """``ttl`` of RFC 9211 section 2.6."""
    assert Freshness(10.0, age).remaining == remaining


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=30)), max_size=4), st.text(max_size=30))
def test_any_headers_can_be_read(headers: Headers, date: str) -> None:
    found = freshness_of(stored([*headers, *control(date), ("Expires", date)], date=date), BORN)
    assert found.lifetime >= 0
    assert found.age >= 0
    wishes({"cache-control": date, "pragma": date})


def test_lines_of_one_name_are_one_list() -> None:
    assert joined((("Vary", "a"), ("VARY", "b"))) == {"vary": "a, b"}
