"""The choice among origins and the circuit breaker: case tables."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephstorage.domain.origins import (
    FAILURES,
    LONGEST_PATIENCE,
    LONGEST_REST,
    NEW,
    PROBE_PATIENCE,
    REST,
    SUSPICION,
    Choice,
    Circuit,
    OriginServer,
    Route,
    Standing,
    Verdict,
    in_turn,
    server_of,
    verdict,
)

A, B, C = (OriginServer(f"http://{name}.example", weight) for name, weight in (("a", 1), ("b", 3), ("c", 6)))
NOW = 1000.0


def failed(times: int, now: float = NOW) -> Standing:
    standing = NEW
    for _ in range(times):
        standing = standing.failed(now)
    return standing


@pytest.mark.parametrize(
    ("status", "missing", "wanted"),
    [
        (200, (), Verdict.TAKEN),
        (206, (), Verdict.TAKEN),
        (304, (), Verdict.TAKEN),
        (401, (), Verdict.TAKEN),
        (404, (), Verdict.TAKEN),
        (404, (404,), Verdict.MISSING),
        (403, (404,), Verdict.TAKEN),
        (429, (), Verdict.FAILED),
        (500, (), Verdict.FAILED),
        (501, (), Verdict.TAKEN),
        (502, (), Verdict.DOWN),
        (503, (), Verdict.DOWN),
        (504, (), Verdict.DOWN),
        (505, (), Verdict.TAKEN),
        (599, (), Verdict.FAILED),
    ],
)
def test_what_an_answer_means(status: int, missing: tuple[int, ...], wanted: Verdict) -> None:
    assert verdict(status, missing) is wanted


def test_the_circuit_opens_after_so_many_failures_in_a_row_only() -> None:
    assert failed(FAILURES - 1).circuit(NOW) is Circuit.CLOSED
    assert failed(FAILURES - 1).answered().failed(NOW).circuit(NOW) is Circuit.CLOSED
    opened = failed(FAILURES)
    assert (opened.circuit(NOW), opened.admits(NOW), opened.wait(NOW)) == (Circuit.OPEN, False, REST)


def test_failures_of_requests_that_were_under_way_make_the_rest_no_longer() -> None:
    assert failed(FAILURES + 30).wait(NOW) == REST


def test_one_request_tries_when_the_rest_is_over() -> None:
    later = NOW + REST
    half_open = failed(FAILURES)
    assert (half_open.circuit(later), half_open.admits(later)) == (Circuit.HALF_OPEN, True)
    trying = half_open.asked(later)
    assert (trying.circuit(later), trying.admits(later)) == (Circuit.HALF_OPEN, False)
    assert trying.left().admits(later)
    assert trying.admits(later + PROBE_PATIENCE)
    assert trying.answered().circuit(later) is Circuit.CLOSED
    assert trying.answered().failures == 0


def test_the_rest_doubles_with_every_try_that_fails_up_to_a_bound() -> None:
    standing, now, rests = failed(FAILURES), NOW, []
    for _ in range(7):
        rests.append(standing.wait(now))
        now += rests[-1]
        standing = standing.asked(now).failed(now)
    assert rests == [5, 10, 20, 40, LONGEST_REST, LONGEST_REST, LONGEST_REST]


def test_patience_is_had_for_as_long_as_was_asked_up_to_a_bound() -> None:
    busy = NEW.asked_for_patience(429, 7, NOW)
    assert (busy.admits(NOW + 6.9), busy.wait(NOW), busy.admits(NOW + 7)) == (False, 7, True)
    assert (busy.busy_status, busy.circuit(NOW)) == (429, Circuit.CLOSED)
    assert not busy.answered().admits(NOW)
    assert NEW.asked_for_patience(503, 1e9, NOW).wait(NOW) == LONGEST_PATIENCE


def test_a_broken_body_makes_suspect_and_opens_nothing() -> None:
    standing = NEW
    for _ in range(FAILURES * 2):
        standing = standing.broke(NOW)
    assert (standing.circuit(NOW), standing.suspect_until) == (Circuit.CLOSED, NOW + SUSPICION)


def test_ordered_is_the_order_in_which_they_are_written() -> None:
    assert in_turn([B, A, C], Choice.ORDERED, "/x") == [B, A, C]


def test_weighted_gives_each_its_share_and_a_target_always_the_same() -> None:
    names = [f"/pool/{number}" for number in range(20_000)]
    firsts = Counter(in_turn([A, B, C], Choice.WEIGHTED, name)[0] for name in names)
    shares = {server: firsts[server] / len(names) for server in (A, B, C)}
    assert shares == {A: pytest.approx(0.1, abs=0.02), B: pytest.approx(0.3, abs=0.02), C: pytest.approx(0.6, abs=0.02)}


@given(st.text(max_size=30))
def test_an_origin_that_goes_away_moves_only_its_own_share(name: str) -> None:
    order = in_turn([A, B, C], Choice.WEIGHTED, name)
    assert in_turn([C, A, B], Choice.WEIGHTED, name) == order
    assert in_turn([A, C], Choice.WEIGHTED, name) == [server for server in order if server is not B]


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://a.example/x", "http://a.example"),
        ("http://a.example/x/y", "http://a.example/x"),
        ("http://a.example/xy", "http://a.example"),
        ("http://a.example.evil/x", None),
        ("http://a.example@evil/x", None),
        ("http://a.example:81/x", None),
        ("https://a.example/x", None),
    ],
)
def test_a_url_belongs_to_the_origin_that_it_lies_under(url: str, wanted: str | None) -> None:
    """Whose credentials go with a URL is decided here."""
    found = server_of([A, OriginServer("http://a.example/x"), B], url)
    assert (found.url if found is not None else None) == wanted


def test_a_route_leads_to_every_origin_of_the_mirror_and_an_other_one_stands_alone() -> None:
    files = OriginServer("http://files.example")
    route = Route("m.test", (A, B), (files,))
    assert route.candidates("http://a.example/p?q") == [(A, "http://a.example/p?q"), (B, "http://b.example/p?q")]
    assert route.candidates("http://files.example/p") == [(files, "http://files.example/p")]
    assert route.candidates("http://elsewhere.example/p") == []
