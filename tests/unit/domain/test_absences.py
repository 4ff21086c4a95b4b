"""Which answers without an object are repeated, and for how long: RFC 9111 sections 3, 4, 4.2; RFC 9110 section 15.1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephstorage.domain.absences import is_for_all, repeatable
from cephstorage.domain.policy import Cookies, Mode, Policy

NOW = 1_700_000_000.0
ORIGIN = Policy(Mode.ORIGIN, negative_ttl=10.0)
SILENT = Policy(Mode.ORIGIN)
FRESH = ("Cache-Control", "max-age=60")
Headers = list[tuple[str, str]]


@pytest.mark.parametrize("status", [203, 204, 300, 301, 302, 303, 307, 308, 400, 403, 404, 405, 410, 414, 451, 501])
def test_what_says_how_long_it_is_fresh_is_repeated_for_so_long(status: int) -> None:
    assert repeatable(SILENT, status, [FRESH], NOW) == (NOW, NOW + 60)


@pytest.mark.parametrize("status", [100, 206, 304, 401, 407, 408, 416, 421, 425, 429, 500, 502, 503, 504])
def test_what_is_said_of_a_moment_of_a_client_or_of_a_range_is_not(status: int) -> None:
    assert repeatable(ORIGIN, status, [FRESH], NOW) is None


TIMES: list[tuple[int, Headers, Policy, tuple[float, float] | None]] = [
    # section 4.2.1: s-maxage, max-age, Expires; RFC 9213: the targeted ones in their place
    (301, [("Cache-Control", "max-age=60, s-maxage=5")], SILENT, (0, 5)),
    (301, [("Expires", "Tue, 14 Nov 2023 22:14:20 GMT"), ("Date", "Tue, 14 Nov 2023 22:13:20 GMT")], SILENT, (0, 60)),
    (301, [("Expires", "0")], SILENT, None),
    (301, [("Cache-Control", "no-store"), ("CDN-Cache-Control", "max-age=60")], SILENT, (0, 60)),
    (301, [FRESH, ("CDN-Cache-Control", "no-store")], SILENT, None),
    # section 4.2.3: what a cache on the way has kept already counts
    (301, [FRESH, ("Age", "50")], SILENT, (-50, 10)),
    (301, [FRESH, ("Age", "60")], SILENT, None),
    # section 4.2.2: no expiry, no guess; for absences a negative_ttl says it
    (301, [], ORIGIN, None),
    (204, [("Last-Modified", "Mon, 01 Jan 2001 00:00:00 GMT")], Policy(Mode.ORIGIN, heuristic=True), None),
    (404, [], ORIGIN, (0, 10)),
    (404, [], SILENT, None),
    (404, [FRESH], ORIGIN, (0, 60)),
    (410, [("Cache-Control", "max-age=0")], ORIGIN, None),
    (404, [("Cache-Control", "max-age=soon")], ORIGIN, None),
    # section 5.2.2
    *((404, [("Cache-Control", f"{each}, max-age=60")], ORIGIN, None) for each in ("no-store", "private", "no-cache")),
    (404, [("Cache-Control", "no-store, must-understand, max-age=60")], ORIGIN, None),  # no-store is in force all the same
    (404, [("Cache-Control", "must-revalidate, max-age=60")], ORIGIN, (0, 60)),
    # section 4.1: these are kept under their address alone
    (404, [FRESH, ("Vary", "Accept-Language")], ORIGIN, None),
    (404, [FRESH, ("Set-Cookie", "a=b")], ORIGIN, None),
    (404, [FRESH, ("Set-Cookie", "a=b")], Policy(Mode.ORIGIN, cookies=Cookies.DROP), (0, 60)),
    # in other modes the rule alone says it
    *((404, [("Cache-Control", each)], Policy(negative_ttl=7.0), (0, 7)) for each in ("max-age=60", "no-store", "no-cache")),
    (301, [FRESH], Policy(negative_ttl=7.0), None),
    (404, [FRESH], Policy(), None),
]  # fmt: skip


@pytest.mark.parametrize(("status", "headers", "policy", "times"), TIMES)
def test_for_how_long(status: int, headers: Headers, policy: Policy, times: tuple[float, float] | None) -> None:
    found = repeatable(policy, status, headers, NOW)
    assert (found and (found[0] - NOW, found[1] - NOW)) == times


@pytest.mark.parametrize(
    ("headers", "replica", "obeys"),
    [
        ({}, True, True),
        ({"set-cookie": "a=b"}, False, False),
        ({"cache-control": "private"}, True, False),
        ({"cache-control": "no-store"}, True, False),
        ({"vary": "*"}, True, False),
        ({"vary": "accept"}, True, True),
        ({"cache-control": "no-cache"}, True, True),
    ],
)
def test_what_all_who_wait_may_have(headers: dict[str, str], replica: bool, obeys: bool) -> None:
    assert (is_for_all(Policy(), headers), is_for_all(SILENT, headers)) == (replica, obeys)


@given(st.integers(100, 599), st.lists(st.tuples(st.sampled_from(["Age", "Expires", "Date", "Vary"]), st.text())))
def test_any_answer_can_be_judged(status: int, headers: Headers) -> None:
    found = repeatable(ORIGIN, status, headers, NOW)
    assert found is None or found[0] <= NOW < found[1]
