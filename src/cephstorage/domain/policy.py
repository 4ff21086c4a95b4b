"""What holds for a path of a mirror: the policy, and the rules that change it.

A rule kind is one field here, one branch in ``cephstorage.domain.decision`` (or where the answer is taken in) and rows
in its case table. Which values make no sense is said by ``cephstorage.domain.rulebook``.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum

from cephstorage.domain.credential_names import is_credential
from cephstorage.domain.expressions import expression
from cephstorage.domain.globs import glob

Headers = tuple[tuple[str, str], ...]


class Mode(StrEnum):
    """When a stored copy is asked for again at the origin. ``ORIGIN``: when the origin's own headers say so (RFC 9111)."""

    PERMANENT = "permanent"
    ORIGIN = "origin"
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


class Methods(StrEnum):
    """A request that is neither GET nor HEAD is refused, or passed on with its body, which no cache answers."""

    REFUSE = "refuse"
    PASS = "pass"


class Redirects(StrEnum):
    """What the origin's redirects come to: each hop is checked and followed here, handed on, or an error."""

    FOLLOW = "follow"
    PASS = "pass"
    REFUSE = "refuse"


class DigestSource(StrEnum):
    """Where the digest stands that the bytes must have: beside the file, in its name, or in the ecosystem's index.

    Those that begin with a dot are what is appended to the path.
    """

    NONE = "none"
    SHA512 = ".sha512"
    SHA256 = ".sha256"
    SHA1 = ".sha1"
    MD5 = ".md5"
    BY_HASH = "by-hash"
    PYPI = "pypi"
    NPM = "npm"
    PACKAGES = "packages"


@dataclass(frozen=True, slots=True)
class HeaderChanges:
    """Headers to be set, in place of any of that name, and headers to be dropped."""

    set: Headers = ()
    drop: tuple[str, ...] = ()

    def applied_to(self, headers: Iterable[tuple[str, str]]) -> Headers:
        """The headers with these changes; what is set stands last, spelt as the rule has it."""
        if not self.set and not self.drop:
            return tuple(headers)
        gone = {name.lower() for name in (*self.drop, *(name for name, _ in self.set))}
        return (*((name, value) for name, value in headers if name.lower() not in gone), *self.set)

    def value(self, name: str) -> str | None:
        """What a header is set to."""
        return next((value for each, value in self.set if each.lower() == name), None)


class Match(StrEnum):
    """How a rule's pattern stands for paths."""

    GLOB = "glob"
    PREFIX = "prefix"
    SUFFIX = "suffix"
    REGEX = "regex"


@dataclass(frozen=True, slots=True)
class KeyRewrite:
    """What a path becomes in the key, so that several addresses share one: ``$1`` to ``$9`` are the groups of a regex.

    A prefix is replaced by ``to``; a regex stands for the whole path.
    """

    match: Match
    pattern: str
    to: str

    def applied_to(self, path: str) -> str | None:
        """The path that the key is made of, from a decoded path; None when the pattern does not match."""
        if self.match is Match.PREFIX:
            return self.to + path.removeprefix(self.pattern) if path.startswith(self.pattern) else None
        found = expression(self.pattern).fullmatch(path)
        if found is None:
            return None
        first, *rest = self.to.split("$")
        return first + "".join((found[int(part[0])] or "") + part[1:] for part in rest)


NO_CHANGES = HeaderChanges()


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for one path after the rules were applied.

    ``ttl`` and ``negative_ttl`` (for 404 and 410) are in seconds, ``max_size`` in bytes (0: no limit of its own).
    ``digest_indexes`` are the targets of the Debian ``Packages`` indexes that digest source ``packages`` looks into.
    ``finish_from`` is the percentage from which on a fill is finished that nobody reads any more (0: always).
    ``failover_statuses`` make it the next origin's turn (None: those of the mirror).

    In mode ``origin``, ``heuristic`` guesses how long an answer is fresh that does not say so, and ``client_control``
    honours the cache directives of requests (RFC 9111 sections 4.2.2 and 5.2.1).
    """

    mode: Mode = Mode.PERMANENT
    ttl: float = 3600.0
    query: Query = Query.INCLUDE
    query_names: tuple[str, ...] = ()
    cookies: Cookies = Cookies.PASS
    pass_headers: tuple[str, ...] = ()
    origin: str | None = None
    rewrite_links: tuple[str, str] | None = None
    negative_ttl: float = 0.0
    max_size: int = 0
    finish_from: float = 0.0
    redirects: Redirects = Redirects.FOLLOW
    request_headers: HeaderChanges = NO_CHANGES
    response_headers: HeaderChanges = NO_CHANGES
    key: KeyRewrite | None = None
    digest: DigestSource = DigestSource.NONE
    heuristic: bool = False
    client_control: bool = False
    methods: Methods = Methods.REFUSE
    digest_indexes: tuple[str, ...] = ()
    failover_statuses: tuple[int, ...] | None = None

    @property
    def sends_credentials(self) -> bool:
        """Whether a rule lets the client's own credentials through to the origin."""
        return bool(self.credentials)

    @property
    def credentials(self) -> frozenset[str]:
        """The lower-case names of the headers with credentials that a rule lets through to the origin."""
        return frozenset(name.lower() for name in self.pass_headers if is_credential(name.lower()))


