"""What holds for a path of a mirror: the policy, and the rules that change it.

A rule kind is one field here, one branch in ``cephstorage.domain.decision`` and rows in its case table.
"""

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache


class Mode(StrEnum):
    """When a stored copy is asked for again at the origin."""

    PERMANENT = "permanent"
    IMMUTABLE = "immutable"
    REVALIDATE = "revalidate"
    BYPASS = "bypass"
    DENY = "deny"


class Query(StrEnum):
    """What the query string means for the key: part of it, nothing, or only the listed names."""

    INCLUDE = "include"
    IGNORE = "ignore"
    LISTED = "listed"


class Cookies(StrEnum):
    """An answer with Set-Cookie is passed through unstored, or stored without the header."""

    PASS = "pass"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for one path after the rules were applied. ``ttl`` is in seconds."""

    mode: Mode = Mode.PERMANENT
    ttl: float = 3600.0
    query: Query = Query.INCLUDE
    query_names: tuple[str, ...] = ()
    cookies: Cookies = Cookies.PASS
    pass_headers: tuple[str, ...] = ()
    origin: str | None = None
    rewrite_links: tuple[str, str] | None = None

    @property
    def sends_credentials(self) -> bool:
        """Whether a rule lets the client's own credentials through to the origin."""
        return bool({"authorization", "cookie"} & {name.lower() for name in self.pass_headers})


DEFAULT_POLICY = Policy()


@dataclass(frozen=True, slots=True)
class Rule:
    """A path pattern and what it changes; None leaves the mirror's own value.

    In a pattern ``*`` matches within one segment, ``**`` across segments, ``?`` one character. A
    pattern that does not begin with ``/`` matches at the end of any path.
    """

    path: str
    mode: Mode | None = None
    ttl: float | None = None
    query: Query | None = None
    query_names: tuple[str, ...] | None = None
    cookies: Cookies | None = None
    pass_headers: tuple[str, ...] | None = None
    origin: str | None = None
    rewrite_links: tuple[str, str] | None = None

    def applied_to(self, policy: Policy) -> Policy:
        """The policy with this rule's changes."""
        names = ("mode", "ttl", "query", "query_names", "cookies", "pass_headers", "origin", "rewrite_links")
        return replace(policy, **{name: getattr(self, name) for name in names if getattr(self, name) is not None})

    def matches(self, path: str) -> bool:
        """Whether the rule is for a decoded path."""
        return _pattern(self.path).fullmatch(path) is not None


@lru_cache(maxsize=1024)
def _pattern(glob: str) -> re.Pattern[str]:
    glob = re.sub(r"(?:\*\*/)+", "**/", glob if glob.startswith("/") else f"/**/{glob}")
    pieces = re.split(r"(/\*\*/|\*\*|\*|\?)", glob)
    meaning = {"/**/": "/(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(piece, re.escape(piece)) for piece in pieces), re.DOTALL)
