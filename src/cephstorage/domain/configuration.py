"""The options that an operator may change while the service runs: what each means, and which values it takes.

An option's value comes from the environment, else from the database, else it is the default. Values
are texts; the empty text is "not set". Each option is checked alone when it is written, and all of them
together before a change is stored.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv6Address
from types import MappingProxyType
from urllib.parse import urlsplit

from cephstorage.domain.errors import InvalidSetting

Values = Mapping[str, str]
"""The value of every option by name."""

LONGEST_PRESIGNED = 7 * 86400
"""Seconds; the longest life of a presigned URL (Signature Version 4, also on RGW)."""
_LONGEST = 1024
_USUAL_PORTS = {"http": 80, "https": 443}
_ADDRESS = re.compile(r"[!-~]+")
_WORD = re.compile(r"[!-~]{1,128}")
_REGION = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?\.?")


class Source(Enum):
    """Where a value comes from."""

    ENVIRONMENT = "environment"
    DATABASE = "database"
    DEFAULT = "default"


class PublishBy(Enum):
    """Who answers published URLs: this service (its edge), or RGW to presigned ones."""

    EDGE = "edge"
    RGW = "rgw"


def read_address(text: str, *, path: bool) -> str:
    """An http or https address without credentials, query and fragment; ``path``: whether a path may follow.

    The host becomes lower-case and a usual port is left out, as clients write them into ``Host``.
    Raises ValueError with what to write instead.
    """
    wanted = "write http://HOST or https://HOST, with :PORT if it is not the usual one"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(wanted) from error
    host = (parts.hostname or "").lower()
    if parts.scheme not in _USUAL_PORTS or port == 0 or not _is_host(host) or not _ADDRESS.fullmatch(text):
        raise ValueError(wanted)
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError(f"{wanted}; no user, query or fragment")
    if not path and parts.path.strip("/"):
        raise ValueError(f"{wanted}; no path")
    host = f"[{host}]" if ":" in host else host
    shown_port = f":{port}" if port is not None and port != _USUAL_PORTS[parts.scheme] else ""
    return f"{parts.scheme}://{host}{shown_port}{parts.path.rstrip('/')}"


def _is_host(host: str) -> bool:
    if ":" not in host:
        return _HOST.fullmatch(host) is not None
    try:
        return IPv6Address(host).scope_id is None
    except ValueError:
        return False


def _public(text: str) -> str:
    return read_address(text, path=True)


def _gateway(text: str) -> str:
    return read_address(text, path=False)


def _word(text: str) -> str:
    if not _WORD.fullmatch(text):
        raise ValueError("write 1 to 128 printable ASCII characters without spaces")
    return text


def _region(text: str) -> str:
    if not _REGION.fullmatch(text):
        raise ValueError("write letters, digits, - and _ only, 64 at most")
    return text


def _path(text: str) -> str:
    if not text.startswith("/") or not text.isprintable():
        raise ValueError("write a whole path that begins with /")
    return text.rstrip("/") or "/"


def _publish_by(text: str) -> str:
    if text not in {mode.value for mode in PublishBy}:
        raise ValueError("write edge or rgw")
    return text


@dataclass(frozen=True, slots=True)
class Option:
    """One option. ``read`` gives a text its canonical form. Raises ValueError with what to write instead."""

    name: str
    meaning: str
    example: str
    read: Callable[[str], str]
    default: str = ""
    secret: bool = False

    @property
    def variable(self) -> str:
        """The environment variable that fixes it."""
        return f"CEPHSTORAGE_{self.name.upper()}"

    def checked(self, text: str) -> str:
        """The canonical form of a value. Raises InvalidSetting, naming the option and never a secret."""
        try:
            if not text or len(text) > _LONGEST:
                raise ValueError(f"write 1 to {_LONGEST} characters")
            return self.read(text)
        except ValueError as error:
            shown = "its value" if self.secret else repr(text[:100])
            raise InvalidSetting(f"{self.name}: {shown} is not usable: {error}.") from error


OPTIONS: Mapping[str, Option] = MappingProxyType(
    {
        option.name: option
        for option in (
            Option(
                "public_address",
                "Base of published URLs; default http://HOST:PORT",
                "https://files.example.org",
                _public,
            ),
            Option("download_path", "Spool of transfers; default DATA_DIR/spool", "/var/spool/cephstorage", _path),
            Option(
                "publish_by",
                "Who answers published URLs: edge (this service) or rgw (presigned, at most 7 days)",
                "edge",
                _publish_by,
                default=PublishBy.EDGE.value,
            ),
            Option(
                "ceph_gateway", "Address of RGW, e.g. http://rgw.example.org:7480", "http://127.0.0.1:7480", _gateway
            ),
            Option("ceph_access_key", "Access key of the RGW user that owns the buckets", "CEPHSTORAGE", _word),
            Option("ceph_secret_key", "Secret key of the RGW user", "a-secret", _word, secret=True),
            Option("ceph_region", "Region that requests to RGW are signed for", "default", _region, default="default"),
            Option(
                "ceph_public_address",
                "Address of RGW for clients, signed into URLs with publish_by=rgw",
                "https://s3.example.org",
                _gateway,
            ),
            Option("ceph_ca_file", "CA bundle for an RGW with a private CA", "/etc/ssl/rgw-ca.pem", _path),
        )
    }
)


SECRETS = ("signing_key", "edge_secret", "events_secret", *(name for name, known in OPTIONS.items() if known.secret))
"""Names of settings that are kept sealed."""


def option(name: str) -> Option:
    """The option of this name. Raises InvalidSetting."""
    found = OPTIONS.get(name)
    if found is None:
        raise InvalidSetting(f"{name[:100]}: there is no such setting; there are {', '.join(OPTIONS)}.")
    return found


def missing_for_ceph(values: Values) -> tuple[str, ...]:
    """The options without which Ceph can't be reached."""
    return tuple(name for name in ("ceph_gateway", "ceph_access_key", "ceph_secret_key") if not values[name])


def check_together(values: Values, *, on_ceph: bool) -> None:
    """Raise InvalidSetting when the values contradict each other."""
    if values["publish_by"] != PublishBy.RGW.value:
        return
    if not on_ceph:
        raise InvalidSetting("publish_by: rgw needs the store ceph; this service keeps its objects on disk.")
    if not values["ceph_public_address"]:
        raise InvalidSetting("publish_by: rgw needs ceph_public_address, the address at which clients reach RGW.")