DEFAULT_POLICY = Policy()


@dataclass(frozen=True, slots=True)
class OriginAnswer:
    """What rules may ask about an origin's answer. ``content_type`` as the header has it."""

    status: int
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern for paths and what it changes; None leaves the mirror's own value.

    ``content_type`` (a glob of a media type) and ``status`` (``404``, ``5xx``) make it a rule about the origin's answer:
    it is laid over the path's policy once the answer is known.
    """

    path: str = "/**"
    mode: Mode | None = None
    ttl: float | None = None
    query: Query | None = None
    query_names: tuple[str, ...] | None = None
    cookies: Cookies | None = None
    pass_headers: tuple[str, ...] | None = None
    origin: str | None = None
    rewrite_links: tuple[str, str] | None = None
    match: Match = Match.GLOB
    content_type: str | None = None
    status: tuple[str, ...] | None = None
    negative_ttl: float | None = None
    max_size: int | None = None
    finish_from: float | None = None
    redirects: Redirects | None = None
    request_headers: HeaderChanges | None = None
    response_headers: HeaderChanges | None = None
    key: KeyRewrite | None = None
    digest: DigestSource | None = None
    heuristic: bool | None = None
    client_control: bool | None = None
    methods: Methods | None = None
    digest_indexes: tuple[str, ...] | None = None
    failover_statuses: tuple[int, ...] | None = None

    def applied_to(self, policy: Policy) -> Policy:
        """The policy with this rule's changes."""
        return replace(policy, **{name: value for name in CHANGES if (value := getattr(self, name)) is not None})

    @property
    def of_answers(self) -> bool:
        """Whether the rule can be judged only when the origin has answered."""
        return self.content_type is not None or self.status is not None

    def matches(self, path: str) -> bool:
        """Whether the rule is for a decoded path."""
        match self.match:
            case Match.PREFIX:
                return path.startswith(self.path)
            case Match.SUFFIX:
                return path.endswith(self.path)
            case Match.REGEX:
                return expression(self.path).fullmatch(path) is not None
            case _:
                return glob(self.path).fullmatch(path) is not None

    def fits(self, answer: OriginAnswer) -> bool:
        """Whether the rule is for such an answer."""
        media_type = answer.content_type.partition(";")[0].strip().lower()
        typed = self.content_type is None or glob(f"/{self.content_type.lower()}").fullmatch(f"/{media_type}")
        digits = str(answer.status)
        return bool(typed) and (self.status is None or bool({digits, f"{digits[:1]}xx"} & set(self.status)))

    @property
    def written(self) -> str:
        """The rule as it is named to people: its pattern, and what it asks of the answer."""
        pattern = self.path if self.match is Match.GLOB else f"{self.match.value} {self.path}"
        status = f"status {','.join(self.status)}" if self.status is not None else None
        kind = f"content type {self.content_type}" if self.content_type is not None else None
        return "; ".join(part for part in (pattern, kind, status) if part)


CHANGES = tuple(each.name for each in fields(Policy))
"""The fields of a rule that change the policy."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for one path, and what may come to hold by the origin's answer.

    ``rules`` are those about answers that stand before the path's own rule, in order.
    """

    policy: Policy = DEFAULT_POLICY
    rules: tuple[Rule, ...] = field(default=())

    def when(self, answer: OriginAnswer) -> Policy:
        """The policy once the answer is known: the first rule that fits is laid over the path's own."""
        rule = next((rule for rule in self.rules if rule.fits(answer)), None)
        return self.policy if rule is None else rule.applied_to(self.policy)


NO_TERMS = Terms()
