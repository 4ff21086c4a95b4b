"""Mirrors: which host serves which bucket from which origin, and how a request's target is read."""

import posixpath
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes, urlsplit

from cephstorage.domain.errors import InvalidKey
from cephstorage.domain.expressions import LONGEST
from cephstorage.domain.names import BucketName, decode_target, key_name
from cephstorage.domain.origins import Choice, OriginServer, Route
from cephstorage.domain.policy import DEFAULT_POLICY, Match, Mode, OriginAnswer, Policy, Query, Rule, Terms
from cephstorage.domain.urls import MAX_URL, without_credentials

_PCHAR = "!$&'()*+,;=:@~-._"
_RAW_PATH = re.compile(r"/[!\"$->@-\[\]-~]*")
_RAW_QUERY = re.compile(r"[!\"$-\[\]-~]*")


@dataclass(frozen=True, slots=True)
class Mirror:
    """A mirror host bound to a bucket and its origins.

    ``origin`` is the URL of the first one, without a trailing slash; ``origins`` are all of them, and empty where an
    address is all that is known. ``other_origins`` are named by rules only. After ``failover_statuses`` the next origin
    is asked, too. The first ``own_rules`` of the rules are the mirror's own, laid over those of its preset behind them.
    """

    host: str
    bucket: BucketName
    origin: str
    defaults: Policy = DEFAULT_POLICY
    rules: tuple[Rule, ...] = ()
    private: bool = False
    preset: str | None = None
    created_at: float = 0.0
    origins: tuple[OriginServer, ...] = ()
    other_origins: tuple[OriginServer, ...] = ()
    choice: Choice = Choice.ORDERED
    failover_statuses: tuple[int, ...] = ()
    own_rules: int | None = None

    @property
    def servers(self) -> tuple[OriginServer, ...]:
        """The origins, with what is known of each."""
        return self.origins or (OriginServer(self.origin),)

    @property
    def route(self) -> Route:
        """Where requests of this mirror may go."""
        return Route(self.host, self.servers, self.other_origins, self.choice, self.failover_statuses)

    def policy_for(self, path: str) -> Policy:
        """The policy for a decoded path, as far as it is known before the origin has answered."""
        return self.terms_for(path).policy

    def terms_for(self, path: str) -> Terms:
        """What holds for a decoded path: the first rule that matches, on top of its preset's, on top of the defaults.

        A path is denied too when what the origin may make of it is (``/open/../secret``, ``//secret``).
        """
        terms = self._first_match(path)
        plain = _resolved(path)
        if plain != path and (behind := self._first_match(plain)).policy.mode is Mode.DENY:
            return behind
        return terms

    def _first_match(self, path: str) -> Terms:
        number = self.rule_number(path)
        before = self.rules if number is None else self.rules[: number - 1]
        about_answers = tuple(rule for rule in before if rule.of_answers and rule.matches(path))
        policy = self.defaults if number is None else self.rules[number - 1].applied_to(self._below(number, path))
        return Terms(policy, about_answers)

    def _below(self, number: int, path: str) -> Policy:
        """What a rule is laid over: the defaults, or for one of the mirror's own what its preset says of the path."""
        if self.own_rules is None or number > self.own_rules:
            return self.defaults
        preset = (rule for rule in self.rules[self.own_rules :] if not rule.of_answers and rule.matches(path))
        rule = next(preset, None)
        return self.defaults if rule is None else rule.applied_to(self.defaults)

    def rule_number(self, path: str, answer: OriginAnswer | None = None) -> int | None:
        """The number (from 1) of the rule that holds for a decoded path; None when the defaults do.

        Without an answer, rules about answers are passed over.
        """
        for number, rule in enumerate(self.rules, 1):
            fits = not rule.of_answers or (answer is not None and rule.fits(answer))
            if fits and rule.matches(path):
                return number
        return None

    def rule_for(self, path: str, answer: OriginAnswer | None = None) -> str | None:
        """That rule as people name it."""
        number = self.rule_number(path, answer)
        return self.rules[number - 1].written if number is not None else None

    @property
    def judges_answers(self) -> bool:
        """Whether any rule depends on what the origin answers."""
        return any(rule.of_answers for rule in self.rules)

    @property
    def longest_path(self) -> int:
        """Characters that a path may have: rules with expressions are not tried on longer ones."""
        rewrites = [self.defaults.key, *(rule.key for rule in self.rules)]
        uses = any(rule.match is Match.REGEX for rule in self.rules) or any(
            rewrite is not None and rewrite.match is Match.REGEX for rewrite in rewrites
        )
        return LONGEST if uses else MAX_URL


