"""Digests that stand elsewhere than in the answer: beside the file, in its name, or in the index of its ecosystem.

Pure: which target of the mirror holds the digest, and what it says. Reading it is ``services.expectations``.
"""

import base64
import binascii
import html
import json
import posixpath
import re
from urllib.parse import quote, unquote

from cephstorage.domain.digests import Digest
from cephstorage.domain.policy import DigestSource

SIDECARS = {
    DigestSource.SHA512: ("sha-512", 128),
    DigestSource.SHA256: ("sha-256", 64),
    DigestSource.SHA1: ("sha-1", 40),
    DigestSource.MD5: ("md5", 32),
}
_BY_HASH = re.compile(r".*/by-hash/(MD5Sum|SHA1|SHA256|SHA512)/([0-9a-f]{32,128})")
_HASHES = {"MD5Sum": ("md5", 32), "SHA1": ("sha-1", 40), "SHA256": ("sha-256", 64), "SHA512": ("sha-512", 128)}
_LENGTHS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
_NAMES = {"md5": "md5", "sha1": "sha-1", "sha256": "sha-256", "sha512": "sha-512"}
_BESIDE = (*SIDECARS, ".asc", ".sig")
_NPM_FILE = re.compile(r"/((?:@[^/]+/)?[^/@]+)/-/[^/]+")
_PYPI_FILE = re.compile(r"/packages/(?:.*/)?([^/]+)")
_PYPI_NAME = re.compile(r"(?P<wheel>[^-]+)-[^/]+\.whl|(?P<sdist>.+)-[^-]+\.(?:tar\.[a-z0-9]+|tgz|zip)")


def companion(source: DigestSource, path: str) -> str | None:
    """The target of the mirror that holds the digest of a decoded path's bytes; None when none does."""
    if source in SIDECARS:
        beside = path.endswith("/") or path.endswith(_BESIDE)
        return None if beside else quote(f"{path}{source.value}")
    if source is DigestSource.NPM and (found := _NPM_FILE.fullmatch(path)) is not None:
        return "/" + quote(found[1], safe="@")
    if source is DigestSource.PYPI and (found := _PYPI_FILE.fullmatch(path)) is not None:
        named = _PYPI_NAME.fullmatch(found[1])
        project = (named["wheel"] or named["sdist"]) if named is not None else None
        return f"/simple/{quote(re.sub(r'[-_.]+', '-', project).lower())}/" if project else None
    return None


def in_name(source: DigestSource, path: str) -> tuple[Digest, ...]:
    """The digest that a path has in its own name (Debian's by-hash)."""
    found = _BY_HASH.fullmatch(path) if source is DigestSource.BY_HASH else None
    if found is None:
        return ()
    algorithm, length = _HASHES[found[1]]
    return (Digest(algorithm, bytes.fromhex(found[2])),) if len(found[2]) == length else ()


def promised_by(source: DigestSource, path: str, body: bytes) -> tuple[Digest, ...]:
    """What a companion's body says about the bytes of a decoded path."""
    if source in SIDECARS:
        return _beside(source, posixpath.basename(path), body.decode("utf-8", "replace"))
    if source is DigestSource.NPM:
        return _npm(posixpath.basename(path), body)
    return _pypi(posixpath.basename(path), body.decode("utf-8", "replace"))


def _beside(source: DigestSource, name: str, text: str) -> tuple[Digest, ...]:
    """The one digest of the file, or that on the line which names it (coreutils, BSD and Maven write them differently)."""
    algorithm, length = SIDECARS[source]
    digits = re.compile(rf"(?<![0-9a-fA-F])[0-9a-fA-F]{{{length}}}(?![0-9a-fA-F])")
    lines = [(line, found[0]) for line in text.splitlines() if (found := digits.search(line)) is not None]
    named = [
        value for line, value in lines if name in line.replace("(", " ").replace(")", " ").replace("*", " ").split()
    ]
    values = {value.lower() for value in named or [value for _, value in lines]}
    return tuple(Digest(algorithm, bytes.fromhex(value)) for value in values) if len(values) == 1 else ()


def _pypi(name: str, page: str) -> tuple[Digest, ...]:
    """The digest behind ``#`` in the link to the file (PEP 503)."""
    for link in re.findall(r"""href\s*=\s*["']([^"']+)""", page):
        address, _, fragment = html.unescape(link).partition("#")
        algorithm, _, value = fragment.partition("=")
        if unquote(posixpath.basename(address.partition("?")[0])) != name or algorithm not in _NAMES:
            continue
        if re.fullmatch(r"[0-9a-fA-F]+", value) and len(value) == _LENGTHS[algorithm]:
            return (Digest(_NAMES[algorithm], bytes.fromhex(value)),)
    return ()


def _npm(name: str, body: bytes) -> tuple[Digest, ...]:
    """``integrity`` (Subresource Integrity), else ``shasum``, of the version whose tarball has the name."""
    try:
        versions = json.loads(body).get("versions", {}).values()
        held = [each["dist"] for each in versions if posixpath.basename(unquote(each["dist"]["tarball"])) == name]
    except (ValueError, AttributeError, KeyError, TypeError):
        return ()
    for dist in held:
        algorithm, _, value = str(dist.get("integrity", "")).split(" ")[0].partition("-")
        if algorithm in _NAMES and (digest := _base64(value, _LENGTHS[algorithm] // 2)) is not None:
            return (Digest(_NAMES[algorithm], digest),)
        shasum = str(dist.get("shasum", ""))
        if re.fullmatch(r"[0-9a-f]{40}", shasum):
            return (Digest("sha-1", bytes.fromhex(shasum)),)
    return ()


def _base64(text: str, size: int) -> bytes | None:
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return value if len(value) == size else None
