"""Settings: every value the operator can change, read from the environment once, at start.

``CEPHSTORAGE_<FIELD>`` sets a field of the service, ``CEPHSTORAGE_<SECTION>_<FIELD>`` one of a section
(``CEPHSTORAGE_ORIGIN_ALLOWED_PORTS``). Sizes are in bytes, times in seconds, lists are separated by commas.

Fields made by ``_option`` are the options of ``cephstorage.domain.configuration``: they may also be kept
in the database and changed while the service runs. What the environment says wins.
"""

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from cephstorage.domain.addresses import Network, parse_networks
from cephstorage.domain.configuration import OPTIONS, Values, read_address
from cephstorage.domain.consistency import Policy
from cephstorage.domain.errors import InvalidSetting

MIB = 1024 * 1024
GIB = 1024 * MIB
LEAST_SECRET_KEY = 32


def _comma_list(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


_MASK = "**********"
_FROM_OPTION: Any = object()


def _option(name: str, default: Any = _FROM_OPTION) -> Any:
    """A field that is an option: the domain says what it means and which values it takes."""
    option = OPTIONS[name]
    if default is _FROM_OPTION:
        default = SecretStr("") if option.secret else option.default
    return Field(default=default, description=option.meaning, json_schema_extra={"option": name})


def _checked(name: str) -> AfterValidator:
    def check(value: str | SecretStr) -> str | SecretStr:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        try:
            read = OPTIONS[name].checked(text) if text else ""
        except InvalidSetting as error:
            raise ValueError(error.msg.removeprefix(f"{name}: ").rstrip(".")) from None
        return SecretStr(read) if isinstance(value, SecretStr) else read

    return AfterValidator(check)


def _place(value: str) -> str:
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
        parts = _comma_list(value)
        return parse_networks(str(part) for part in parts)

    @field_validator("allowed_ports", mode="before")
    @classmethod
    def _ports(cls, value: Any) -> Any:
        return _comma_list(value) if isinstance(value, str) else (value if not isinstance(value, int) else (value,))


class TransferSettings(BaseModel):
    """How bytes are moved."""

    concurrency: int = Field(default=16, ge=1, description="Background transfers at a time, per process")
    attempts: int = Field(default=8, ge=1, description="Tries before a transfer fails")
    retry_base: float = Field(default=0.5, gt=0, description="Seconds before the second try; doubles each time")
    retry_cap: float = Field(default=60.0, gt=0, description="Most seconds between two tries")
    lease: float = Field(default=15.0, gt=1, description="Seconds after which a silent owner loses its transfers")
    spool_quota: int = Field(default=20 * GIB, ge=MIB, description="Most bytes of part files, all processes together")
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
    by: Annotated[str, _checked("publish_by")] = _option("publish_by")


class DatabaseSettings(BaseModel):
    """How PostgreSQL is used, where ``database_url`` names one."""

    connections: int = Field(default=8, ge=2, le=1000, description="Connections to PostgreSQL, per process")
    connect_timeout: float = Field(default=5.0, ge=2, description="Seconds to connect to PostgreSQL")
    statement_timeout: float = Field(default=15.0, gt=0, description="Seconds that a statement may take there")
    lock_timeout: float = Field(default=10.0, gt=0, description="Seconds that a statement may wait for a lock there")


class CephSettings(BaseModel):
    """How RGW is reached, for the store ``ceph``."""

    gateway: Annotated[str, _checked("ceph_gateway")] = _option("ceph_gateway")
    access_key: Annotated[str, _checked("ceph_access_key")] = _option("ceph_access_key")
    secret_key: Annotated[SecretStr, _checked("ceph_secret_key")] = _option("ceph_secret_key")
    region: Annotated[str, _checked("ceph_region")] = _option("ceph_region")
    public_address: Annotated[str, _checked("ceph_public_address")] = _option("ceph_public_address")
    ca_file: Annotated[str, _checked("ceph_ca_file")] = _option("ceph_ca_file")
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
        description="Requests to the store a second for that, per process; 0: only when it is asked for",
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


_Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_comma_list)]


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


