"""The JSON shapes of mirrors: their orders and rules come in and are rendered here."""

from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, model_validator

from cephstorage.api.models import Json, Text
from cephstorage.api.origins import OriginBody, origin_json
from cephstorage.domain.mirrors import Mirror
from cephstorage.domain.origins import Choice
from cephstorage.domain.policy import (
    CHANGES,
    DEFAULT_POLICY,
    Cookies,
    DigestSource,
    HeaderChanges,
    KeyRewrite,
    Match,
    Methods,
    Mode,
    Policy,
    Query,
    Redirects,
    Rule,
)
from cephstorage.domain.urls import without_credentials
from cephstorage.domain.usage import MINUTE
from cephstorage.services.mirrors import MirrorOrder
from cephstorage.services.usage import Use

_PATTERNS = ("path", "prefix", "suffix", "regex")
_INTERNAL = frozenset({"rewrite_links"})
_OF_THE_MIRROR = frozenset({"origin", "failover_statuses"})
"""What stands beside a mirror's policy, and is part of it in rules only."""
FailoverStatuses = list[Annotated[int, Field(ge=400, le=499)]]


class HeaderChangesBody(BaseModel):
    """Headers to be set and dropped."""

    model_config = ConfigDict(extra="forbid")

    set: dict[Text, Text] = Field(default_factory=dict, description="Name and value; replaces what is there")
    drop: list[Text] = Field(default_factory=list)

    def changes(self) -> HeaderChanges:
        """As the domain knows them."""
        return HeaderChanges(tuple(self.set.items()), tuple(self.drop))


class KeyRewriteBody(BaseModel):
    """What a path becomes in the key, so that several addresses share one."""

    model_config = ConfigDict(extra="forbid")

    prefix: Text | None = Field(None, min_length=1, max_length=1024, description="What the path begins with")
    regex: Text | None = Field(None, min_length=1, max_length=500, description="Expression of the whole path")
    to: Text = Field(description="In place of the prefix, or of the path: $1 to $9 are the groups of the regex")

    @model_validator(mode="after")
    def _one_pattern(self) -> "KeyRewriteBody":
        if (self.prefix is None) == (self.regex is None):
            raise ValueError("one of prefix and regex")
        return self

    def rewrite(self) -> KeyRewrite:
        """As the domain knows it."""
        match = Match.PREFIX if self.prefix is not None else Match.REGEX
        return KeyRewrite(match, self.prefix or self.regex or "", self.to)


class PolicyBody(BaseModel):
    """What a mirror, or one of its rules, says of paths; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    mode: Mode | None = None
    ttl: float | None = Field(None, ge=0, le=3.2e9, description="Seconds, for mode revalidate")
    negative_ttl: float | None = Field(None, ge=0, le=86400, description="Seconds that a 404 or 410 is remembered")
    query: Query | None = None
    query_names: list[Text] | None = None
    cookies: Cookies | None = None
    max_size: int | None = Field(None, ge=0, le=1 << 62, description="Bytes; larger is passed through. 0: no limit")
    finish_from: float | None = Field(
        None, ge=0, le=100, description="Percentage from which on a fill ends that nobody reads any more; 0: always"
    )
    redirects: Redirects | None = Field(None, description="follow them here, pass them on, or refuse")
    request_headers: HeaderChangesBody | None = Field(None, description="Of what is asked of the origin")
    response_headers: HeaderChangesBody | None = Field(None, description="Of what clients are answered")
    key: KeyRewriteBody | None = Field(None, description="Makes several paths share a key")
    heuristic: bool | None = Field(None, description="Mode origin: guess how long answers are fresh that do not say so")
    client_control: bool | None = Field(None, description="Mode origin: honour the cache directives of requests")
    methods: Methods | None = Field(None, description="Requests other than GET and HEAD: refuse them, or pass them on")
    digest: DigestSource | None = Field(
        None, description="Where the digest stands that the bytes must have: a suffix, by-hash, pypi, npm, packages"
    )
    digest_indexes: list[Text] | None = Field(
        None, max_length=20, description="With digest packages: paths at the mirror of Debian Packages indexes"
    )

    def changes(self) -> dict[str, Any]:
        """The fields that are given, as values of the domain."""
        given = {name: value for name in CHANGES if (value := getattr(self, name, None)) is not None}
        return {name: _value(value) for name, value in given.items()}


def _value(value: Any) -> Any:
    if isinstance(value, HeaderChangesBody):
        return value.changes()
    if isinstance(value, KeyRewriteBody):
        return value.rewrite()
    return tuple(value) if isinstance(value, list) else value


class RuleBody(PolicyBody):
    """A mirror rule: the first that matches holds. One pattern for paths, or a condition on the origin's answer."""

    path: Text | None = Field(
        None, min_length=1, max_length=1024, description="Glob: * within a segment, ** across, ? one character"
    )
    prefix: Text | None = Field(None, min_length=1, max_length=1024, description="What the path begins with")
    suffix: Text | None = Field(None, min_length=1, max_length=1024, description="What the path ends with")
    regex: Text | None = Field(
        None,
        min_length=1,
        max_length=500,
        description="Expression of the whole path, without lookaround, references and repeated groups",
        examples=["/releases/[^/]+/.*[.]iso"],
    )
    content_type: Text | None = Field(None, description="Of the origin's answer", examples=["text/html", "image/*"])
    status: list[StrictInt | StrictStr] | None = Field(
        None, max_length=100, description="Of the origin's answer", examples=[[404, "5xx"]]
    )
    pass_headers: list[Text] | None = Field(
        None, description="Client headers that may reach the origin, of requests whose answers are not stored"
    )
    origin: Text | None = Field(None, description="Another origin for these paths")
    failover_statuses: FailoverStatuses | None = Field(
        None, max_length=100, description="In place of the mirror's own: after these, too, the next origin is asked"
    )

    @model_validator(mode="after")
    def _one_pattern(self) -> "RuleBody":
        given = [name for name in _PATTERNS if getattr(self, name) is not None]
        if len(given) > 1 or not (given or self.content_type or self.status):
            raise ValueError("a rule has one of path, prefix, suffix and regex, or content_type or status")
        return self

    def rule(self) -> Rule:
        """The rule as the domain knows it."""
        name = next((name for name in _PATTERNS if getattr(self, name) is not None), None)
        match = Match.GLOB if name in {"path", None} else Match(name)
        path = "/**" if name is None else getattr(self, name)
        status = tuple(map(str, self.status)) if self.status is not None else None
        return Rule(path, match=match, content_type=self.content_type, status=status, **self.changes())


