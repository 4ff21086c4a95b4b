"""Signed URLs: an HMAC over what may be read and until when, so that nothing else is opened.

For published keys it covers bucket and key, for private mirrors host and target: names, not the written
path. However a client escapes them, the same URL works, and no proxy that re-escapes it can break it.
Rotating the signing key revokes every URL at once.
"""

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass

from cephstorage.domain.errors import SignatureInvalid
from cephstorage.domain.names import BucketName, encode_key

_EXPIRES = re.compile(r"0|[1-9][0-9]{0,11}")
_AT_THE_END = re.compile(r"(?:(.*)&)?cs-expires=([^&]*)&cs-signature=([^&]*)", re.DOTALL)


def sign(secret: bytes, method: str, bucket: BucketName, key: str, expires: int) -> str:
    """The signature for a method (HEAD counts as GET) on a key until ``expires`` (epoch seconds)."""
    return _signature(secret, "cephstorage-v1", _read(method), str(bucket), str(expires), key)


def _read(method: str) -> str:
    return "GET" if method == "HEAD" else method


def _signature(secret: bytes, *parts: str) -> str:
    message = "\n".join(parts).encode("utf-8", "surrogatepass")
    return urlsafe_b64encode(hmac.digest(secret, message, hashlib.sha256)).rstrip(b"=").decode()


def published_url(public_address: str, secret: bytes, bucket: BucketName, key: str, expires: int) -> str:
    """The address under which anybody can read the key until ``expires``."""
    signature = sign(secret, "GET", bucket, key, expires)
    base = public_address.rstrip("/")
    return f"{base}/objects/{bucket}/{encode_key(key)}?expires={expires}&signature={signature}"


def check(secret: bytes, method: str, bucket: BucketName, key: str, expires: str, signature: str, now: float) -> None:
    """Raise SignatureInvalid unless the signature is ours, for this method and key, and has not expired."""
    _check(lambda until: sign(secret, method, bucket, key, until), expires, signature, now)


def _check(wanted: Callable[[int], str], expires: str, signature: str, now: float) -> None:
    if not _EXPIRES.fullmatch(expires) or not signature:
        raise SignatureInvalid("This address needs a valid 'expires' and 'signature'; ask for a new one.")
    if not signature.isascii() or not hmac.compare_digest(wanted(int(expires)), signature):
        raise SignatureInvalid(
            "The signature does not fit this address; it was altered, or the signing key was rotated."
        )
    if int(expires) < now:
        raise SignatureInvalid("This address has expired; ask for a new one.")


@dataclass(frozen=True, slots=True)
class TargetSignature:
    """What a signed address of a private mirror has at its end."""

    expires: str
    signature: str


def split_signature(raw_query: str) -> tuple[str, TargetSignature | None]:
    """A query as the origin knows it, and the signature that was put behind it."""
    found = _AT_THE_END.fullmatch(raw_query)
    if found is None:
        return raw_query, None
    return found[1] or "", TargetSignature(found[2], found[3])


def signed_target(secret: bytes, host: str, target: str, canonical: str, expires: int) -> str:
    """A target of a private mirror, as written, that anybody can read until ``expires``; ``canonical`` is signed."""
    signature = _sign_target(secret, "GET", host, canonical, expires)
    joint = "&" if "?" in target else "?"
    return f"{target}{joint}cs-expires={expires}&cs-signature={signature}"


def check_target(secret: bytes, method: str, host: str, canonical: str, signed: TargetSignature, now: float) -> None:
    """Raise SignatureInvalid unless the signature is ours, for this method, host and target, and has not expired."""
    _check(lambda until: _sign_target(secret, method, host, canonical, until), signed.expires, signed.signature, now)


def _sign_target(secret: bytes, method: str, host: str, canonical: str, expires: int) -> str:
    return _signature(secret, "cephstorage-mirror-v1", _read(method), host, str(expires), canonical)