class Settings(BaseSettings):
    """The whole configuration. The README's table is made from these descriptions."""

    model_config = SettingsConfigDict(
        env_prefix="CEPHSTORAGE_", env_nested_delimiter="_", env_nested_max_split=1, extra="ignore", frozen=True
    )

    host: str = Field(default="127.0.0.1", description="Address to listen on")
    port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one")
    data_dir: Path = Field(default=Path("data"), description="Database, objects, tokens")
    database_url: SecretStr = Field(
        default=SecretStr(""),
        description="PostgreSQL: postgresql://USER:PASSWORD@HOST:PORT/NAME; default: SQLite in DATA_DIR",
    )
    store: str = Field(default="disk", pattern="^(disk|ceph)$", description="Where objects lie: disk or ceph")
    public_address: Annotated[str, _checked("public_address")] = _option("public_address")
    download_path: Path | None = _option("download_path", default=None)
    secret_key: SecretStr = Field(
        default=SecretStr(""),
        description="Seals secrets in the database: 32 characters or more; default: made in DATA_DIR/secret-key. "
        "NEW,OLD seals with the first and opens with both",
    )
    advertise: Annotated[str, AfterValidator(_place)] = Field(
        default="",
        description="HOST:PORT under which other machines reach this process; default: HOST and PORT, if they can be",
    )
    workers: int = Field(default=1, ge=1, le=64, description="Service processes")
    background: bool = Field(
        default=True, description="Whether serving processes also run background transfers; false where workers do"
    )
    worker_listen: Annotated[str, AfterValidator(_place)] = Field(
        default="", description="HOST:PORT on which a worker shows its health and metrics; default: nowhere"
    )
    grace: float = Field(default=10.0, ge=0, description="Seconds that requests under way get to finish at a stop")
    log_format: str = Field(default="console", pattern="^(console|json)$", description="console or json")
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$", description="Least level logged")
    database: DatabaseSettings = DatabaseSettings()
    origin: OriginSettings = OriginSettings()
    transfer: TransferSettings = TransferSettings()
    publish: PublishSettings = PublishSettings()
    webhook: WebhookSettings = WebhookSettings()
    ceph: CephSettings = CephSettings()
    reconcile: ReconcileSettings = ReconcileSettings()
    edge: EdgeSettings = EdgeSettings()

    @field_validator("secret_key")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        if any(len(key) < LEAST_SECRET_KEY for key in _comma_list(value.get_secret_value())):
            raise ValueError(f"write at least {LEAST_SECRET_KEY} characters, such as openssl rand -hex 32 makes")
        return value

    @model_validator(mode="before")
    @classmethod
    def _empty_means_default(cls, values: Any) -> Any:
        return _without_empty(values)

    def given_options(self) -> dict[str, str]:
        """The options that the environment fixes."""
        return dict(_given(self))

    @property
    def default_spool_dir(self) -> Path:
        """Where part files lie unless ``download_path`` says otherwise."""
        return self.data_dir / "spool"

    @property
    def origin_certificates_dir(self) -> Path:
        """Where CAs and client certificates of origins lie."""
        return self.origin.certificates or self.data_dir / "origin-certificates"

    @property
    def spool_dir(self) -> Path:
        """Where part files lie as far as the environment tells."""
        return self.download_path or self.default_spool_dir

    @property
    def spool_list(self) -> Path:
        """Names the folders in which this machine may have left spools, one a line."""
        return self.data_dir / "spool-folders"

    @property
    def database_file(self) -> Path:
        """The SQLite database."""
        return self.data_dir / "cephstorage.db"

    @property
    def objects_dir(self) -> Path:
        """Where the disk store keeps the bytes of keys."""
        return self.data_dir / "objects"

    @property
    def token_file(self) -> Path:
        """The admin token that the service makes at its first start, mode 0600."""
        return self.data_dir / "admin-token"

    def advertised(self, port: int) -> str:
        """Where other machines reach a process that listens on ``port``; empty when they can't."""
        if self.advertise:
            host, _, given = self.advertise.rpartition(":")
            return f"{host}:{port if given == '0' else given}"
        try:
            address = ip_address(self.host)
        except ValueError:
            return "" if self.host == "localhost" else f"{self.host}:{port}"
        if address.is_loopback or address.is_unspecified:
            return ""
        return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"

    @property
    def secret_keys(self) -> list[str]:
        """The keys of CEPHSTORAGE_SECRET_KEY: the first seals, all of them open."""
        return _comma_list(self.secret_key.get_secret_value()) if self.secret_key else []

    @property
    def secret_key_file(self) -> Path:
        """The key that the service makes when none is given, mode 0600."""
        return self.data_dir / "secret-key"

    def local_address(self, port: int | None = None) -> str:
        """Where this machine reaches the service, whatever address it is published under."""
        host = "127.0.0.1" if self.host in {"0.0.0.0", "::"} else self.host  # noqa: S104 - compared, not bound
        host = f"[{host}]" if _is_ipv6(host) else host
        return f"http://{host}:{port or self.port}"


def settings_in_force(settings: "Settings", values: Values) -> dict[str, Any]:
    """All settings with the values of the options that are in force, as JSON; secrets as asterisks."""
    return _in_force(settings, values)


def _in_force(model: BaseModel, values: Values) -> dict[str, Any]:
    shown: dict[str, Any] = model.model_dump(mode="json")
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            shown[name] = _in_force(value, values)
        elif isinstance(extra := field.json_schema_extra, dict):
            text = values[str(extra["option"])]
            shown[name] = _MASK if text and isinstance(value, SecretStr) else text or None if value is None else text
    return shown


def _without_empty(values: Any) -> Any:
    """Nested values without the empty ones."""
    if not isinstance(values, dict):
        return values
    return {name: _without_empty(value) for name, value in values.items() if value != ""}


def _given(model: BaseModel) -> Iterator[tuple[str, str]]:
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _given(value)
        elif name in model.model_fields_set and isinstance(extra := field.json_schema_extra, dict) and value:
            text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            yield str(extra["option"]), text


def _is_ipv6(host: str) -> bool:
    try:
        return ip_address(host).version == 6
    except ValueError:
        return False
