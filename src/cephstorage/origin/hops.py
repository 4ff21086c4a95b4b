"""One hop of an origin request: the URL as it travels, and the credentials that belong to its host only.

Pure. A URL is taken apart by slicing and never written anew, so that the target reaches the origin
byte for byte (``/a/../b``, ``%2F``, ``%41``, ``//``).
"""

import base64
import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote_to_bytes, urljoin, urlsplit

from cephstorage.domain.errors import InvalidUrl, OriginProtocol
from cephstorage.domain.urls import check_url

REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NEGOTIATION = {"accept", "accept-charset", "accept-language", "user-agent"}
TRAVELS = frozenset({"cache-control", "cdn-loop", "if-modified-since", "if-none-match", "via"} | _NEGOTIATION)
"""Request headers that may follow a redirect to another host; any other may be a credential there."""
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_AUTHORITY = re.compile(r"[^/?]*")
_DEFAULT_PORTS = {"http": 80, "https": 443}

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Hop:
    """Where to ask next. ``url`` has no userinfo and no fragment; ``headers`` holds its Authorization instead."""

    url: str
    scheme: str
    host: str
    port: int
    headers: Headers = field(repr=False)

    @property
    def name(self) -> str:
        """The origin as messages name it: no path and no query, which may hold secrets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if _DEFAULT_PORTS[self.scheme] == self.port else f":{self.port}")

    @property
    def authority(self) -> str:
        """Host and port as the Host header has them (RFC 9110 section 7.2)."""
        return self.name.partition("://")[2]

    def same_place(self, other: "Hop") -> bool:
        """Whether scheme, host and port are the same: credentials go no further."""
        return (self.scheme, self.host, self.port) == (other.scheme, other.host, other.port)

    def redirected(self, location: str | None) -> "Hop":
        """The hop a Location leads to (RFC 9110 section 10.2.2). Raises OriginProtocol.

        Credentials go along only while scheme, host and port stay the same.
        """
        if not location:
            raise OriginProtocol(f"{self.name} answered with a redirect that has no Location.")
        try:
            written = quote(location.encode("latin-1"), safe=_PRINTABLE)
            following = first_hop(written if _ABSOLUTE.match(written) else urljoin(self.url, written), ())
        except (InvalidUrl, ValueError) as error:
            reason = error.msg if isinstance(error, InvalidUrl) else "It can't be read."
            raise OriginProtocol(f"{self.name} redirects to something that is no http or https URL. {reason}") from None
        kept = (
            self.headers
            if self.same_place(following)
            else tuple(pair for pair in self.headers if pair[0].lower() in TRAVELS)
        )
        return following.with_headers(kept)

    def with_headers(self, headers: Headers) -> "Hop":
        """The hop with these headers too; its own Authorization wins."""
        own = {name.lower() for name, _ in self.headers}
        more = tuple((name, value) for name, value in headers if name.lower() not in own)
        return Hop(self.url, self.scheme, self.host, self.port, self.headers + more)


def first_hop(url: str, headers: Headers) -> Hop:
    """The hop of a URL as somebody wrote it. Raises InvalidUrl, whose message never holds the userinfo."""
    scheme, separator, rest = url.partition("#")[0].partition("://")
    authority = _AUTHORITY.match(rest)
    assert authority is not None
    userinfo, _, location = authority[0].rpartition("@")
    bare = check_url(f"{scheme.lower()}{separator}{location}{rest[authority.end() :]}")
    parts = urlsplit(bare)
    own = (("Authorization", _basic(userinfo)),) if userinfo else ()
    hop = Hop(bare, parts.scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS[parts.scheme], own)
    return hop.with_headers(headers)


def _basic(userinfo: str) -> str:
    user, _, password = userinfo.partition(":")
    return "Basic " + base64.b64encode(unquote_to_bytes(user) + b":" + unquote_to_bytes(password)).decode()
