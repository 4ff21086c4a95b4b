"""How names travel in URLs.

Clients and proxies on the way take the segments ``.`` and ``..`` out of a path (RFC 3986 section 5.2.4),
and some merge empty ones; in a key all of them are ordinary names. So they are sent percent-encoded,
and the slashes beside them too.
"""

from itertools import pairwise
from urllib.parse import quote

from cephstorage_client.errors import InvalidArgument

_FRAGILE = frozenset({"", ".", ".."})


def encode_key(key: str) -> str:
    """Percent-encode a key for a request path: ``/`` is kept where nobody touches it. Raises InvalidArgument."""
    segments = key.split("/")
    encoded = encode_segment(segments[0])
    for place, (left, right) in enumerate(pairwise(segments), start=2):
        ends_in_slash = right == "" and place == len(segments)
        slash = "%2F" if left in _FRAGILE or (right in _FRAGILE and not ends_in_slash) else "/"
        encoded += slash + encode_segment(right)
    return encoded


def encode_segment(segment: str) -> str:
    """Percent-encode one path segment. Raises InvalidArgument when it is not valid UTF-8."""
    if segment in {".", ".."}:
        return segment.replace(".", "%2E")
    try:
        return quote(segment, safe="")
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"{segment!a} is not valid UTF-8.") from error
