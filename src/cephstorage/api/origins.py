"""The JSON shapes of mirrors' origins. Secrets come in and never go out: an answer names the kind of credentials."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from cephstorage.domain.credentials import CredentialKind, Credentials
from cephstorage.domain.errors import InvalidName, InvalidUrl
from cephstorage.domain.names import host_name
from cephstorage.domain.origins import OriginServer
from cephstorage.domain.urls import check_url, without_credentials
from cephstorage.services.origins import OriginWish

Json = dict[str, Any]
_VISIBLE = r"^[\x21-\x7e]*$"
_TOKEN = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
_FILE_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"
_NOT_OURS = frozenset(
    {
        "accept-encoding", "cdn-loop", "connection", "content-length", "host", "if-range", "range", "te",
        "transfer-encoding", "upgrade", "via",
    }
)  # fmt: skip


def _free_header(name: str) -> str:
    if name.lower() in _NOT_OURS:
        raise ValueError(f"{name} is set by the service itself")
    return name


def _encodable(text: str) -> str:
    text.encode("utf-8")
    return text


def _host_header(text: str) -> str:
    try:
        check_url(f"http://{text}")
    except InvalidUrl as error:
        raise ValueError("a host, and a port if need be") from error
    if {"@", "/", "?", "#"} & set(text):
        raise ValueError("a host, and a port if need be")
    return text


def _tls_name(text: str) -> str:
    try:
        return host_name(text)
    except InvalidName as error:
        raise ValueError(error.msg) from error


def _secret(text: SecretStr) -> SecretStr:
    if not text.get_secret_value().isascii() or not text.get_secret_value().isprintable():
        raise ValueError("only printable ASCII characters can be sent")
    return text


Text = Annotated[str, AfterValidator(_encodable)]
FileName = Annotated[str, Field(pattern=_FILE_NAME, max_length=100)]
Secret = Annotated[SecretStr, Field(min_length=1, max_length=8192), AfterValidator(_secret)]


class BasicBody(BaseModel):
    """HTTP Basic."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["basic"]
    username: Annotated[str, Field(pattern=r"^[^:\x00-\x1f\x7f]*$", max_length=1024)]
    password: Annotated[SecretStr, Field(max_length=8192)]

    def credentials(self) -> Credentials:
        """As the domain knows them."""
        return Credentials(CredentialKind.BASIC, self.password.get_secret_value(), self.username)


class BearerBody(BaseModel):
    """A bearer token."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["bearer"]
    token: Secret

    def credentials(self) -> Credentials:
        """As the domain knows them."""
        return Credentials(CredentialKind.BEARER, self.token.get_secret_value())


class HeaderBody(BaseModel):
    """A header of the provider's own."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["header"]
    name: Annotated[str, Field(pattern=_TOKEN, max_length=256), AfterValidator(_free_header)]
    value: Secret

    def credentials(self) -> Credentials:
        """As the domain knows them."""
        return Credentials(CredentialKind.HEADER, self.value.get_secret_value(), self.name)


class S3Body(BaseModel):
    """S3, signed with Signature Version 4."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["s3"]
    access_key: Annotated[str, Field(pattern=_VISIBLE, min_length=1, max_length=256)]
    secret_key: Secret
    region: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=64)] = "us-east-1"

    def credentials(self) -> Credentials:
        """As the domain knows them."""
        return Credentials(CredentialKind.S3, self.secret_key.get_secret_value(), self.access_key, self.region)


CredentialsBody = Annotated[BasicBody | BearerBody | HeaderBody | S3Body, Field(discriminator="kind")]


class OriginBody(BaseModel):
    """An origin and what there is to say of it. Times are in seconds; limits hold for each process of the service."""

    model_config = ConfigDict(extra="forbid")

    url: Text = Field(description="Host or URL of the provider", examples=["https://provider.example.com/files"])
    weight: int = Field(1, ge=1, le=1000, description="Share of the keys, with choice weighted")
    host: Annotated[str, Field(max_length=300), AfterValidator(_host_header)] | None = Field(
        None, description="Host header to send"
    )
    tls_name: Annotated[str, AfterValidator(_tls_name)] | None = Field(
        None, description="Name to ask for (SNI), which the certificate must be for"
    )
    ca: FileName | None = Field(None, description="NAME.ca.crt is the only CA that is trusted")
    client_certificate: FileName | None = Field(None, description="NAME.crt and NAME.key are shown")
    connect_timeout: float | None = Field(None, gt=0, le=600)
    read_timeout: float | None = Field(None, gt=0, le=3600, description="How long it may stay silent")
    concurrency: int | None = Field(None, ge=1, le=10_000, description="Most requests at a time")
    rate: float | None = Field(None, gt=0, le=100_000, description="Most requests per second")
    credentials: CredentialsBody | CredentialKind | None = Field(
        None, description="What it is shown; only the kind keeps those that it has"
    )

    def wish(self) -> OriginWish:
        """The wish as the service takes it."""
        options = self.model_dump(exclude={"credentials"})
        given = self.credentials
        wanted = given if given is None or isinstance(given, CredentialKind) else given.credentials()
        return OriginWish(OriginServer(**options), wanted)


def origin_json(server: OriginServer) -> Json:
    """An origin; what is not said of it is left out."""
    shown = {name: value for name, value in asdict(server).items() if value is not None}
    kind = {"credentials": server.credentials.kind.value} if server.credentials is not None else {}
    return {**shown, "url": without_credentials(server.url), **kind}
