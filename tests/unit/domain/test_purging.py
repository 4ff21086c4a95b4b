"""When edges are told to forget: one row per case."""

from collections.abc import Sequence

import pytest

from cephstorage.domain.handover import EDGE_LIFETIME
from cephstorage.domain.purging import FOLLOW_UPS, Again, after_round, owed

A, B = "http://a.example", "http://b.example"
BORN = 1000.0
SOON, LATE = (BORN + pause for pause in FOLLOW_UPS)


@pytest.mark.parametrize(
    ("edges", "remaining", "expected"),
    [
        ([A, B], None, [A, B]),
        ([A, B], (), [A, B]),
        ([A, B], (B,), [B]),
        ([A], (B,), []),
        ([], None, []),
    ],
)
def test_whom_a_round_owes(edges: list[str], remaining: Sequence[str] | None, expected: list[str]) -> None:
    assert owed(edges, remaining) == expected


@pytest.mark.parametrize(
    ("what", "now", "attempts", "failed", "expected"),
    [
        ("told at once: again soon", BORN, 0, [], Again(SOON)),
        ("told late: what was under way may still land", SOON, 1, [], Again(LATE)),
        ("told between", SOON + 1, 1, [], Again(LATE)),
        ("told when nothing can be under way", LATE, 2, [], None),
        ("an edge is silent", BORN, 0, [B], Again(BORN + 1, (B,))),
        ("and still is", BORN + 10, 3, [B], Again(BORN + 18, (B,))),
        ("it is asked once a minute at least", BORN + 900, 50, [A, B], Again(BORN + 960, (A, B))),
        ("until it can't have anything left", BORN + EDGE_LIFETIME + 1, 900, [B], None),
    ],
)
def test_what_follows_a_round(what: str, now: float, attempts: int, failed: list[str], expected: Again | None) -> None:
    assert after_round(BORN, attempts, now, failed) == expected, what
