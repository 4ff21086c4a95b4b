"""Settings: every value the operator can change, read from the environment once, at start.

``CEPHSTORAGE_<FIELD>`` sets a field of the service, ``CEPHSTORAGE_<SECTION>_<FIELD>`` one of a section
(``CEPHSTORAGE_ORIGIN_ALLOWED_PORTS``). Sizes are in bytes, times in seconds, lists are separated by commas.

Fields made by ``option`` are the options of ``cephstorage.domain.configuration``: they may also be kept
in the database and changed while the service runs. What the environment says wins.
"""

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from cephstorage.bootstrap.sections import (
    CephSettings,
    DatabaseSettings,
    EdgeSettings,
    OriginSettings,
    PublishSettings,
    ReconcileSettings,
    TransferSettings,
    WebhookSettings,
    checked,
    comma_list,
    option,
    place,
)
from cephstorage.domain.configuration import Values

LEAST_SECRET_KEY = 32
_MASK = "**********"


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
    public_address: Annotated[str, checked("public_address")] = option("public_address")
    download_path: Path | None = option("download_path", default=None)
    secret_key: SecretStr = Field(
        default=SecretStr(""),
        description="Seals secrets in the database: 32 characters or more; default: made in DATA_DIR/secret-key. "
        "NEW,OLD seals with the first and opens with both",
    )
    advertise: Annotated[str, AfterValidator(place)] = Field(
        default="",
        description="HOST:PORT under which other machines reach this process; default: HOST and PORT, if they can be",
    )
    workers: int = Field(default=1, ge=1, le=64, description="Service processes")
    background: bool = Field(
        default=True, description="Whether serving processes also run background transfers; false where workers do"
    )
    worker_listen: Annotated[str, AfterValidator(place)] = Field(
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
        if any(len(key) < LEAST_SECRET_KEY for key in comma_list(value.get_secret_value())):
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
        return comma_list(self.secret_key.get_secret_value()) if self.secret_key else []

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
