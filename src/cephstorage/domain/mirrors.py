"""Mirrors: which host serves which bucket from which origin, and the rules that hold per path.

A rule kind is one field here, one branch in ``cephstorage.domain.decision`` and rows in its case table.
"""

import posixpath
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv6Address
from urllib.parse import quote, unquote_to_bytes, urlsplit

from cephstorage.domain.errors import InvalidKey, InvalidMirror, InvalidName, InvalidUrl
from cephstorage.domain.names import BucketName, decode_target, host_name, key_name

_PCHAR = "!$&'()*+,;=:@~-._"
_URL_OK = re.compile(r"[\x21-\x7e]+")
_RAW_PATH = re.compile(r"/[!\"$->@-\[\]-~]*")
_RAW_QUERY = re.compile(r"[!\"$-\[\]-~]*")
_AUTHORITY = re.compile(r"(?:[^@]*@)?(?:\[([0-9A-Fa-f:.]+)\]|([^@:\[\]]+))(?::[0-9]*)?")
MAX_URL = 8192


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


@dataclass(frozen=True, slots=True)
class Mirror:
    """A mirror host bound to a bucket and an origin. ``origin`` is a URL without a trailing slash."""

    host: str
    bucket: BucketName
    origin: str
    defaults: Policy = Policy()
    rules: tuple[Rule, ...] = ()
    private: bool = False
    preset: str | None = None
    created_at: float = 0.0

    def policy_for(self, path: str) -> Policy:
        """The policy for a decoded path: the first rule that matches, on top of the mirror's defaults.

        A path is denied too when what the origin may make of it is (``/open/../secret``, ``//secret``).
        """
        policy = self._first_match(path)
        plain = _resolved(path)
        if plain != path and (behind := self._first_match(plain)).mode is Mode.DENY:
            return behind
        return policy

    def _first_match(self, path: str) -> Policy:
        rule = self._rule(path)
        return rule.applied_to(self.defaults) if rule is not None else self.defaults

    def rule_for(self, path: str) -> str | None:
        """The pattern of the rule that holds for a decoded path; None when the defaults do."""
        rule = self._rule(path)
        return rule.path if rule is not None else None

    def _rule(self, path: str) -> Rule | None:
        return next((rule for rule in self.rules if _pattern(rule.path).fullmatch(path)), None)


