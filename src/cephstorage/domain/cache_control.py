"""Cache directives as they are written: Cache-Control (RFC 9111 section 5.2) and CDN-Cache-Control (RFC 9213).

Pure reading. What the directives mean for storing stands in ``storability``, for using what is stored in ``freshness``.
"""

import re
from collections.abc import Mapping

TARGETED = "cdn-cache-control"
"""The only field of our target list: whoever writes it speaks to the caches that stand before an origin."""
LARGEST = 2**31
"""Seconds that stand for every larger number (RFC 9111 section 1.2.2)."""

Directives = dict[str, str | None]

_DIRECTIVE = re.compile(r'([A-Za-z0-9!#$%&\'*+.^_`|~-]+)(?:\s*=\s*("(?:[^"\\]|\\.)*"|[^\s,;"]*))?')
_SECONDS = frozenset({"max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"})
_NAMING_FIELDS = frozenset({"no-cache", "private"})

_KEY = r"[a-z*][a-z0-9_.*-]*"
_BARE = (
    r"-?[0-9]{1,12}\.[0-9]{1,3}|-?[0-9]{1,15}"
    r'|"(?:[ !#-\[\]-~]|\\["\\])*"'
    r"|[A-Za-z*][A-Za-z0-9:/!#$%&'*+.^_`|~-]*"
    r"|:[A-Za-z0-9+/=]*:|\?[01]"
)
_PARAMETERS = rf"(?:; *{_KEY}(?:=(?:{_BARE}))?)*"
_INNER_LIST = rf"\( *(?:(?:{_BARE}){_PARAMETERS}(?: +(?:{_BARE}){_PARAMETERS})*)? *\)"
_MEMBER = re.compile(rf"({_KEY})(?:=({_INNER_LIST}|{_BARE}))?{_PARAMETERS}")
_NEXT = re.compile(r"[ \t]*,[ \t]*")


def cache_directives(header: str | None) -> Directives:
    """Read Cache-Control: lower-case names, unquoted values; the first of equal names wins."""
    found: Directives = {}
    for name, value in _DIRECTIVE.findall(header or ""):
        found.setdefault(name.lower(), value.strip('"') if value else None)
    return found


def targeted_directives(header: str | None) -> Directives | None:
    """Read CDN-Cache-Control, a Dictionary of RFC 8941; None when it is empty or can't be read as one.

    The last of equal names wins (RFC 8941 section 4.2.2). A member whose value is not of its directive's type is
    left out (RFC 9213 section 2.1).
    """
    members: dict[str, str] = {}
    text, position = (header or "").strip(" "), 0
    while position < len(text):
        member = _MEMBER.match(text, position)
        if member is None:
            return None
        members.pop(member[1], None)
        members[member[1]] = member[2] if member[2] is not None else "?1"
        position = member.end()
        if position == len(text):
            return {name: _value(value) for name, value in members.items() if _fits(name, value)}
        comma = _NEXT.match(text, position)
        if comma is None:
            return None
        position = comma.end()
    return None


def _fits(name: str, value: str) -> bool:
    if name in _SECONDS:
        return re.fullmatch(r"-?[0-9]+", value) is not None
    return value == "?1" or (name in _NAMING_FIELDS and value.startswith('"'))


def _value(value: str) -> str | None:
    return None if value == "?1" else value.strip('"')


def response_directives(headers: Mapping[str, str]) -> tuple[Directives, bool]:
    """The directives that hold for us in an answer, and whether they are the targeted ones (RFC 9213 section 2.2).

    Those replace Cache-Control and Expires. ``headers`` has lower-case names.
    """
    targeted = targeted_directives(headers.get(TARGETED))
    return (targeted, True) if targeted is not None else (cache_directives(headers.get("cache-control")), False)


def delta_seconds(value: str | None) -> float | None:
    """A directive's seconds (RFC 9111 section 1.2.2), at most ``LARGEST``; None when they can't be read."""
    if value is None or re.fullmatch(r"[0-9]+", value, re.ASCII) is None:
        return None
    return float(min(LARGEST, int(value) if len(value) < 12 else LARGEST))
