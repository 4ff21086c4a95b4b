"""The sections of the settings: origins, transfers, webhooks, published URLs, database, Ceph, reconciliation, edge."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from cephstorage.domain.addresses import Network, parse_networks
from cephstorage.domain.configuration import OPTIONS, read_address
from cephstorage.domain.consistency import Policy
from cephstorage.domain.errors import InvalidSetting

MIB = 1024 * 1024
GIB = 1024 * MIB


def comma_list(value: Any) -> Any:
    """A text as the list that it stands for; anything else as it is."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


_FROM_OPTION: Any = object()


def option(name: str, default: Any = _FROM_OPTION) -> Any:
    """A field that is an option: the domain says what it means and which values it takes."""
    option = OPTIONS[name]
    if default is _FROM_OPTION:
        default = SecretStr("") if option.secret else option.default
    return Field(default=default, description=option.meaning, json_schema_extra={"option": name})


def checked(name: str) -> AfterValidator:
    """A check by the option's own rule."""

    def check(value: str | SecretStr) -> str | SecretStr:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        try:
            read = OPTIONS[name].checked(text) if text else ""
        except InvalidSetting as error:
            raise ValueError(error.msg.removeprefix(f"{name}: ").rstrip(".")) from None
        return SecretStr(read) if isinstance(value, SecretStr) else read

    return AfterValidator(check)


def place(value: str) -> str:
    """Check ``HOST:PORT``; an IPv6 address stands in brackets."""
    host, _, port = value.rpartition(":")
    if value and not (host and "@" not in host and port.isdecimal() and int(port) < 65536):
        msg = "must be HOST:PORT"
        raise ValueError(msg)
    return value


def _addresses(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(read_address(value, path=False) for value in values)


class OriginSettings(BaseModel):
    """How origins are reached."""

    allowed_networks: Annotated[tuple[Network, ...], NoDecode] = Field(
        default=(), description="Networks that may be reached beyond public addresses, e.g. 10.0.0.0/8"
    )
    allowed_ports: Annotated[tuple[int, ...], NoDecode] = Field(
        default=(), description="Ports that may be reached beyond 80 and 443"
    )
    connect_timeout: float = Field(default=10.0, gt=0, description="Seconds to connect, TLS included")
    read_timeout: float = Field(default=30.0, gt=0, description="Seconds that an origin may stay silent")
    connections_per_host: int = Field(default=32, ge=1, description="Connections to one origin at a time")
    ca_file: Path | None = Field(default=None, description="CA bundle for origins with a private CA")
    certificates: Path | None = Field(
        default=None,
        description="Folder with NAME.ca.crt, NAME.crt and NAME.key for the origins of mirrors that name them; "
        "default DATA_DIR/origin-certificates",
    )

    @field_validator("allowed_networks", mode="before")
    @classmethod
    def _networks(cls, value: Any) -> Any:
        parts = comma_list(value)
        return parse_networks(str(part) for part in parts)

    @field_validator("allowed_ports", mode="before")
    @classmethod
    def _ports(cls, value: Any) -> Any:
        return comma_list(value) if isinstance(value, str) else (value if not isinstance(value, int) else (value,))


class TransferSettings(BaseModel):
    """How bytes are moved."""

    concurrency: int = Field(default=16, ge=1, description="Background transfers at a time, per process")
    attempts: int = Field(default=8, ge=1, description="Tries before a transfer fails")
    retry_base: float = Field(default=0.5, gt=0, description="Seconds before the second try; doubles each time")
    retry_cap: float = Field(default=60.0, gt=0, description="Most seconds between two tries")
    lease: float = Field(default=15.0, gt=1, description="Seconds after which a silent owner loses its transfers")
    spool_quota: int = Field(
        default=20 * GIB,
        ge=MIB,
        description="Most bytes of part files. Of other processes those count that they have written, not what they still will",
    )
    upload_patience: float = Field(
        default=30.0, ge=0, description="Seconds that an upload waits for a store that fails, before it is refused"
    )
    fill_patience: float = Field(
        default=600.0, ge=0, description="Seconds that a mirrored object waits in the spool for a store that fails"
    )
    max_object_size: int = Field(default=5 * 1024 * GIB, ge=1, description="Largest object")
    deletion_rate: float = Field(
        default=2000.0, gt=0, description="Keys a second that deletions in the background take, per process"
    )
    progress_retention: float = Field(
        default=30 * 86400.0, ge=3 * 3600.0, description="Seconds a progress record stays"
    )


class WebhookSettings(BaseModel):
    """How events are delivered to webhooks."""

    timeout: float = Field(default=10.0, gt=0, le=60, description="Seconds that a receiver has to answer")
    attempts: int = Field(default=20, ge=1, description="Tries before an event becomes a dead letter")
    give_up_after: float = Field(default=3 * 86400.0, gt=0, description="Age in seconds at which it does at the latest")
    retry_base: float = Field(default=5.0, gt=0, description="Pause after the first failed try; it doubles each time")
    retry_cap: float = Field(default=3600.0, gt=0, description="Longest pause between tries")
    concurrency: int = Field(default=8, ge=1, le=64, description="Requests to one webhook at a time")
    outbox: int = Field(
        default=100_000, ge=1, description="Events of a webhook that wait; of more, the oldest become dead letters"
    )


class PublishSettings(BaseModel):
    """Published URLs."""

    expires_in: int = Field(default=7 * 86400, ge=1, description="Seconds a published URL is valid by default")
    by: Annotated[str, checked("publish_by")] = option("publish_by")


class DatabaseSettings(BaseModel):
    """How PostgreSQL is used, where ``database_url`` names one."""

    connections: int = Field(default=8, ge=2, le=1000, description="Connections to PostgreSQL, per process")
    connect_timeout: float = Field(default=5.0, ge=2, description="Seconds to connect to PostgreSQL")
    statement_timeout: float = Field(default=15.0, gt=0, description="Seconds that a statement may take there")
    lock_timeout: float = Field(default=10.0, gt=0, description="Seconds that a statement may wait for a lock there")


class CephSettings(BaseModel):
    """How RGW is reached, for the store ``ceph``."""

    gateway: Annotated[str, checked("ceph_gateway")] = option("ceph_gateway")
    access_key: Annotated[str, checked("ceph_access_key")] = option("ceph_access_key")
    secret_key: Annotated[SecretStr, checked("ceph_secret_key")] = option("ceph_secret_key")
    region: Annotated[str, checked("ceph_region")] = option("ceph_region")
    public_address: Annotated[str, checked("ceph_public_address")] = option("ceph_public_address")
    ca_file: Annotated[str, checked("ceph_ca_file")] = option("ceph_ca_file")
    timeout: float = Field(default=30.0, gt=0, description="Seconds that a request to RGW may make no progress")
    connections: int = Field(default=64, ge=1, description="Connections to RGW at a time, per process")
    removal_grace: float = Field(
        default=60.0, ge=0, description="Seconds that replaced and deleted objects stay in Ceph for who is reading them"
    )
    abandon_after: float = Field(
        default=86400.0, gt=0, description="Age in seconds at which unfinished uploads that nobody knows are aborted"
    )
    quota_margin: float = Field(
        default=0.0,
        ge=0,
        le=1000,
        description="Percent above ours at which RGW's own quotas of buckets are set (Admin Ops); 0: they are not",
    )


class ReconcileSettings(BaseModel):
    """How index and store are held against each other."""

    rate: float = Field(
        default=50.0,
        ge=0,
        description="Requests to the store a second that look whether it agrees with the index, per process; 0: only when it is asked for",
    )
    interval: float = Field(default=86400.0, gt=0, description="Seconds from one walk over a bucket to the next")
    grace: float = Field(
        default=86400.0, ge=0, description="Age in seconds from which what no record names is dealt with"
    )
    unknown: Policy = Field(
        default=Policy.ADOPT,
        description="What is done about what other clients do to the store: adopt, quarantine or report",
    )
    scrub: float = Field(
        default=0.0,
        ge=0,
        le=10_000,
        description="Percent of all stored bytes that a process reads and hashes again a day; 0: only when it is asked for",
    )


_Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(comma_list)]


