"""Globs over paths, matched in time that no pattern can blow up.

``*`` matches within one segment, ``**`` across segments, ``?`` one character; ``/**/`` is any number of folders.
A glob becomes a regular expression. What stands between two wildcards is as good at its leftmost place as at any
other, because the wildcard behind it takes whatever follows: so it is found once, in an atomic group, and nothing
backtracks from one wildcard into another.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

_FAR = re.compile(r"(/\*\*/|\*{2,})")
_WILDCARD = re.compile(r"(/\*\*/|\*{2,}|\*|\?)")
MOST_LITERALS = 4
_LAST_SLASH = "(?>(?:.*/)?)"


@lru_cache(maxsize=4096)
def glob(text: str) -> re.Pattern[str]:
    """The expression of a glob, to ``fullmatch`` decoded paths. One without a leading ``/`` matches at any depth."""
    text = re.sub(r"(?:\*\*/)+", "**/", text if text.startswith("/") else f"/**/{text}")
    parts = _FAR.split(text)
    stars, chunks = parts[1::2], parts[2::2]
    if not stars:
        return re.compile(_chunk(text, to_the_end=True), re.DOTALL)
    written, starts = "", ""
    for chunk, star in zip([parts[0], *chunks], stars, strict=False):
        folders = star == "/**/"
        written += f"(?>{starts}{_chunk(chunk)}{'(?=/)' if folders else ''})"
        starts = "/(?:.*?/)??" if folders else ".*?"
    return re.compile(written + _ending(stars[-1], chunks[-1]), re.DOTALL)


@dataclass(frozen=True, slots=True)
class Sieve:
    """What is true of every path that a glob matches, for those who look for them where no expression reaches.

    ``prefix``: what the path begins with, its first ``/`` aside; ``literals``: texts that stand in it, longest first.
    """

    prefix: str
    literals: tuple[str, ...]


def sieve(text: str) -> Sieve:
    """The sieve of a glob; it lets every match through, and more."""
    text = re.sub(r"(?:\*\*/)+", "**/", text if text.startswith("/") else f"/**/{text}")
    pieces = _WILDCARD.split(text)
    prefix = pieces[0][1:] + ("/" if len(pieces) > 1 and pieces[1] == "/**/" and pieces[0] else "")
    literals = {piece.strip("/") for piece in pieces[::2]} - {""}
    return Sieve(prefix, tuple(sorted(literals, key=lambda literal: (-len(literal), literal))[:MOST_LITERALS]))


def _ending(star: str, chunk: str) -> str:
    """The last ``**`` and what stands behind it, which has to reach to the end of the path."""
    if "/" in chunk:
        return ("/(?:.*?/)??" if star == "/**/" else ".*?") + _chunk(chunk, to_the_end=True)
    if star == "/**/":
        return f"/{_LAST_SLASH}" + _chunk(chunk, to_the_end=True)
    return _LAST_SLASH + _chunk(f"*{chunk}", to_the_end=True)


def _chunk(text: str, *, to_the_end: bool = False) -> str:
    first, *others = (re.escape(part).replace(r"\?", "[^/]") for part in text.split("*"))
    if not others:
        return first
    between = "".join(f"(?>[^/]*?{part})" for part in others[:-1])
    return f"{first}{between}[^/]*{'' if to_the_end else '?'}{others[-1]}"
