"""How one origin is reached: its own Host, SNI, trust, patience and credentials. They hold for its host alone.

A redirect that leaves the host leaves all of this behind, for good: one that leads back may not use it either.
"""

import ssl
from dataclasses import dataclass

from cephstorage.domain.credentials import Credentials, Headers
from cephstorage.origin.hops import Hop


@dataclass(frozen=True, slots=True)
class Reach:
    """Timeouts are in seconds; None leaves the service's own. ``tls`` trusts only what it was made for."""

    host: str | None = None
    tls_name: str | None = None
    tls: ssl.SSLContext | None = None
    connect_timeout: float | None = None
    read_timeout: float | None = None
    credentials: Credentials | None = None

    def headers(self, method: str, hop: Hop, moment: float) -> Headers:
        """The headers that this origin gets beside the request's own, at ``moment`` (epoch seconds)."""
        host = self.host or hop.authority
        shown = self.credentials.headers(method, hop.url, host, moment) if self.credentials is not None else ()
        return ((("Host", self.host),) if self.host is not None else ()) + shown


PLAIN = Reach()
