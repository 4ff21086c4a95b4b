"""The JSON shapes of the API: what comes in is validated here, what goes out is rendered here."""

from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictFloat, StrictInt

from cephstorage.domain.access import AccessToken
from cephstorage.domain.mirrors import Mirror
from cephstorage.domain.policy import Cookies, Mode, Query, Rule
from cephstorage.domain.records import Bucket, Record
from cephstorage.domain.transfers import Phase, State, Transfer
from cephstorage.domain.urls import without_credentials
from cephstorage.services.keys import Order
from cephstorage.services.mirrors import MirrorOrder
from cephstorage.services.purges import Purged

Json = dict[str, Any]


def _number(seconds: float | None) -> float | int | None:
    return int(seconds) if seconds is not None and seconds == int(seconds) else seconds


def _encodable(text: str) -> str:
    text.encode("utf-8")
    return text


def _names(names: list[str] | None) -> tuple[str, ...] | None:
    return tuple(names) if names is not None else None


Text = Annotated[str, AfterValidator(_encodable)]


class CreateKey(BaseModel):
    """A key to be created from a URL."""

    model_config = ConfigDict(extra="forbid")

    key_url: Text = Field(description="Where the bytes are", examples=["https://example.org/pictures/cat.jpg"])
    key_name: Text | None = Field(None, description="The key; may stand in the path instead", examples=["pets/cat.jpg"])
    content_type: Text | None = Field(None, description="Default: what the source says", examples=["image/jpeg"])
    md5: Text | None = Field(None, description="The bytes must match it, or nothing is stored (hex or base64)")
    timetag: Text | StrictInt | StrictFloat | None = Field(None, description="Creation time: epoch seconds or ISO 8601")
    if_absent: bool = Field(False, description="Only if the key does not exist")
    if_match: Text | None = Field(None, description="Only if the key has this ETag")

    def order(self, key: str) -> Order:
        """The wish as the service takes it."""
        return Order(key, self.key_url, self.content_type, self.md5, self.timetag, self.if_absent, self.if_match)


class RuleBody(BaseModel):
    """A mirror rule: the first whose ``path`` matches holds."""

    model_config = ConfigDict(extra="forbid")

    path: Text = Field(
        min_length=1, max_length=1024, description="Glob: * within a segment, ** across, ? one character"
    )
    mode: Mode | None = None
    ttl: float | None = Field(None, ge=0, description="Seconds, for mode revalidate")
    query: Query | None = None
    query_names: list[Text] | None = None
    cookies: Cookies | None = None
    pass_headers: list[Text] | None = Field(None, description="Client headers that may reach the origin")
    origin: Text | None = Field(None, description="Another origin for these paths")

    def rule(self) -> Rule:
        """The rule as the domain knows it."""
        return Rule(
            self.path,
            self.mode,
            self.ttl,
            self.query,
            _names(self.query_names),
            self.cookies,
            _names(self.pass_headers),
            self.origin,
        )


class CreateMirror(BaseModel):
    """A mirror: a host name bound to a bucket and an origin."""

    model_config = ConfigDict(extra="forbid")

    mirror: Text = Field(description="Host name that clients use", examples=["mirror.example.org"])
    origin: Text = Field(description="Host or URL of the provider", examples=["https://provider.example.com/files"])
    bucket: Text = Field(description="Full bucket name; made if missing", examples=["alice___mirror"])
    mode: Mode | None = None
    ttl: float | None = Field(None, ge=0, description="Seconds, for mode revalidate")
    query: Query | None = None
    query_names: list[Text] | None = None
    cookies: Cookies | None = None
    private: bool = Field(False, description="Readable only with a token of the bucket's tenant")
    preset: Text | None = Field(None, description="Rules of a known ecosystem: debian, pypi")
    files_origin: Text | None = Field(None, description="Preset pypi: the host that the index links to")
    rules: list[RuleBody] = Field(default_factory=list, max_length=1000)

    def order(self) -> MirrorOrder:
        """The wish as the service takes it."""
        return MirrorOrder(
            self.mirror,
            self.origin,
            self.bucket,
            self.mode,
            self.ttl,
            self.query,
            _names(self.query_names),
            self.cookies,
            self.private,
            self.preset,
            self.files_origin,
            tuple(rule.rule() for rule in self.rules),
        )


