"""Digests that stand elsewhere: where they are looked for, and how each ecosystem writes them."""

import base64
import hashlib
import json

import pytest

from cephstorage.domain.digests import Digest
from cephstorage.domain.expected import companion, in_name, promised_by
from cephstorage.domain.policy import DigestSource

MD5, SHA1, SHA256, SHA512 = (hashlib.new(name, b"x").hexdigest() for name in ("md5", "sha1", "sha256", "sha512"))
OTHER = hashlib.sha256(b"y").hexdigest()


def digest(algorithm: str, value: str) -> tuple[Digest, ...]:
    return (Digest(algorithm, bytes.fromhex(value)),)


@pytest.mark.parametrize(
    ("source", "path", "target"),
    [
        (DigestSource.SHA256, "/a/x.iso", "/a/x.iso.sha256"),
        (DigestSource.SHA1, "/a b/x.jar", "/a%20b/x.jar.sha1"),
        (DigestSource.SHA1, "/a/x.jar.sha1", None),
        (DigestSource.SHA256, "/a/x.iso.sha512", None),
        (DigestSource.MD5, "/a/x.asc", None),
        (DigestSource.MD5, "/a/", None),
        (DigestSource.NPM, "/left-pad/-/left-pad-1.3.0.tgz", "/left-pad"),
        (DigestSource.NPM, "/@types/node/-/node-20.1.0.tgz", "/@types%2Fnode"),
        (DigestSource.NPM, "/left-pad", None),
        (DigestSource.NPM, "/@types/node", None),
        (DigestSource.NPM, "/-/package/x/dist-tags", None),
        (DigestSource.PYPI, "/packages/ab/cd/my_Pkg.x-1.0-py3-none-any.whl", "/simple/my-pkg-x/"),
        (DigestSource.PYPI, "/packages/ab/cd/my-pkg-1.0.tar.gz", "/simple/my-pkg/"),
        (DigestSource.PYPI, "/packages/x-1.0.zip", "/simple/x/"),
        (DigestSource.PYPI, "/packages/ab/x-1.0-py3-none-any.whl.metadata", None),
        (DigestSource.PYPI, "/simple/x/", None),
        (DigestSource.BY_HASH, "/dists/x/by-hash/SHA256/ab", None),
        (DigestSource.NONE, "/a", None),
    ],
)
def test_where_a_digest_is_looked_for(source: DigestSource, path: str, target: str | None) -> None:
    assert companion(source, path) == target


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (f"/debian/dists/x/main/by-hash/SHA256/{SHA256}", digest("sha-256", SHA256)),
        (f"/dists/x/by-hash/MD5Sum/{MD5}", digest("md5", MD5)),
        (f"/dists/x/by-hash/SHA1/{SHA1}", digest("sha-1", SHA1)),
        (f"/dists/x/by-hash/SHA512/{SHA512}", digest("sha-512", SHA512)),
        (f"/dists/x/by-hash/SHA256/{MD5}", ()),
        (f"/dists/x/SHA256/{SHA256}", ()),
        (f"/dists/x/by-hash/SHA256/{SHA256}.gpg", ()),
    ],
)
def test_names_that_are_digests(path: str, found: tuple[Digest, ...]) -> None:
    assert in_name(DigestSource.BY_HASH, path) == found
    assert in_name(DigestSource.SHA256, path) == ()


@pytest.mark.parametrize(
    ("source", "text", "found"),
    [
        (DigestSource.SHA256, SHA256, digest("sha-256", SHA256)),
        (DigestSource.SHA256, f"{SHA256.upper()}  x.iso\n", digest("sha-256", SHA256)),
        (DigestSource.SHA256, f"{OTHER} *other.iso\n{SHA256} *x.iso\n", digest("sha-256", SHA256)),
        (DigestSource.SHA256, f"SHA256 (other.iso) = {OTHER}\nSHA256 (x.iso) = {SHA256}\n", digest("sha-256", SHA256)),
        (DigestSource.SHA256, f"-----BEGIN PGP SIGNED MESSAGE-----\n\n{SHA256}  x.iso\n", digest("sha-256", SHA256)),
        (DigestSource.SHA256, f"{OTHER}  a\n{SHA256}  b\n", ()),
        (DigestSource.SHA256, SHA512, ()),
        (DigestSource.SHA256, "<html>not found</html>", ()),
        (DigestSource.SHA1, f"{SHA1} /home/build/x.iso", digest("sha-1", SHA1)),
        (DigestSource.MD5, f"{MD5}\n", digest("md5", MD5)),
        (DigestSource.SHA512, f"{SHA512}", digest("sha-512", SHA512)),
        (DigestSource.SHA512, "", ()),
        (
            DigestSource.PYPI,
            f'<a href="../../packages/a/y.iso#sha256={OTHER}">y</a><a\nhref="https://f.test/packages/a/x.iso#sha256={SHA256}" data-x="1">x</a>',
            digest("sha-256", SHA256),
        ),
        (DigestSource.PYPI, f"<a href='/packages/a/x%2Eiso#md5={MD5}'>x</a>", digest("md5", MD5)),
        (DigestSource.PYPI, '<a href="/packages/a/x.iso">x</a>', ()),
        (DigestSource.PYPI, '<a href="/packages/a/x.iso#sha256=ab">x</a>', ()),
        (DigestSource.PYPI, f'<a href="/packages/a/xx.iso#sha256={SHA256}">x</a>', ()),
    ],
)
def test_what_is_said_about_a_file(source: DigestSource, text: str, found: tuple[Digest, ...]) -> None:
    assert promised_by(source, "/packages/a/x.iso", text.encode()) == found


def sri(name: str, value: bytes = b"x") -> str:
    return f"{name}-{base64.b64encode(hashlib.new(name, value).digest()).decode()}"


@pytest.mark.parametrize(
    ("dist", "found"),
    [
        ({"integrity": sri("sha512"), "shasum": SHA1}, digest("sha-512", SHA512)),
        ({"integrity": f"{sri('sha256')} {sri('sha512')}"}, digest("sha-256", SHA256)),
        ({"shasum": SHA1}, digest("sha-1", SHA1)),
        ({"integrity": "sha3-abc", "shasum": SHA1}, digest("sha-1", SHA1)),
        ({"integrity": "sha512-!!", "shasum": "?"}, ()),
        ({}, ()),
    ],
)
def test_what_a_packument_says_about_a_tarball(dist: dict[str, str], found: tuple[Digest, ...]) -> None:
    other = {"integrity": sri("sha512", b"y"), "tarball": "https://r.test/x/-/x-1.0.1.tgz"}
    body = {
        "versions": {"1.0.1": {"dist": other}, "1.0.0": {"dist": {"tarball": "https://r.test/x/-/x-1.0.0.tgz", **dist}}}
    }
    assert promised_by(DigestSource.NPM, "/x/-/x-1.0.0.tgz", json.dumps(body).encode()) == found


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"versions": []}', b'{"versions": {"1": {}}}', b"<html>"])
def test_what_is_no_packument_says_nothing(body: bytes) -> None:
    assert promised_by(DigestSource.NPM, "/x/-/x-1.0.0.tgz", body) == ()
