"""What a Packages index says of its files: packed or not, cut anywhere, bounded."""

import bz2
import gzip
import hashlib
import lzma

import pytest

from cephstorage.domain.errors import InvalidIndex
from cephstorage.domain.package_digests import packages_digests, path_name

GOOD, OTHER = (hashlib.sha256(data).hexdigest() for data in (b"x", b"y"))
TARGET = "/debian/dists/x/main/binary-all/Packages"
TEXT = (
    f"Package: a\nFilename: pool/a.deb\nSHA256: {GOOD}\nDescription: Filename: none\n  SHA256: {OTHER}\n\n"
    f"Package: b\nSHA256: {OTHER.upper()}\nFilename: ./pool/b.deb\n\n"
    f"Package: no digest\nFilename: pool/c.deb\n\n"
    f"Package: half a digest\nFilename: pool/d.deb\nSHA256: {GOOD[:-2]}\n\n"
    f"Package: no digits\nFilename: pool/e.deb\nSHA256: {'g' * 64}\n\n"
    f"Package: last\nFilename: pool/f.deb\nSHA256: {GOOD}"
).encode()
FOUND = {"pool/a.deb": GOOD, "pool/b.deb": OTHER, "pool/f.deb": GOOD}


def named(root: str, found: dict[str, str]) -> dict[bytes, bytes]:
    return {path_name(f"{root}/{path}"): bytes.fromhex(value) for path, value in found.items()}


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress, bz2.compress])
def test_the_digest_of_each_file(pack: type[bytes]) -> None:
    assert packages_digests(TARGET, pack(TEXT), 100) == named("/debian", FOUND)


@pytest.mark.parametrize(
    ("target", "root"), [("/dists/x/Packages", ""), ("/flat/Packages.xz", "/flat"), ("/Packages", "")]
)
def test_paths_are_below_the_archive(target: str, root: str) -> None:
    assert packages_digests(target, TEXT, 100) == named(root, FOUND)


def test_no_more_than_so_many() -> None:
    assert packages_digests(TARGET, TEXT, 1) == named("/debian", {"pool/a.deb": GOOD})


def test_other_things_say_nothing() -> None:
    assert packages_digests(TARGET, b"", 100) == {}
    assert packages_digests(TARGET, b"x" * 300_000 + b"\n<html>", 100) == {}
    with pytest.raises(InvalidIndex):
        packages_digests(TARGET, gzip.compress(TEXT)[:20] + b"broken" * 10, 100)
