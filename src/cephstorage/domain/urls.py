"""Origins and source URLs as they may be written: checked once, never repaired."""

import re
from ipaddress import IPv6Address
from urllib.parse import urlsplit

from cephstorage.domain.errors import InvalidName, InvalidUrl
from cephstorage.domain.names import host_name

_URL_OK = re.compile(r"[\x21-\x7e]+")
_AUTHORITY = re.compile(r"(?:[^@]*@)?(?:\[([0-9A-Fa-f:.]+)\]|([^@:\[\]]+))(?::[0-9]*)?")
MAX_URL = 8192


def origin_url(text: str) -> str:
    """An origin from a host or a URL with scheme, port and path prefix. Raises InvalidUrl."""
    url = text if "://" in text else f"http://{text}"
    if {"?", "#"} & set(check_url(url)):
        raise InvalidUrl("An origin has no query and no fragment.")
    return url.rstrip("/")


def check_url(url: str) -> str:
    """Return ``url`` if it is a plain absolute http(s) URL, printable ASCII. Raises InvalidUrl.

    Nothing is repaired: what is not written the way it travels is refused, so that what was checked
    is what is asked for.
    """
    if len(url) > MAX_URL or not _URL_OK.fullmatch(url):
        raise InvalidUrl(
            f"The URL must be 1 to {MAX_URL} printable ASCII characters without spaces; escape the others."
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidUrl("The URL's host or port can't be read.") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidUrl("The URL must begin with http:// or https:// and name a host.")
    if port == 0 or "\\" in url:
        raise InvalidUrl("The URL's port or path is not valid.")
    if not _names_host(parts.netloc):
        raise InvalidUrl("The URL's host is neither a DNS name nor an IP address.")
    return url


def _names_host(authority: str) -> bool:
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        return False
    literal, name = found.groups()
    try:
        return bool(IPv6Address(literal) if literal else host_name(name))
    except (ValueError, InvalidName):
        return False


def without_credentials(url: str) -> str:
    """A URL as it may be shown: without user name and password."""
    scheme, separator, authority, rest = _parts(url)
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{rest}"


def credentials_in(url: str) -> str:
    """What stands before the host of a URL: user name and password, as written; empty when nothing does."""
    return _parts(url)[2].rpartition("@")[0]


def with_credentials(url: str, userinfo: str) -> str:
    """The URL with what ``credentials_in`` has found, as written."""
    scheme, separator, authority, rest = _parts(url)
    return f"{scheme}{separator}{userinfo}@{authority}{rest}" if userinfo else url


def _parts(url: str) -> tuple[str, str, str, str]:
    scheme, separator, rest = url.partition("://")
    end = next((place for place, character in enumerate(rest) if character in "/?#"), len(rest))
    return scheme, separator, rest[:end], rest[end:]
