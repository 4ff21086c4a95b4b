"""Digests that somebody promised: the caller's md5, Content-MD5, Repr-Digest, x-goog-hash.

Reading them is pure; computing them over the bytes is ``cephstorage.transfer.digest``.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass

from cephstorage.domain.errors import InvalidDigest

_HEX_MD5 = re.compile(r"[0-9a-fA-F]{32}")
_DICTIONARY_MEMBER = re.compile(r"\s*([a-z][a-z0-9_.*-]*)\s*=\s*:([A-Za-z0-9+/=]*):\s*(?:;[^,]*)?")
_SIZES = {"md5": 16, "sha-256": 32, "sha-512": 64}
HASH_NAMES = {"md5": "md5", "sha-1": "sha1", "sha-256": "sha256", "sha-512": "sha512"}


@dataclass(frozen=True, slots=True)
class Digest:
    """One expected digest. ``promised_by_caller`` tells md5_mismatch (caller) from digest_mismatch (origin)."""

    algorithm: str
    value: bytes
    promised_by_caller: bool = False


def parse_md5(text: str | None) -> str | None:
    """An md5 as lower-case hex, from hex or from base64 (Content-MD5, RFC 1864). Raises InvalidDigest."""
    if text is None or text == "":
        return None
    text = text.strip()
    if _HEX_MD5.fullmatch(text):
        return text.lower()
    return _base64(text, 16, f"{text!r} is not an md5: send 32 hex digits, or base64 as in Content-MD5.").hex()


def _base64(text: str, size: int, complaint: str) -> bytes:
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidDigest(complaint) from error
    if len(value) != size:
        raise InvalidDigest(complaint)
    return value


def parse_digest_field(header: str) -> list[Digest]:
    """Read Repr-Digest or Content-Digest (RFC 9530, a structured dictionary of byte sequences).

    Algorithms that we do not compute are left out; the last of equal names wins and missing padding is
    forgiven (RFC 8941 sections 3.2 and 4.2.7). Raises InvalidDigest on a known algorithm with a bad value.
    """
    found: dict[str, Digest] = {}
    for member in header.split(","):
        match = _DICTIONARY_MEMBER.fullmatch(member)
        if match is None:
            raise InvalidDigest(f"{header!r} is not a digest field (RFC 9530).")
        algorithm, value = match.groups()
        if algorithm in _SIZES:
            padded = value + "=" * (-len(value) % 4)
            complaint = f"{header!r} has a bad {algorithm} value."
            found[algorithm] = Digest(algorithm, _base64(padded, _SIZES[algorithm], complaint))
    return list(found.values())


def declared_digests(headers: Mapping[str, str]) -> tuple[Digest, ...]:
    """What an origin's 200 answer promises about its body. Unreadable fields promise nothing.

    ``headers`` has lower-case names. Content-Digest equals Repr-Digest on a 200 without transfer tricks.
    """
    found: list[Digest] = []
    for name in ("repr-digest", "content-digest"):
        if name in headers:
            found += _lenient(headers[name])
    if "content-md5" in headers:
        found += _lenient(f"md5=:{headers['content-md5'].strip()}:")
    if headers.get("content-encoding", "") == headers.get("x-goog-stored-content-encoding", "").replace("identity", ""):
        found += _google_md5(headers.get("x-goog-hash", ""))
    return tuple(dict.fromkeys(found))


def _google_md5(header: str) -> list[Digest]:
    """The md5 in x-goog-hash, which is of the bytes as stored: it holds only while they travel in that coding."""
    pairs = (member.strip().partition("=") for member in header.split(","))
    return [digest for name, _, value in pairs if name == "md5" for digest in _lenient(f"md5=:{value}:")]


def _lenient(field: str) -> list[Digest]:
    try:
        return parse_digest_field(field)
    except InvalidDigest:
        return []


def caller_md5(md5: str | None) -> tuple[Digest, ...]:
    """The caller's md5 (hex) as an expectation."""
    return (Digest("md5", bytes.fromhex(md5), promised_by_caller=True),) if md5 else ()