def _resolved(path: str) -> str:
    """The path as a server sees it that removes dot segments and doubled slashes."""
    folder = "/" if path.endswith(("/", "/.", "/..")) else ""
    return posixpath.normpath("/" + path.lstrip("/")).rstrip("/") + folder


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

    Two spellings of one target (``~`` and ``%7E``) share the canonical form, and so do those that a key rewrite makes
    one: what the key is made of is their identity. Two other targets that differ but fall on the same key (``/a?b`` and
    ``/a%3Fb``) do not: the record remembers whose it is.
    """
    if not _RAW_PATH.fullmatch(raw_path) or not _RAW_QUERY.fullmatch(raw_query):
        raise InvalidKey("The address holds characters that must be percent-encoded, or does not begin with '/'.")
    path = decode_target(raw_path.encode("ascii"))
    if "\0" in path:
        raise InvalidKey("The path holds a NUL character.")
    if len(path) > LONGEST and len(path) > policy_of.longest_path:
        raise InvalidKey(
            f"The path has more than {policy_of.longest_path} characters, the most that this mirror reads."
        )
    policy = policy_of.policy_for(path)
    asked = (policy.origin,) if policy.origin else tuple(server.url for server in policy_of.servers)
    if any(urlsplit(url).path for url in asked) and {".", ".."} & set(path.split("/")):
        raise InvalidKey("The path holds a '.' or '..' segment, which could leave the origin's folder.")
    query = _kept_query(raw_query, policy)
    rewritten = policy.key.applied_to(path) if policy.key is not None else None
    canonical = (_canonical(raw_path) if rewritten is None else _plain(rewritten)) + (f"?{query}" if query else "")
    name = (rewritten or path).removeprefix("/") or "/"
    try:
        key: str | None = key_name(name + (f"?{query}" if query else ""))
    except InvalidKey:
        key = None
    return Target(raw_path + (f"?{query}" if query else ""), path, canonical, key), policy


def signed_form(raw_path: str, raw_query: str) -> str:
    """A target as signed addresses cover it: one spelling of the path, and the query as written.

    No rule of the mirror changes it. Raises InvalidKey when it can't be read.
    """
    if not _RAW_PATH.fullmatch(raw_path) or not _RAW_QUERY.fullmatch(raw_query):
        raise InvalidKey("The address holds characters that must be percent-encoded, or does not begin with '/'.")
    return _canonical(raw_path) + (f"?{raw_query}" if raw_query else "")


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
    return "/" if name == "/" else _plain(f"/{name}")


def _plain(path: str) -> str:
    return quote(path, safe=_PCHAR + "/")


def _canonical(raw_path: str) -> str:
    return "/".join(quote(unquote_to_bytes(segment), safe=_PCHAR) for segment in raw_path.split("/"))


def _kept_query(raw_query: str, policy: Policy) -> str:
    if policy.mode is Mode.BYPASS or policy.query is Query.INCLUDE:
        return raw_query
    if policy.query is Query.IGNORE:
        return ""
    return "&".join(pair for pair in raw_query.split("&") if pair.partition("=")[0] in policy.query_names)


def led_through(mirror: Mirror, policy: Policy, location: str) -> str:
    """A Location below the origin as a place below the mirror; any other stays as it is.

    A redirect that is handed on leads clients back to the mirror as far as the mirror has what it leads to.
    """
    for url in (policy.origin,) if policy.origin else tuple(server.url for server in mirror.servers):
        base = without_credentials(url)
        folder = urlsplit(base).path
        for start in (base, folder) if folder else (base,):
            if location == start or location.startswith((f"{start}/", f"{start}?")):
                below = location.removeprefix(start)
                return below if below.startswith("/") else f"/{below}"
    return location


def source_url(mirror: Mirror, policy: Policy, target: Target) -> str:
    """Where the origin has the target."""
    return (policy.origin or mirror.origin) + target.raw
