"""Custom metadata of keys: names and values that a caller gives and gets back, as S3 has them.

Names are letters, digits and hyphens: what every proxy on the way lets through as part of a header's name. Values are
printable ASCII, for the same reason (S3 API, "User-defined object metadata": 2 KB of names and values in all).
"""

import re
from collections.abc import Iterable, Mapping

from cephstorage.domain.errors import InvalidMetadata
from cephstorage.domain.records import Metadata

HEADER = "x-amz-meta-"
MOST_BYTES = 2048
"""Names and values in all."""
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,126}[a-z0-9])?")
_VALUE = re.compile(r"(?:[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?")


def metadata_of(given: Mapping[str, str]) -> Metadata:
    """Metadata as it is kept: names in lower case, sorted. Raises InvalidMetadata."""
    found: dict[str, str] = {}
    for written, value in given.items():
        name = written.lower()
        if not _NAME.fullmatch(name):
            raise InvalidMetadata(f"The metadata name {written!r} must be 1 to 128 letters, digits or inner hyphens.")
        if name in found:
            raise InvalidMetadata(f"The metadata name {name!r} is given twice; its case makes no difference.")
        if not _VALUE.fullmatch(value):
            raise InvalidMetadata(
                f"The metadata value of {name!r} must be printable ASCII without a space at either end; encode others."
            )
        found[name] = value
    if (size := sum(len(name) + len(value) for name, value in found.items())) > MOST_BYTES:
        raise InvalidMetadata(f"The metadata has {size} bytes of names and values; {MOST_BYTES} are allowed.")
    return tuple(sorted(found.items()))


def metadata_in(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What a request's headers say of it; lines under one name are one value, joined (RFC 9110 section 5.3)."""
    found: dict[str, str] = {}
    for header, value in headers:
        if (lower := header.lower()).startswith(HEADER):
            name = lower.removeprefix(HEADER)
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def usable_metadata(given: Mapping[str, str]) -> Metadata:
    """What of somebody else's metadata can be kept; none of it when it is too much."""
    good = {name: value for name, value in given.items() if _NAME.fullmatch(name) and _VALUE.fullmatch(value)}
    try:
        return metadata_of(good)
    except InvalidMetadata:
        return ()


def metadata_headers(metadata: Metadata) -> list[tuple[str, str]]:
    """The headers that show it."""
    return [(HEADER + name, value) for name, value in metadata]
