"""What an edge consists of, as one frozen value: rendering is a function of it and of nothing else."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cephstorage.domain.errors import InvalidSetting

_UPSTREAM = re.compile(r"unix:/[\w./@+-]+|[\w.-]+:\d{1,5}|\[[0-9A-Fa-f:.]+\]:\d{1,5}")
_LISTEN = re.compile(r"(?:[\w.-]+:|\[[0-9A-Fa-f:.]+\]:)?\d{1,5}")
_GATEWAY = re.compile(r"(https?)://([\w.-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?/?")
_HOST = re.compile(r"[\w.-]+|\[[0-9A-Fa-f:.]+\]")
_SECRET = re.compile(r"[A-Za-z0-9_-]{16,}")
_QUOTED = re.compile(r"""[^"'\\$;{}\s\x00-\x1f]+""")
_CERTIFICATE = re.compile(r"(?:_\.)?[A-Za-z0-9.-]+")
_NETWORK = re.compile(r"[0-9A-Fa-f.:/]+")
SYSTEM_CAS = Path("/etc/ssl/certs/ca-certificates.crt")
_LONGEST_FOLDER = 107 - len("/inner.sock")
_SIZE = re.compile(r"[1-9][0-9]*[kmg]?")


@dataclass(frozen=True, slots=True)
class Gateway:
    """One RGW address."""

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> "Gateway":
        """Read ``http(s)://host[:port]``. Raises InvalidSetting."""
        found = _GATEWAY.fullmatch(url)
        if found is None:
            raise InvalidSetting(f"The gateway {url!r} is not http(s)://HOST:PORT.")
        scheme, host, port = found.groups()
        return cls(scheme, host, int(port) if port else {"http": 80, "https": 443}[scheme])


@dataclass(frozen=True, slots=True)
class Certificate:
    """``NAME.crt`` and ``NAME.key`` in ``folder``. ``_.example.org`` is for ``*.example.org``, ``default`` for any name."""

    folder: Path
    name: str

    @property
    def stem(self) -> Path:
        """Both files without their ending."""
        return self.folder / self.name

    @property
    def host(self) -> str:
        """The host name in nginx's notation."""
        return self.name.replace("_.", "*.", 1).lower()


@dataclass(frozen=True, slots=True)
class Limits:
    """Against slow and oversized requests. Times in seconds, sizes in bytes."""

    header_timeout: int = 15
    body_timeout: int = 60
    send_timeout: int = 60
    idle_timeout: int = 75
    answer_timeout: int = 180
    upload_timeout: int = 3600
    header_size: int = 16 * 1024
    connections_per_client: int = 0
    """0: no limit."""


@dataclass(frozen=True, slots=True)
class EdgeConfig:
    """Everything that stands in nginx.conf. ``check`` refuses what could break out of its place there."""

    secret: str = field(repr=False)
    proxies: tuple[str, ...]
    run_dir: Path
    cache_dir: Path
    listen: tuple[str, ...] = ("127.0.0.1:8088",)
    listen_tls: tuple[str, ...] = ()
    s3_listen: tuple[str, ...] = ()
    s3_listen_tls: tuple[str, ...] = ()
    api_hosts: tuple[str, ...] = ()
    purge_listen: str = ""
    health_listen: str = ""
    cache_size: str = "10g"
    slice_size: int = 1 << 20
    gateways: tuple[Gateway, ...] = ()
    gateway_ca: Path = SYSTEM_CAS
    objects_dir: Path | None = None
    certificates: tuple[Certificate, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    workers: str = "auto"
    worker_connections: int = 8192
    open_files: int = 65536
    user: str = ""
    purge_module: Path = Path("/usr/lib/nginx/modules/ngx_http_cache_purge_module.so")
    limits: Limits = Limits()
    keeps: bool = True
    """Whether answers are kept; False when the disk of the caches is full (see ``space``)."""

    def check(self) -> None:
        """Raise InvalidSetting for what nginx could not read as meant."""
        if not self.proxies:
            raise InvalidSetting("The edge has no proxy to ask: set CEPHSTORAGE_EDGE_PROXIES.")
        if not (self.listen or self.listen_tls):
            raise InvalidSetting("The edge listens nowhere: set CEPHSTORAGE_EDGE_LISTEN.")
        if self.speaks_tls and not self.certificates:
            raise InvalidSetting(
                "TLS needs certificates: put NAME.crt and NAME.key into CEPHSTORAGE_EDGE_CERTIFICATES."
            )
        if len({gateway.scheme for gateway in self.gateways}) > 1:
            raise InvalidSetting("Gateways are reached either all by http or all by https.")
        _all(_SECRET, "the edge secret", [self.secret], show=False)
        _all(_UPSTREAM, "edge_proxies", self.proxies)
        _all(_LISTEN, "edge_listen", (*self.listen, *self.listen_tls))
        _all(_LISTEN, "edge_s3_listen", (*self.s3_listen, *self.s3_listen_tls))
        _all(_LISTEN, "edge_purge_listen, edge_health_listen", filter(None, (self.purge_listen, self.health_listen)))
        _all(_HOST, "edge_names", self.api_hosts)
        _all(_SIZE, "edge_cache_size", [self.cache_size])
        _all(_NETWORK, "edge_trusted_proxies", self.trusted_proxies)
        _all(_CERTIFICATE, "the name of a certificate", [certificate.name for certificate in self.certificates])
        if len(str(self.run_dir)) > _LONGEST_FOLDER:
            raise InvalidSetting(
                f"edge_run_dir: sockets lie in it, whose paths have at most 107 bytes; it may have {_LONGEST_FOLDER}."
            )
        paths = [self.run_dir, self.cache_dir, self.gateway_ca, self.objects_dir, self.purge_module]
        paths += [certificate.folder for certificate in self.certificates]
        _all(_QUOTED, "a folder of the edge", [str(path) for path in paths if path is not None])

    @property
    def serves_s3(self) -> bool:
        """Whether S3 clients are served, and there is a gateway to pass them on to."""
        return bool(self.gateways and (self.s3_listen or self.s3_listen_tls))

    @property
    def speaks_tls(self) -> bool:
        """Whether a certificate is shown anywhere."""
        return bool(self.listen_tls or self.s3_listen_tls)

    @property
    def pid_file(self) -> Path:
        """Where nginx writes its own."""
        return self.run_dir / "nginx.pid"


def _all(pattern: re.Pattern[str], what: str, values: Iterable[str], *, show: bool = True) -> None:
    for value in values:
        if not pattern.fullmatch(value):
            raise InvalidSetting(f"{what}: {value!r} can't stand there." if show else f"{what} is malformed.")