class EdgeSettings(BaseModel):
    """The edge: nginx in front of the proxies."""

    proxies: _Words = Field(
        default=(), description="Proxies behind the edge, HOST:PORT or unix:/PATH; default: HOST and PORT above"
    )
    listen: _Words = Field(default=("127.0.0.1:8088",), description="[ADDRESS:]PORT for http")
    listen_tls: _Words = Field(default=(), description="[ADDRESS:]PORT for https and HTTP/2, e.g. 443")
    s3_listen: _Words = Field(
        default=(),
        description="[ADDRESS:]PORT of RGW's S3 endpoint through the edge, with the mirrors behind it; empty: none",
    )
    s3_listen_tls: _Words = Field(default=(), description="The same for https")
    names: _Words = Field(
        default=(), description="Host names of the service itself beside that of PUBLIC_ADDRESS; all others are mirrors"
    )
    certificates: Path | None = Field(
        default=None,
        description="Folder with NAME.crt and NAME.key per host name; `_.example.org` for *.example.org, "
        "`default` for any other name",
    )
    cache_dir: Path | None = Field(default=None, description="The edge's caches; default DATA_DIR/edge/cache")
    cache_size: str = Field(
        default="10g", pattern="^[1-9][0-9]*[kmg]?$", description="Most bytes of each cache, with k, m or g"
    )
    slice: int = Field(default=MIB, ge=64 * 1024, le=64 * MIB, description="Bytes of a slice, the same on every edge")
    run_dir: Path | None = Field(default=None, description="nginx.conf, sockets and logs; default DATA_DIR/edge")
    purge_listen: str = Field(
        default="127.0.0.1:8089", description="[ADDRESS:]PORT where proxies tell this edge to forget keys"
    )
    purge: Annotated[_Words, AfterValidator(_addresses)] = Field(
        default=(), description="Base URLs of every edge's PURGE_LISTEN, for the proxies: http://HOST:PORT"
    )
    health_listen: str = Field(default="127.0.0.1:8090", description="[ADDRESS:]PORT of /edge-health and /edge-status")
    trusted_proxies: _Words = Field(
        default=(), description="Networks of balancers before the edge whose X-Forwarded-For is believed"
    )
    user: str = Field(default="", pattern="^[A-Za-z0-9_-]*$", description="User of nginx's workers when root starts it")
    processes: str = Field(default="auto", pattern="^(auto|[1-9][0-9]?)$", description="nginx workers")
    header_timeout: int = Field(default=15, ge=1, description="Seconds a client has for a request's head")
    body_timeout: int = Field(default=60, ge=1, description="Seconds an uploading client may stay silent")
    send_timeout: int = Field(default=60, ge=1, description="Seconds a downloading client may stay silent")
    answer_timeout: int = Field(default=180, ge=1, description="Seconds a proxy may stay silent")
    client_connections: int = Field(default=0, ge=0, description="Requests of one address at a time; 0: no limit")
    purge_module: Path = Field(
        default=Path("/usr/lib/nginx/modules/ngx_http_cache_purge_module.so"), description="nginx's module for purges"
    )