class PurgeMirror(BaseModel):
    """An address of a mirror that the edges shall forget."""

    model_config = ConfigDict(extra="forbid")

    mirror: Text = Field(description="Host name of the mirror", examples=["mirror.example.org"])
    path: Text = Field(description="Path and query, as in a request", examples=["/debian/dists/stable/InRelease"])


def purged_json(purged: Purged) -> Json:
    """What was forgotten, and by which edges."""
    return {
        "msg": "mirror_purged",
        "mirror": purged.mirror,
        "path": purged.target,
        "key": purged.key,
        "told": list(purged.told.edges),
        "later": list(purged.told.later),
    }


class CreateToken(BaseModel):
    """An access token to be made."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["admin", "tenant", "read-only"]
    username: Text | None = None
    label: Text = Field("", max_length=200)
    expires_in: float | None = Field(None, gt=0, le=3.2e9, description="Seconds; without it the token does not expire")


def record_json(record: Record, url: str | None = None) -> Json:
    """A record: the six fields of the key index, then what this service adds."""
    shown = {
        "key": record.key,
        "ts": _number(record.ts),
        "vfolder": record.vfolder,
        "md5": record.md5,
        "content_type": record.content_type,
        "size": record.size,
        "etag": record.etag,
        "last_modified": record.last_modified,
        "generation": record.generation,
        "source": record.source,
        "bucket": str(record.bucket),
    }
    return shown if url is None else {**shown, "url": url}


def bucket_json(bucket: Bucket) -> Json:
    """A bucket and its usage."""
    return {
        "bucket": str(bucket.name),
        "username": bucket.name.username,
        "bucketname": bucket.name.bucketname,
        "size": bucket.size,
        "keyamount": bucket.keyamount,
        "created": _number(bucket.created_at),
    }


def _tries(transfer: Transfer) -> int:
    """How often the transfer was begun: the tries that were given back, and the one under way or last."""
    begun = transfer.fence > 0 and transfer.phase is not Phase.QUEUED
    return transfer.attempts + (1 if begun else 0)


def transfer_json(transfer: Transfer) -> Json:
    """A progress record."""
    error = {"code": transfer.error_code, "msg": transfer.error_msg} if transfer.error_code else None
    waiting = transfer.state is State.INPROGRESS and transfer.not_before > transfer.updated_at
    return {
        "token": transfer.token,
        "progress": transfer.state.value,
        "state": transfer.state.value,
        "phase": transfer.phase.value,
        "bytes_done": transfer.bytes_done,
        "bytes_total": transfer.bytes_total,
        "attempts": _tries(transfer),
        "key": transfer.request.key,
        "bucket": str(transfer.request.bucket),
        "error": error,
        "created": _number(transfer.created_at),
        "updated": _number(transfer.updated_at),
        "ended": _number(transfer.ended_at),
        "next_attempt": _number(transfer.not_before) if waiting else None,
    }


def mirror_json(mirror: Mirror) -> Json:
    """A mirror and its rules; what a rule leaves alone is left out."""
    return {
        "mirror_host": mirror.host,
        "bucket_name": str(mirror.bucket),
        "real_host": without_credentials(mirror.origin),
        "mode": mirror.defaults.mode.value,
        "ttl": _number(mirror.defaults.ttl),
        "query": mirror.defaults.query.value,
        "query_names": list(mirror.defaults.query_names),
        "cookies": mirror.defaults.cookies.value,
        "private": mirror.private,
        "preset": mirror.preset,
        "rules": [_rule_json(rule) for rule in mirror.rules],
        "created": _number(mirror.created_at),
    }


def _rule_json(rule: Rule) -> Json:
    shown = replace(rule, origin=without_credentials(rule.origin)) if rule.origin is not None else rule
    return {name: value for name, value in asdict(shown).items() if value is not None and name != "rewrite_links"}


def token_json(token: AccessToken) -> Json:
    """An access token, without its secret."""
    return {
        "id": token.id,
        "role": token.role.value,
        "username": token.username,
        "label": token.label,
        "created": _number(token.created_at),
        "expires": _number(token.expires_at),
    }
