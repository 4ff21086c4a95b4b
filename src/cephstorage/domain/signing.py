"""Published URLs: an HMAC over method, bucket, key and expiry, so that nothing but that key is opened.

The signature covers names, not the written path: however a client escapes the key, the same URL works,
and no proxy that re-escapes it can break it. Rotating the signing key revokes every URL at once.
"""

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode

from cephstorage.domain.errors import SignatureInvalid
from cephstorage.domain.names import BucketName, encode_key

_EXPIRES = re.compile(r"0|[1-9][0-9]{0,11}")


def sign(secret: bytes, method: str, bucket: BucketName, key: str, expires: int) -> str:
    """The signature for a method (HEAD counts as GET) on a key until ``expires`` (epoch seconds)."""
    method = "GET" if method == "HEAD" else method
    message = "\n".join(("cephstorage-v1", method, str(bucket), str(expires), key)).encode("utf-8", "surrogatepass")
    return urlsafe_b64encode(hmac.digest(secret, message, hashlib.sha256)).rstrip(b"=").decode()


def published_url(public_address: str, secret: bytes, bucket: BucketName, key: str, expires: int) -> str:
    """The address under which anybody can read the key until ``expires``."""
    signature = sign(secret, "GET", bucket, key, expires)
    base = public_address.rstrip("/")
    return f"{base}/objects/{bucket}/{encode_key(key)}?expires={expires}&signature={signature}"


def check(secret: bytes, method: str, bucket: BucketName, key: str, expires: str, signature: str, now: float) -> None:
    """Raise SignatureInvalid unless the signature is ours, for this method and key, and has not expired."""
    if not _EXPIRES.fullmatch(expires) or not signature:
        raise SignatureInvalid("This address needs a valid 'expires' and 'signature'; ask for a new one.")
    wanted = sign(secret, method, bucket, key, int(expires))
    if not signature.isascii() or not hmac.compare_digest(wanted, signature):
        raise SignatureInvalid(
            "The signature does not fit this address; it was altered, or the signing key was rotated."
        )
    if int(expires) < now:
        raise SignatureInvalid("This address has expired; ask for a new one.")
