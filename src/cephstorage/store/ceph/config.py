"""How the gateway is reached: values that an operator sets, and may change while the service runs."""

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from cephstorage.domain.sigv4 import Credentials

_OWN_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class CephConfig:
    """One RGW and one S3 user. Times in seconds.

    ``gateway`` is ``http://host:port`` or ``https://...``; ``public_address`` is where clients reach it, if they
    may (empty: they may not). ``ca_file`` adds a private CA to the system's.
    ``timeout``: how long a request may make no progress; a gateway whose OSDs are gone never answers.
    """

    gateway: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str = "default"
    public_address: str = ""
    ca_file: Path | None = None
    connect_timeout: float = 5.0
    timeout: float = 30.0
    connections: int = 64

    @property
    def credentials(self) -> Credentials:
        """What requests are signed with."""
        return Credentials(self.access_key, self.secret_key, self.region)

    @property
    def host(self) -> str:
        """The Host of requests: signatures cover it."""
        return host_of(self.gateway)

    @property
    def base(self) -> str:
        """Scheme and host, for putting a request's target behind."""
        return base_of(self.gateway)


def host_of(address: str) -> str:
    """Host and port of an address as HTTP clients send them: a scheme's own port is left out."""
    parts = urlsplit(address)
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return name if parts.port in {None, _OWN_PORTS.get(parts.scheme)} else f"{name}:{parts.port}"


def base_of(address: str) -> str:
    """Scheme and host of an address, without what may stand behind them."""
    return f"{urlsplit(address).scheme}://{host_of(address)}"