class CreateMirror(PolicyBody):
    """A mirror: a host name bound to a bucket and an origin."""

    mirror: Text = Field(description="Host name that clients use", examples=["mirror.example.org"])
    origin: Text | None = Field(
        None, description="Host or URL of the provider", examples=["https://provider.example.com/files"]
    )
    origins: list[OriginBody] = Field(
        default_factory=list, max_length=64, description="In place of origin: several, or one with options"
    )
    choice: Choice = Field(Choice.ORDERED, description="The first that works, or each for its share of the keys")
    failover_statuses: FailoverStatuses = Field(
        default_factory=list, max_length=100, description="Beside 5xx: after these the next origin is asked, e.g. 404"
    )
    bucket: Text = Field(description="Full bucket name; made if missing", examples=["alice___mirror"])
    private: bool = Field(False, description="Readable only with a token of the bucket's tenant")
    preset: Text | None = Field(
        None, description="Rules of a known ecosystem: debian, pypi, npm, maven, generic-static, website"
    )
    files_origin: Text | None = Field(None, description="Preset pypi: the host that the index links to")
    rules: list[RuleBody] = Field(default_factory=list, max_length=1000)

    def order(self) -> MirrorOrder:
        """The wish as the service takes it."""
        wishes = {name: value for name, value in self.changes().items() if name not in _OF_THE_MIRROR}
        rules = tuple(rule.rule() for rule in self.rules)
        return MirrorOrder(
            self.mirror,
            self.origin,
            self.bucket,
            Rule(**wishes),
            rules,
            self.private,
            self.preset,
            self.files_origin,
            tuple(origin.wish() for origin in self.origins),
            self.choice,
            tuple(self.failover_statuses),
        )


class SignMirrorUrl(BaseModel):
    """An address of a private mirror that is to be readable without a token."""

    model_config = ConfigDict(extra="forbid")

    url: Text = Field(description="As clients will ask for it", examples=["https://mirror.example.org/pool/a.deb"])
    expires_in: int | None = Field(None, ge=1, le=3_200_000_000, description="Seconds; default: that of published URLs")


def mirror_json(mirror: Mirror) -> Json:
    """A mirror and its rules; what a rule leaves alone, or a mirror has by default, is left out."""
    shown = _changes_json(mirror.defaults)
    always = ("mode", "ttl", "query", "query_names", "cookies")
    return {
        "mirror_host": mirror.host,
        "bucket_name": str(mirror.bucket),
        "real_host": without_credentials(mirror.origin),
        "origins": [origin_json(server) for server in mirror.servers],
        "choice": mirror.choice.value,
        "failover_statuses": list(mirror.failover_statuses),
        **{name: _plain(getattr(mirror.defaults, name)) for name in always},
        **{name: value for name, value in shown.items() if name not in always},
        "private": mirror.private,
        "preset": mirror.preset,
        "rules": [_rule_json(rule) for rule in mirror.rules],
        "created": _plain(mirror.created_at),
    }


def _rule_json(rule: Rule) -> Json:
    shown = replace(rule, origin=without_credentials(rule.origin)) if rule.origin is not None else rule
    pattern = "path" if rule.match is Match.GLOB else rule.match.value
    about = {"content_type": rule.content_type, "status": list(rule.status) if rule.status is not None else None}
    return {
        pattern: rule.path,
        **{name: value for name, value in about.items() if value is not None},
        **_changes_json(shown),
    }


def _changes_json(changes: Policy | Rule) -> Json:
    unchanged = DEFAULT_POLICY if isinstance(changes, Policy) else None
    values = {name: getattr(changes, name) for name in CHANGES if name not in _INTERNAL}
    return {
        name: _plain(value)
        for name, value in values.items()
        if value is not None and value != getattr(unchanged, name, None)
    }


def _plain(value: Any) -> Any:
    if isinstance(value, HeaderChanges):
        return {"set": dict(value.set), "drop": list(value.drop)}
    if isinstance(value, KeyRewrite):
        return {value.match.value: value.pattern, "to": value.to}
    if isinstance(value, float) and value == int(value):
        return int(value)
    return list(value) if isinstance(value, tuple) else value


def use_json(host: str, use: Use) -> Json:
    """A mirror's usage: the whole period, and its points that have anything to tell."""
    return {
        "mirror": host,
        "since": use.period.since * MINUTE,
        "until": use.period.until * MINUTE,
        "step": use.period.step * MINUTE,
        **use.total,
        "series": [{"time": time, **figures} for time, figures in use.points],
    }
