"""When keys end: by their own wish, by rules, and what of both is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephstorage.domain.errors import CephStorageError, InvalidExpiry
from cephstorage.domain.lifecycle import DAY, ExpiryRule, ending, lifecycle_of, parse_expires

NOW = 1_000_000.0
RULES = st.lists(st.builds(ExpiryRule, st.sampled_from(["", "a", "a/", "a/b", "c"]), st.floats(0.001, 1000)))


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        (None, None),
        ("", None),
        (NOW + 1, NOW + 1),
        (str(int(NOW) + 5), NOW + 5),
        ("1970-02-01T00:00:00Z", 31 * DAY),
        ("1d", NOW + DAY),
        ("in 30 days", NOW + 30 * DAY),
        ("1 day", NOW + DAY),
        ("90s", NOW + 90),
    ],
)
def test_moments_as_callers_write_them(written: str | float | None, moment: float | None) -> None:
    assert parse_expires(written, NOW) == moment


@pytest.mark.parametrize(
    "written", ["soon", "0d", "-1d", "1w", "36501d", "1970-01-01", NOW, NOW - 1, 1e300, "nan", float("inf"), -1, "1e5d"]
)
def test_moments_that_make_no_sense(written: str | float) -> None:
    with pytest.raises(InvalidExpiry):
        parse_expires(written, NOW)


@given(st.sampled_from(["a", "a/b", "a/b/c", "ab", "d"]), st.none() | st.floats(0, 1e9), RULES)
def test_a_key_ends_at_the_earliest_of_its_moments(key: str, expires: float | None, rules: list[ExpiryRule]) -> None:
    found = ending(key, NOW, expires, rules)
    meant = [NOW + rule.days * DAY for rule in rules if key[: len(rule.prefix)] == rule.prefix]
    meant += [expires] if expires is not None else []
    assert found == min(meant, default=None)


@pytest.mark.parametrize(
    "rules",
    [
        [{"prefix": "a", "days": 0}],
        [{"prefix": "a", "days": -1}],
        [{"prefix": "a", "days": 36501}],
        [{"prefix": "a", "days": float("nan")}],
        [{"prefix": "a", "days": 1}, {"prefix": "a", "days": 2}],
        [{"prefix": "a\0", "days": 1}],
        [{"prefix": "a" * 1025, "days": 1}],
        [{"prefix": str(number), "days": 1} for number in range(101)],
    ],
)
def test_rules_that_make_no_sense(rules: list[dict[str, Any]]) -> None:
    with pytest.raises(CephStorageError):
        lifecycle_of([ExpiryRule(**rule) for rule in rules], None, False)


@pytest.mark.parametrize(("days", "overwritten"), [(0, False), (-1, False), (36501, False), (None, True)])
def test_a_trash_that_makes_no_sense(days: float | None, overwritten: bool) -> None:
    with pytest.raises(CephStorageError):
        lifecycle_of([], days, overwritten)
