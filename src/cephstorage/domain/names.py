"""Names of tenants, buckets, keys and hosts, and the one place where a request target is decoded.

A key is any valid UTF-8 of 1..1024 bytes without NUL. It is percent-decoded exactly once and never
normalised: ``a//b``, ``a/``, ``.``, ``..`` and both unicode normal forms are different keys.
"""

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from cephstorage.domain.errors import InvalidKey, InvalidName

MAX_KEY_BYTES = 1024
RESERVED_TENANTS = frozenset({"progress"})
_STRICT = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_HOST = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
_REMOVED = frozenset({"", ".", ".."})
_AUTHORITY = re.compile(r"([^:]*)(?::[0-9]{0,5})?")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class BucketName:
    """A bucket of a tenant. Its store name is ``username___bucketname``."""

    username: str
    bucketname: str

    def __post_init__(self) -> None:
        _check_strict("username", self.username)
        _check_strict("bucketname", self.bucketname)
        if self.username in RESERVED_TENANTS:
            raise InvalidName(f"The username {self.username!r} is reserved; choose another one.")

    def __str__(self) -> str:
        return f"{self.username}___{self.bucketname}"

    @classmethod
    def parse(cls, full_name: str) -> "BucketName":
        """Read a full name such as ``alice___photos``. Raises InvalidName."""
        username, separator, bucketname = full_name.partition("___")
        if not separator:
            raise InvalidName(f"{full_name!r} is not a full bucket name of the form username___bucketname.")
        return cls(username, bucketname)


def bucket_or_none(full_name: str) -> BucketName | None:
    """The bucket of a full name; None when it is not one of ours."""
    try:
        return BucketName.parse(full_name)
    except InvalidName:
        return None


def _check_strict(what: str, name: str) -> None:
    if not _STRICT.fullmatch(name):
        raise InvalidName(
            f"The {what} {name!r} must be 1 to 63 lower-case letters, digits or '-', with no '-' at either end."
        )


def tenant_name(name: str) -> str:
    """Return ``name`` if it may name a tenant. Raises InvalidName."""
    _check_strict("username", name)
    if name in RESERVED_TENANTS:
        raise InvalidName(f"The username {name!r} is reserved; choose another one.")
    return name


def key_name(key: str) -> str:
    """Return ``key`` if it is a legal key. Raises InvalidKey."""
    try:
        size = len(key.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise InvalidKey("The key is not valid UTF-8.") from error
    if size == 0:
        raise InvalidKey("The key is empty.")
    if size > MAX_KEY_BYTES:
        raise InvalidKey(f"The key has {size} bytes; at most {MAX_KEY_BYTES} are allowed.")
    if "\0" in key:
        raise InvalidKey("The key holds a NUL character.")
    return key


def decode_target(raw: bytes) -> str:
    """Percent-decode a raw piece of a request target, once. Raises InvalidKey on bad escapes or UTF-8."""
    if _BROKEN_ESCAPE.search(raw):
        raise InvalidKey("The address holds a '%' that begins no escape; write it as %25.")
    try:
        return unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidKey("The key is not valid UTF-8.") from error


def encode_key(key: str) -> str:
    """Percent-encode a key for a URL so that clients and proxies leave it as it is.

    ``/`` stays readable, except beside a segment that they would take out: ``.`` and ``..``
    (RFC 3986 section 5.2.4; browsers know them as ``%2E`` too) and an empty one. With ``%2F`` on its
    sides such a segment is part of a longer one. Only the whole keys ``.`` and ``..`` have no side to
    escape: a client that normalises can't ask for these.
    """
    first, *others = key.split("/")
    encoded = _encode_segment(first)
    left = first
    for number, right in enumerate(others, start=1):
        last = number == len(others)
        fragile = left in _REMOVED or (right in _REMOVED and not (last and right == ""))
        encoded += ("%2F" if fragile else "/") + _encode_segment(right)
        left = right
    return encoded


def _encode_segment(segment: str) -> str:
    if segment in {".", ".."}:
        return segment.replace(".", "%2E")
    return quote(segment, safe="")


def vfolder_of(key: str) -> str:
    """The virtual folder of a key: ``a/b`` for ``a/b/c.txt``, the empty string for ``c.txt``."""
    return key.rpartition("/")[0]


def prefix_end(prefix: str) -> str | None:
    """The smallest string above every string that starts with ``prefix``; None when there is none.

    Strings are compared as UTF-8 bytes, which for valid UTF-8 is the order of code points.
    """
    while prefix:
        point = ord(prefix[-1])
        prefix = prefix[:-1]
        if point < 0x10FFFF:
            following = point + 1
            return prefix + chr(0xE000 if following == 0xD800 else following)
    return None


def child_folder(parent: str, vfolder: str) -> str | None:
    """The direct sub-folder of ``parent`` that holds ``vfolder``, or None when it lies elsewhere.

    An empty first segment below the root (key ``/x/y``) can't be told from the root itself, so the
    next segment is taken with it: every key stays reachable by walking folders.
    """
    if parent == "":
        if vfolder == "":
            return None
        start = 1 if vfolder.startswith("/") else 0
        return vfolder[: _segment_end(vfolder, start)]
    head = parent + "/"
    if not vfolder.startswith(head):
        return None
    return vfolder[: _segment_end(vfolder, len(head))]


def parent_folder(vfolder: str) -> tuple[str, str]:
    """The folder that shows ``vfolder`` among its sub-folders, and the name that it has there.

    The parent and the name make the path again with ``folder_path``. ``vfolder`` is not the root.
    """
    head, slash, tail = vfolder.rpartition("/")
    return (head, tail) if head or not slash else ("", vfolder)


def folder_path(parent: str, name: str) -> str:
    """The path of a sub-folder (see ``parent_folder``)."""
    return f"{parent}/{name}" if parent else name


def folders_above(vfolder: str) -> list[str]:
    """The folder and those that hold it, innermost first, without the root."""
    found = []
    while vfolder:
        found.append(vfolder)
        vfolder, _ = parent_folder(vfolder)
    return found


def _segment_end(path: str, start: int) -> int:
    slash = path.find("/", start)
    return len(path) if slash < 0 else slash


def host_name(host: str) -> str:
    """Normalise a Host header or a mirror host: lower case, no port, no trailing dot. Raises InvalidName."""
    if host.strip().startswith("["):
        raise InvalidName("A mirror host is a DNS name, not an IP address.")
    authority = _AUTHORITY.fullmatch(host.strip()) if host.isascii() else None
    name = authority.group(1).lower().removesuffix(".") if authority else ""
    if not _HOST.fullmatch(name):
        raise InvalidName(f"{host!r} is not a valid host name.")
    return name