@lru_cache(maxsize=1024)
def _pattern(glob: str) -> re.Pattern[str]:
    glob = re.sub(r"(?:\*\*/)+", "**/", glob if glob.startswith("/") else f"/**/{glob}")
    pieces = re.split(r"(/\*\*/|\*\*|\*|\?)", glob)
    meaning = {"/**/": "/(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(piece, re.escape(piece)) for piece in pieces), re.DOTALL)


def _resolved(path: str) -> str:
    """The path as a server sees it that removes dot segments and doubled slashes."""
    folder = "/" if path.endswith(("/", "/.", "/..")) else ""
    return posixpath.normpath("/" + path.lstrip("/")).rstrip("/") + folder


def origin_url(text: str) -> str:
    """An origin from a host or a URL with scheme, port and path prefix. Raises InvalidUrl."""
    url = text if "://" in text else f"http://{text}"
    if {"?", "#"} & set(check_url(url)):
        raise InvalidUrl("An origin has no query and no fragment.")
    return url.rstrip("/")


def check_url(url: str) -> str:
    """Return ``url`` if it is a plain absolute http(s) URL, printable ASCII. Raises InvalidUrl.

    Nothing is repaired: what is not written the way it travels is refused, so that what was checked
    is what is asked for.
    """
    if len(url) > MAX_URL or not _URL_OK.fullmatch(url):
        raise InvalidUrl(
            f"The URL must be 1 to {MAX_URL} printable ASCII characters without spaces; escape the others."
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidUrl("The URL's host or port can't be read.") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidUrl("The URL must begin with http:// or https:// and name a host.")
    if port == 0 or "\\" in url:
        raise InvalidUrl("The URL's port or path is not valid.")
    if not _names_host(parts.netloc):
        raise InvalidUrl("The URL's host is neither a DNS name nor an IP address.")
    return url


def _names_host(authority: str) -> bool:
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        return False
    literal, name = found.groups()
    try:
        return bool(IPv6Address(literal) if literal else host_name(name))
    except (ValueError, InvalidName):
        return False


def without_credentials(url: str) -> str:
    """A URL as it may be shown: without user name and password."""
    scheme, separator, rest = url.partition("://")
    end = next((place for place, character in enumerate(rest) if character in "/?#"), len(rest))
    return f"{scheme}{separator}{rest[:end].rpartition('@')[2]}{rest[end:]}"


@dataclass(frozen=True, slots=True)
class Target:
    """A mirror request's target: as written (``raw``), decoded (``path``), and as identity (``canonical``).

    ``key`` is None when no key can stand for it (too long, for instance): it is passed through.
    """

    raw: str
    path: str
    canonical: str
    key: str | None


def read_target(raw_path: str, raw_query: str, policy_of: Mirror) -> tuple[Target, Policy]:
    """Read a request target under a mirror's rules. Raises InvalidKey when it can't be read at all.

    Two spellings of one target (``~`` and ``%7E``) share the canonical form. Two targets that differ
    but fall on the same key (``/a?b`` and ``/a%3Fb``) do not: the record remembers whose it is.
    """
    if not _RAW_PATH.fullmatch(raw_path) or not _RAW_QUERY.fullmatch(raw_query):
        raise InvalidKey("The address holds characters that must be percent-encoded, or does not begin with '/'.")
    path = decode_target(raw_path.encode("ascii"))
    if "\0" in path:
        raise InvalidKey("The path holds a NUL character.")
    policy = policy_of.policy_for(path)
    if urlsplit(policy.origin or policy_of.origin).path and {".", ".."} & set(path.split("/")):
        raise InvalidKey("The path holds a '.' or '..' segment, which could leave the origin's folder.")
    query = _kept_query(raw_query, policy)
    canonical = _canonical(raw_path) + (f"?{query}" if query else "")
    name = path.removeprefix("/") or "/"
    try:
        key: str | None = key_name(name + (f"?{query}" if query else ""))
    except InvalidKey:
        key = None
    return Target(raw_path + (f"?{query}" if query else ""), path, canonical, key), policy


def edge_targets(key: str) -> tuple[str, ...]:
    """The request targets under which an edge may keep a key, all canonical: what a purge of the key names.

    A key has more spellings than these (an escaped slash in the middle, say); an edge never keeps those.
    A ``?`` in a key stands for itself in the path, or begins the query.
    """
    path, _, query = key.partition("?")
    targets = [_plain_path(key)]
    if path and query and _RAW_QUERY.fullmatch(query):
        targets.append(f"{_plain_path(path)}?{query}")
    return tuple(targets)


def _plain_path(name: str) -> str:
    return "/" if name == "/" else "/" + quote(name, safe=_PCHAR + "/")


def _canonical(raw_path: str) -> str:
    return "/".join(quote(unquote_to_bytes(segment), safe=_PCHAR) for segment in raw_path.split("/"))


def _kept_query(raw_query: str, policy: Policy) -> str:
    if policy.mode is Mode.BYPASS or policy.query is Query.INCLUDE:
        return raw_query
    if policy.query is Query.IGNORE:
        return ""
    return "&".join(pair for pair in raw_query.split("&") if pair.partition("=")[0] in policy.query_names)


def source_url(mirror: Mirror, policy: Policy, target: Target) -> str:
    """Where the origin has the target."""
    return (policy.origin or mirror.origin) + target.raw


DEBIAN = (
    Rule("/**/", mode=Mode.REVALIDATE),  # folder listings change, in the pool too
    Rule("**/by-hash/**", mode=Mode.IMMUTABLE),
    Rule("/**/pool/**", mode=Mode.IMMUTABLE),
    Rule("*.deb", mode=Mode.IMMUTABLE),
    Rule("*.udeb", mode=Mode.IMMUTABLE),
    Rule("*.dsc", mode=Mode.IMMUTABLE),
    Rule("/**/dists/**", mode=Mode.REVALIDATE, ttl=120.0),
)
PYPI = (
    Rule("/packages/**", mode=Mode.IMMUTABLE),
    Rule("/simple/**", mode=Mode.REVALIDATE, ttl=300.0),
    Rule("/pypi/**", mode=Mode.REVALIDATE, ttl=300.0),
)
PRESETS: dict[str, tuple[Policy, tuple[Rule, ...]]] = {
    "debian": (Policy(mode=Mode.REVALIDATE, ttl=300.0, query=Query.IGNORE), DEBIAN),
    "pypi": (Policy(mode=Mode.REVALIDATE, ttl=300.0, query=Query.IGNORE), PYPI),
}


def preset_rules(name: str, files_origin: str | None) -> tuple[Policy, tuple[Rule, ...]]:
    """A preset's defaults and rules. Raises InvalidMirror for an unknown name.

    An index whose pages link to files on another host (PyPI's does) names that host as
    ``files_origin``: the links are made to lead through the mirror, and ``/packages/`` is fetched there.
    """
    if name not in PRESETS:
        raise InvalidMirror(f"There is no preset {name!r}; there are: {', '.join(sorted(PRESETS))}.")
    defaults, rules = PRESETS[name]
    if files_origin is None:
        return defaults, rules
    if name != "pypi":
        raise InvalidMirror("files_origin goes with the preset pypi only.")
    links = (f"{files_origin}/packages/", "/packages/")
    extra = {"/packages/**": {"origin": files_origin}, "/simple/**": {"rewrite_links": links}}
    return defaults, tuple(replace(rule, **extra.get(rule.path, {})) for rule in rules)  # type: ignore[arg-type]
