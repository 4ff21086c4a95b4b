"""Globs mean what their plain translation means, and none takes long."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephstorage.domain.globs import glob, sieve

TOKENS = st.lists(st.sampled_from(["a", "b", "/", "*", "**", "?", "/**/"]), min_size=1, max_size=8).map("".join)
PATHS = st.text(alphabet="ab/\n", max_size=10).map("/".__add__)


def plainly(text: str) -> re.Pattern[str]:
    """The translation that is easy to believe, and that backtracks without bounds."""
    text = re.sub(r"(?:\*\*/)+", "**/", text if text.startswith("/") else f"/**/{text}")
    pieces = re.split(r"(/\*\*/|\*\*|\*|\?)", text)
    meaning = {"/**/": "/(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(piece, re.escape(piece)) for piece in pieces), re.DOTALL)


@given(TOKENS, PATHS)
def test_a_glob_matches_what_its_plain_translation_matches(text: str, path: str) -> None:
    assert bool(glob(text).fullmatch(path)) == bool(plainly(text).fullmatch(path))


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/**/a/**/a/**/a/**/a/**/a/**/b", "/a" * 4096),
        ("*a*a*a*a*a*a*b", "/" + "a" * 8000),
        ("**a**a**a**a**a**b", "/" + "a" * 8000),
        ("**a*a*b/c*d", "/" + "a" * 8000),
        ("/**/a*/**/a*/**/b", "/a" * 4096),
    ],
)
def test_no_glob_stops_the_service(text: str, path: str) -> None:
    """Each of these keeps the plain translation busy for longer than the suite may run."""
    assert glob(text).fullmatch(path) is None
    assert glob(text.replace("b", "a").replace("/c*d", "*")).fullmatch(path)


@given(TOKENS, PATHS)
def test_a_sieve_lets_every_match_through(text: str, path: str) -> None:
    if glob(text).fullmatch(path):
        assert path[1:].startswith(sieve(text).prefix)
        assert all(literal in path[1:] for literal in sieve(text).literals)


@pytest.mark.parametrize(
    ("text", "prefix", "literals"),
    [
        ("*.deb", "", (".deb",)),
        ("/pool/main/*.deb", "pool/main/", ("pool/main", ".deb")),
        ("/pool/**/lib?.so", "pool/", ("pool", ".so", "lib")),
        ("/**/x", "", ("x",)),
        ("a*bb*ccc*dddd*eeeee", "", ("eeeee", "dddd", "ccc", "bb")),
    ],
)
def test_what_a_sieve_holds(text: str, prefix: str, literals: tuple[str, ...]) -> None:
    assert (sieve(text).prefix, sieve(text).literals) == (prefix, literals)
