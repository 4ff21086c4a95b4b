"""What answers add to a mirror's figures, and what is made of these."""

import pytest

from cephstorage.domain.errors import InvalidInput
from cephstorage.domain.usage import (
    Answered,
    Asker,
    Figures,
    Period,
    edge_figures,
    fetched_figures,
    figures_of,
    period,
    summary,
)

NOW = 6_000_000.0


@pytest.mark.parametrize(
    ("what", "answer", "figures"),
    [
        (
            "a client's hit",
            Answered(Asker.CLIENT, "StoreHit", 200, 10),
            {"answers.store_hit": 1, "direct.requests": 1, "direct.bytes": 10},
        ),
        (
            "a client's error",
            Answered(Asker.CLIENT, "Refuse", 403, 5),
            {"answers.refuse": 1, "direct.requests": 1, "direct.bytes": 5, "errors.403": 1},
        ),
        (
            "an error before anything was decided",
            Answered(Asker.CLIENT, "", 401, 5),
            {"direct.requests": 1, "direct.bytes": 5, "errors.401": 1},
        ),
        ("the edge tells clients itself", Answered(Asker.EDGE, "JoinFill", 502, 9), {"answers.join_fill": 1}),
        ("a slice that goes on", Answered(Asker.EDGE, "StoreHit", 206, 9, continues=True), {}),
        ("a peer's question was counted there", Answered(Asker.PEER, "JoinFill", 200, 9), {}),
        ("a visit is nobody's request", Answered(Asker.OURSELVES, "StartFill", 206, 1), {"visits": 1}),
        ("a visit of what is there", Answered(Asker.OURSELVES, "StoreHit", 206, 1), {}),
        (
            "what is passed through comes from the origin",
            Answered(Asker.EDGE, "PassThrough", 200, 7),
            {"answers.pass_through": 1, "origin.bytes": 7},
        ),
    ],
)
def test_what_an_answer_adds(what: str, answer: Answered, figures: Figures) -> None:
    assert figures_of(answer) == figures, what


def test_what_an_edges_line_adds() -> None:
    assert edge_figures(200, 10, hit=False) == {"edge.requests": 1, "edge.bytes": 10}
    assert edge_figures(404, 10, hit=True) == {
        "edge.requests": 1, "edge.bytes": 10, "edge.hits": 1, "edge.hit_bytes": 10, "errors.404": 1,
    }  # fmt: skip


def test_what_a_fill_adds() -> None:
    assert fetched_figures("landed", 7) == fetched_figures("nothing", 7) == {"fills": 1, "origin.bytes": 7}
    assert fetched_figures("origin_timeout", 0) == {"fills": 1, "origin.bytes": 0, "failures.origin_timeout": 1}


def test_the_summary() -> None:
    told = summary(
        {
            "edge.requests": 10, "edge.bytes": 600, "edge.hits": 4, "edge.hit_bytes": 200, "direct.requests": 2,
            "direct.bytes": 400, "answers.store_hit": 3, "answers.start_fill": 2, "answers.join_fill": 3, "visits": 1,
            "answers.pass_through": 1, "fills": 2, "origin.bytes": 250, "errors.404": 1, "failures.origin_busy": 2,
        }
    )  # fmt: skip
    assert told == {
        "requests": 12, "bytes_served": 1000, "edge_hits": 4, "edge_hit_bytes": 200, "store_hits": 3, "fills": 2,
        "collapsed": 4, "passed_through": 1, "refused": 0, "origin_bytes": 250, "origin_bytes_per_served_byte": 0.25,
        "errors": {"404": 1}, "origin_failures": {"origin_busy": 2},
    }  # fmt: skip
    nothing = summary({"fills": 1})
    assert (nothing["collapsed"], nothing["origin_bytes_per_served_byte"]) == (0, None)


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ((None, None, None), Period(99_940, 100_001, 1)),
        ((-120.0, None, 60.0), Period(99_998, 100_001, 1)),
        ((0.0, NOW, None), Period(0, 100_001, 67)),
        ((NOW - 90.0, NOW - 30.0, None), Period(99_998, 100_000, 1)),
    ],
)
def test_a_period(wish: tuple[float | None, ...], expected: Period) -> None:
    assert period(*wish, now=NOW) == expected  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    "wish",
    [
        (NOW, NOW, None), (NOW + 1, NOW, None), (-9e9, None, None), (float("nan"), None, None), (None, float("inf"), None),
        (None, 9e9, None), (0.0, None, 60.0), (None, None, 0.0), (None, None, -1.0), (None, None, float("nan")),
    ],
)  # fmt: skip
def test_no_period(wish: tuple[float | None, ...]) -> None:
    with pytest.raises(InvalidInput):
        period(*wish, now=NOW)  # type: ignore[arg-type, misc]
