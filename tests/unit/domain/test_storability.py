"""What a mirror may keep of an origin's answer (RFC 9111 section 3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephstorage.domain.cache_control import cache_directives
from cephstorage.domain.storability import (
    HOP_BY_HOP,
    SERVER_COMMANDS,
    connection_headers,
    kept_headers,
    not_stored_reason,
)


@pytest.mark.parametrize(
    ("header", "directives"),
    [
        (None, {}),
        ("", {}),
        ("no-store", {"no-store": None}),
        ("No-Store, MAX-AGE=60", {"no-store": None, "max-age": "60"}),
        ("max-age=60,public", {"max-age": "60", "public": None}),
        ('max-age="60"', {"max-age": "60"}),
        ("max-age = 60", {"max-age": "60"}),
        ("max-age=", {"max-age": None}),
        ("max-age=1, max-age=2", {"max-age": "1"}),
        ('private="set-cookie, x"', {"private": "set-cookie, x"}),
        ('ext="no-store", public', {"ext": "no-store", "public": None}),
        ('ext="a\\", no-store"', {"ext": 'a\\", no-store'}),
        (",, ,no-cache;", {"no-cache": None}),
    ],
)
def test_cache_control(header: str | None, directives: dict[str, str | None]) -> None:
    assert cache_directives(header) == directives


REASONS: list[tuple[int, dict[str, str], bool, bool, str | None]] = [
    # status, headers, authorized, drop_cookies, reason
    (200, {}, False, False, None),
    (206, {}, False, False, None),
    *((status, {}, False, False, "status") for status in (100, 201, 203, 204, 301, 304, 400, 404, 410, 416, 500, 503)),
    (404, {"cache-control": "public, max-age=60"}, False, False, "status"),
    (200, {"cache-control": "no-store"}, False, False, "no-store"),
    (200, {"cache-control": "NO-STORE"}, False, False, "no-store"),
    (200, {"cache-control": "public, no-store"}, False, False, "no-store"),
    (200, {"cache-control": "no-store, must-understand"}, False, False, None),
    (200, {"cache-control": "no-store", "cdn-cache-control": "max-age=60"}, False, False, None),
    (200, {"cache-control": "max-age=60", "cdn-cache-control": "no-store"}, False, False, "no-store"),
    (200, {"cache-control": "no-store", "cdn-cache-control": "max-age=60,"}, False, False, "no-store"),
    (200, {"cache-control": "private"}, False, False, "private"),
    (200, {"cache-control": 'private="x-user"'}, False, False, "private"),
    (200, {"cache-control": "no-cache"}, False, False, None),
    (200, {"cache-control": "max-age=0, must-revalidate"}, False, False, None),
    (200, {"pragma": "no-cache"}, False, False, None),
    (200, {"expires": "0"}, False, False, None),
    (200, {"set-cookie": "a=b"}, False, False, "set-cookie"),
    (200, {"set-cookie": "a=b"}, False, True, None),
    (200, {"set-cookie": "a=b", "cache-control": "private"}, False, True, "private"),
    (200, {"vary": "*"}, False, False, "vary"),
    (200, {"vary": "Accept, *"}, False, False, "vary"),
    (200, {"vary": "Accept-Encoding"}, False, False, None),
    (200, {}, True, False, "authorization"),
    (200, {"cache-control": "max-age=60"}, True, False, "authorization"),
    (200, {"cache-control": "public"}, True, False, None),
    (200, {"cache-control": "s-maxage=60"}, True, False, None),
    (200, {"cache-control": "must-revalidate"}, True, False, None),
    (200, {"cache-control": "public, no-store"}, True, False, "no-store"),
]


@pytest.mark.parametrize(("status", "headers", "authorized", "drop_cookies", "reason"), REASONS)
def test_what_must_not_be_stored(
    status: int, headers: dict[str, str], authorized: bool, drop_cookies: bool, reason: str | None
) -> None:
    assert not_stored_reason(status, headers, authorized=authorized, drop_cookies=drop_cookies) == reason


def test_headers_that_stay_behind() -> None:
    given_headers = (("Connection", "close, X-Hop"), ("connection", " x-other ,"), ("X-End", "1"))
    assert connection_headers(given_headers) == HOP_BY_HOP | SERVER_COMMANDS | {"close", "x-hop", "x-other"}


def test_end_to_end_headers_are_kept_verbatim_and_in_order() -> None:
    kept = (
        ("X-B", "1"),
        ("Content-Encoding", "gzip"),
        ("x-b", "2"),
        ("Link", "</>; rel=up"),
        ("Cache-Control", "max-age=1"),
    )
    answer = (("Connection", "X-Hop"), kept[0], ("X-Hop", "1"), *kept[1:], ("Date", "now"))
    assert kept_headers(answer) == kept
    assert kept_headers(iter(answer)) == kept


@pytest.mark.parametrize(
    "name",
    ["Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade", "Trailer", "Content-Length", "Content-Range", "Content-Type",
     "Date", "Age", "ETag", "Last-Modified", "Set-Cookie", "Via", "Cache-Status", "Strict-Transport-Security", "Alt-Svc"],
)  # fmt: skip
def test_what_belongs_to_one_hop_or_to_the_record_is_not_kept(name: str) -> None:
    assert kept_headers([(name, "1"), (name.upper(), "2")]) == ()


@pytest.mark.parametrize("name", ["X-Accel-Redirect", "x-accel-limit-rate", "X-Sendfile"])
def test_an_origin_does_not_command_our_web_server(name: str) -> None:
    assert kept_headers([(name, "/internal/secret")]) == ()
    assert name.lower() in connection_headers([])


@given(st.text())
def test_no_cache_control_breaks_the_reader(header: str) -> None:
    assert all(name == name.lower() for name in cache_directives(header))
