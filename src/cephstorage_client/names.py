"""How names travel in URLs.

HTTP clients remove the segments ``.`` and ``..`` (RFC 3986 section 5.2.4); in a key they are ordinary
names, so they are sent percent-encoded.
"""

from urllib.parse import quote

from cephstorage_client.errors import InvalidArgument


def encode_key(key: str) -> str:
    """Percent-encode a key for a request path: ``/`` is kept, everything unusual is escaped. Raises InvalidArgument."""
    return "/".join(encode_segment(segment) for segment in key.split("/"))


def encode_segment(segment: str) -> str:
    """Percent-encode one path segment. Raises InvalidArgument when it is not valid UTF-8."""
    if segment in {".", ".."}:
        return segment.replace(".", "%2E")
    try:
        return quote(segment, safe="")
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"{segment!a} is not valid UTF-8.") from error
