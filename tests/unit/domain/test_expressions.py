"""Regular expressions of rules: what is accepted means what the engine's own means; what could explode is refused."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephstorage.domain.expressions import LONGEST, BadExpression, expression

ACCEPTED: dict[str, tuple[list[str], list[str]]] = {
    "/a": (["/a"], ["/aa", "a", "/", "/A"]),
    "^/a$": (["/a"], ["/a$", "^/a"]),
    r"/a\$": (["/a$"], ["/a"]),
    "/.*": (["/", "/a/b\nc"], ["a"]),
    "/[^/]+/x": (["/ab/x"], ["//x", "/a/b/x"]),
    "/[a-c_.-]+": (["/a.b-c_"], ["/d", "/"]),
    r"/\d{2,3}": (["/12", "/123"], ["/1", "/1234", "/é", "/١٢"]),
    r"/\d{2}": (["/12"], ["/1", "/123"]),
    r"/\w+\.deb": (["/a_1.deb"], ["/a-1.deb", "/a_1xdeb"]),
    r"/[^\d\s]+": (["/ab"], ["/a1", "/a b"]),
    "/(a|bc)?d": (["/d", "/ad", "/bcd"], ["/abcd", "/bd"]),
    "/(?:v(\\d+)|latest)/x": (["/v12/x", "/latest/x"], ["/v/x"]),
    "/é+[ü-ÿ]": (["/éüé".removesuffix("é")], ["/eü"]),
    "/pool/.*/([^/]+)[.]deb": (["/pool/m/h/x.deb"], ["/pool/x.deb"]),
    r"/(.*)/v(\d+)\.(\d+)/(.*)": (["/a/b/v1.2/c/d"], ["/a/v1/c"]),
    "a|": (["", "a"], ["b"]),
}


@pytest.mark.parametrize("text", ACCEPTED)
def test_what_is_accepted(text: str) -> None:
    matching, others = ACCEPTED[text]
    found = expression(text)
    assert [path for path in matching if not found.fullmatch(path)] == []
    assert [path for path in others if found.fullmatch(path)] == []


@pytest.mark.parametrize(
    "text",
    ["", "x" * 501, "(a", "a)", "[a", "[]", "[^]", "a**", "a+?", "a++", "*a", "a{3,2}", "a{", "a]", "a\\", r"\b", r"\1", r"\x41",
     "a^b", "a$b", "(?=a)", "(?i)a", "(?P<n>a)", "[[a]", "[z-a]", r"[\d-z]", "(a)*", "(a|b)+", "(a){2}", "(a+)+b", "(a|a)*b", "(a*)*"],
)  # fmt: skip
def test_what_is_not_in_the_subset(text: str) -> None:
    with pytest.raises(BadExpression):
        expression(text)


@pytest.mark.parametrize(
    "text", ["/.*.*.*x", "a?" * 30 + "a" * 30, "/.+a.+a.+a", "/[ab]*[bc]*[cd]*x", ".*[^/]+/.*x", "(.*a|.*b)(.*c)?.*x", "a{1,900}" * 4]
)  # fmt: skip
def test_what_could_match_in_too_many_ways(text: str) -> None:
    with pytest.raises(BadExpression, match="too many ways"):
        expression(text)


PIECES = st.sampled_from(
    ["a", "b", "/", ".", "[ab]", "[^/]", "[^a]", "a*", "b+", ".*", "[^/]+", "a?", "b{1,3}", "(a|b)", "(ab?)?", "(?:a*/)?", "|"]
)  # fmt: skip


@given(st.lists(PIECES, min_size=1, max_size=8).map("".join), st.text(alphabet="ab/", max_size=12))
def test_what_is_accepted_means_what_the_engine_means(text: str, path: str) -> None:
    try:
        found = expression(text)
    except BadExpression:
        return
    assert bool(found.fullmatch(path)) == bool(re.compile(text, re.ASCII | re.DOTALL).fullmatch(path))


@given(
    st.lists(PIECES, min_size=1, max_size=12).map("".join),
    st.text(alphabet="ab/", min_size=1, max_size=3),
    st.integers(1, 3),
)
def test_no_accepted_expression_takes_long_on_the_longest_path(text: str, unit: str, times: int) -> None:
    """One that backtracks without bounds would keep this test from ending."""
    try:
        found = expression(text)
    except BadExpression:
        return
    found.fullmatch(("a" * times + unit * LONGEST)[: LONGEST - 1] + "!")
