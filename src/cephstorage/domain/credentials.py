"""How we show an origin who we are: the headers of a request, from credentials of four kinds.

Pure. A secret is opened only in memory, shows in no repr, and goes to the one host it was given for.
"""

import base64
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlsplit

from cephstorage.domain.sigv4 import Credentials as S3Keys
from cephstorage.domain.sigv4 import authorised

Headers = tuple[tuple[str, str], ...]


class CredentialKind(StrEnum):
    """HTTP Basic (RFC 7617), a bearer token (RFC 6750), a header of its own, or S3's Signature Version 4."""

    BASIC = "basic"
    BEARER = "bearer"
    HEADER = "header"
    S3 = "s3"


@dataclass(frozen=True, slots=True)
class SealedCredentials:
    """Credentials as they are kept. ``name`` is the user, the header, or the access key; ``sealed`` the secret."""

    kind: CredentialKind
    sealed: str = field(repr=False)
    name: str = ""
    region: str = ""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Credentials in use."""

    kind: CredentialKind
    secret: str = field(repr=False)
    name: str = ""
    region: str = ""

    def headers(self, method: str, url: str, host: str, moment: float) -> Headers:
        """What to send with a request for ``url`` under the Host ``host`` at ``moment`` (epoch seconds)."""
        match self.kind:
            case CredentialKind.BASIC:
                pair = f"{self.name}:{self.secret}".encode()
                return (("Authorization", f"Basic {base64.b64encode(pair).decode()}"),)
            case CredentialKind.BEARER:
                return (("Authorization", f"Bearer {self.secret}"),)
            case CredentialKind.HEADER:
                return ((self.name, self.secret),)
            case CredentialKind.S3:
                return self._signed(method, url, host, moment)

    def _signed(self, method: str, url: str, host: str, moment: float) -> Headers:
        """S3 signs the path as it encodes it itself, whatever spelling of it is sent."""
        keys = S3Keys(self.name, self.secret, self.region)
        parts = urlsplit(url)
        path = quote(unquote_to_bytes(parts.path or "/"), safe="/~")
        query = parse_qsl(parts.query, keep_blank_values=True)
        signed = authorised(keys, method, path, query, {"host": host}, moment)
        return tuple((name, value) for name, value in signed.items() if name != "host")
