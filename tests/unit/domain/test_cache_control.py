"""Reading CDN-Cache-Control (RFC 9213) and a directive's seconds (RFC 9111 section 1.2.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephstorage.domain.cache_control import (
    LARGEST,
    cache_directives,
    delta_seconds,
    response_directives,
    targeted_directives,
)

TARGETED: list[tuple[str | None, dict[str, str | None] | None]] = [
    (None, None),
    ("", None),
    ("   ", None),
    ("max-age=60", {"max-age": "60"}),
    ("  max-age=60 \t,\tno-store  ", {"max-age": "60", "no-store": None}),
    ("no-cache, must-revalidate", {"no-cache": None, "must-revalidate": None}),
    ('no-cache="x-a, x-b"', {"no-cache": "x-a, x-b"}),
    # parameters mean nothing (RFC 9213 section 2.1)
    ('max-age=60;note="a, b";x, public;y=1.5', {"max-age": "60", "public": None}),
    # the last of equal names wins (RFC 8941 section 4.2.2)
    ("max-age=60, max-age=5", {"max-age": "5"}),
    ("no-store, no-store=?0", {}),
    # a value of another type than the directive's is not consumed
    ("max-age=60.5", {}),
    ("max-age=60.5, public", {"public": None}),
    ('max-age="60", public', {"public": None}),
    ("max-age, public", {"public": None}),
    ("max-age=sixty, public", {"public": None}),
    ("no-store=?0, public", {"public": None}),
    ("no-store=5, public", {"public": None}),
    ("max-age=(1 2), public", {"public": None}),
    ("max-age=-5", {"max-age": "-5"}),
    ("ext=:YWJj:, public", {"public": None}),
    # what is no Dictionary is ignored as a whole (RFC 8941 section 4.2)
    ("max-age=60,", None),
    (",max-age=60", None),
    ("max-age=60 no-store", None),
    ("max-age = 60", None),
    ("Max-Age=60", None),
    ("max-age=60; no-store", {"max-age": "60"}),  # a parameter of that name
    ('no-cache="unended', None),
    ("max-age=1234567890123456", None),
    ("max-age=60, é", None),
]


@pytest.mark.parametrize(("header", "directives"), TARGETED)
def test_targeted(header: str | None, directives: dict[str, str | None] | None) -> None:
    assert targeted_directives(header) == directives


@given(st.text(max_size=60))
def test_nothing_that_is_sent_is_too_much(text: str) -> None:
    targeted_directives(text)
    cache_directives(text)


@pytest.mark.parametrize(
    ("headers", "directives", "targeted"),
    [
        ({}, {}, False),
        ({"cache-control": "max-age=5"}, {"max-age": "5"}, False),
        ({"cache-control": "no-store", "cdn-cache-control": "max-age=5"}, {"max-age": "5"}, True),
        ({"cache-control": "max-age=5", "cdn-cache-control": "max-age=1.5"}, {}, True),
        ({"cache-control": "max-age=5", "cdn-cache-control": ""}, {"max-age": "5"}, False),
        ({"cache-control": "max-age=5", "cdn-cache-control": "max-age=1,,"}, {"max-age": "5"}, False),
    ],
)
def test_the_targeted_field_replaces_cache_control_when_it_can_be_read(
    headers: dict[str, str], directives: dict[str, str | None], targeted: bool
) -> None:
    """RFC 9213 section 2.2."""
    assert response_directives(headers) == (directives, targeted)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("60", 60.0),
        ("007", 7.0),
        ("2147483648", LARGEST),
        ("99999999999999999999999", LARGEST),
        (None, None),
        ("", None),
        ("-1", None),
        ("+1", None),
        ("1.5", None),
        ("1 ", None),
        ("60s", None),
        ("٣", None),
    ],
)
def test_seconds(value: str | None, seconds: float | None) -> None:
    assert delta_seconds(value) == seconds
