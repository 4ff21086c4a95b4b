"""Indexes are read in pieces of any size, within bounds, and name only what this mirror has."""

import bz2
import gzip
import lzma

import pytest

from cephstorage.domain.errors import InvalidIndex
from cephstorage.domain.indexes import IndexReader, Unpacked, mirror_target, reader_of
from cephstorage.domain.jobs import Item, ItemKind
from cephstorage.domain.mirrors import Mirror
from cephstorage.domain.names import BucketName

MIRROR = Mirror("files.example", BucketName("a", "b"), "https://origin.example:8443/pub")
SPACE = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" xmlns:i="http://image.example"'


def read(item: Item, data: bytes, piece: int = 1 << 20, most: int = 1000) -> list[tuple[str, str]]:
    reader = reader_of(item, MIRROR, most)
    return [(found.kind.value, found.target) for found in fed(reader, data, piece)]


def fed(reader: IndexReader, data: bytes, piece: int) -> tuple[Item, ...]:
    for start in range(0, len(data), piece):
        reader.feed(data[start : start + piece])
    return reader.close()


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("/a/b?c=d", "/a/b?c=d"),
        ("http://files.example/a%20b", "/a%20b"),
        ("https://files.example:444", "/"),
        ("https://files.example/a#part", "/a"),
        (" https://origin.example:8443/pub/a?b ", "/a?b"),
        ("https://origin.example:8443/public/a", None),
        ("https://origin.example/pub/a", None),
        ("https://elsewhere.example/a", None),
        ("//elsewhere.example/a", None),
        ("ftp://files.example/a", None),
        ("a/b", None),
        ("", None),
    ],
)
def test_what_a_url_is_at_the_mirror(url: str, target: str | None) -> None:
    assert mirror_target(MIRROR, url) == target


SITEMAP = f"""<?xml version="1.0" encoding="UTF-8"?>
<urlset {SPACE}>
  <url><loc>http://files.example/a?x=1&amp;y=2</loc><i:image><i:loc>http://files.example/no</i:loc></i:image></url>
  <url><loc><![CDATA[ /b ]]></loc><lastmod>2026</lastmod></url>
  <url><loc>http://elsewhere.example/c</loc></url>
  <url><loc>/b</loc></url>
  <loc>/stray</loc>
</urlset>""".encode()


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress, bz2.compress])
def test_a_sitemap_names_objects(pack: object, piece: int) -> None:
    packed = pack(SITEMAP)  # type: ignore[operator]
    assert read(Item(ItemKind.SITEMAP, "/sitemap.xml"), packed, piece) == [("object", "/a?x=1&y=2"), ("object", "/b")]


def test_an_index_of_sitemaps_leads_as_deep_as_it_may() -> None:
    index = f"<sitemapindex {SPACE}><sitemap><loc>/1.xml</loc></sitemap></sitemapindex>".encode()
    assert read(Item(ItemKind.SITEMAP, "/s", 1), index) == [("sitemap", "/1.xml")]
    (found,) = fed(reader_of(Item(ItemKind.SITEMAP, "/s", 1), MIRROR, 9), index, 9)
    assert found.depth == 0
    assert read(Item(ItemKind.SITEMAP, "/s", 0), index) == []


@pytest.mark.parametrize(
    "text",
    [
        b"<!DOCTYPE urlset [<!ENTITY a 'b'>]><urlset><url><loc>/&a;</loc></url></urlset>",
        b"<!DOCTYPE urlset SYSTEM 'file:///etc/passwd'><urlset/>",
        b"<urlset><url><loc>/&undeclared;</loc></url></urlset>",
        b"<html><body/></html>",
        b"<urlset><url>",
        b"",
        b"nothing",
        b"\x1f\x8bnothing",
        gzip.compress(SITEMAP, mtime=0)[:40],
    ],
)
def test_what_is_no_sitemap_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidIndex):
        read(Item(ItemKind.SITEMAP, "/s"), text)


PACKAGES = b"""Package: a
Filename: pool/main/a/a_1%3a0.deb
Size: 5

Package: b
filename: ./pool/b+.deb
Description: one
 Filename: not/this.deb

Package: evil
Filename: pool/../../etc/passwd

Package: last
Filename: pool/last.deb"""


@pytest.mark.parametrize("piece", [1, 13, 1 << 20])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_a_packages_index_names_what_lies_below_the_archives_root(pack: object, piece: int) -> None:
    packed = pack(PACKAGES)  # type: ignore[operator]
    deep = read(Item(ItemKind.PACKAGES, "/debian/dists/stable/main/binary-amd64/Packages.xz"), packed, piece)
    assert [target for _, target in deep] == [
        "/debian/pool/main/a/a_1%3a0.deb",
        "/debian/pool/b+.deb",
        "/debian/pool/last.deb",
    ]
    flat = read(Item(ItemKind.PACKAGES, "/flat/Packages"), packed, piece)
    assert flat[0] == ("object", "/flat/pool/main/a/a_1%3a0.deb")


PAGE = b"""<html><a href="?C=N;O=D">Name</a><a href="/files/">Parent</a><a href='a%20b.txt'>a</a><A HREF=sub/>sub</A>
<a href="http://files.example/files/in/abs">abs</a><a href="https://elsewhere.example/files/in/x">x</a><a>none</a>
<a href="./a%20b.txt#x">again</a><a href="../in2/x">beside</a><a href="http://[broken">broken</a><a href="">self</a>
<img src="pic.png"><a href="&#98;.txt">b</a>"""


@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_a_folders_page_names_what_lies_below_it(piece: int) -> None:
    found = read(Item(ItemKind.FOLDER, "/files/in/", 2), PAGE, piece)
    assert found == [
        ("object", "/files/in/a%20b.txt"),
        ("folder", "/files/in/sub/"),
        ("object", "/files/in/abs"),
        ("object", "/files/in/b.txt"),
    ]
    assert ("folder", "/files/in/sub/") not in read(Item(ItemKind.FOLDER, "/files/in/", 0), PAGE, piece)


def test_no_more_is_kept_than_was_asked_for() -> None:
    text = b"".join(b"Filename: %d\n" % number for number in range(100))
    assert len(read(Item(ItemKind.PACKAGES, "/Packages"), text, most=7)) == 7


class Counting:
    def __init__(self) -> None:
        self.sizes: list[int] = []

    def feed(self, data: bytes) -> None:
        self.sizes.append(len(data))

    def close(self) -> tuple[Item, ...]:
        return ()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress, bz2.compress])
def test_what_unpacks_to_more_than_may_be_is_given_up_in_time(pack: object) -> None:
    reader = Counting()
    with pytest.raises(InvalidIndex):
        fed(Unpacked(reader, 3 << 20), pack(bytes(64 << 20)), 1 << 16)  # type: ignore[operator]
    assert sum(reader.sizes) <= 3 << 20
    assert max(reader.sizes) <= 1 << 20


@pytest.mark.parametrize("kind", [ItemKind.PACKAGES, ItemKind.FOLDER])
def test_a_line_or_tag_without_end_is_refused(kind: ItemKind) -> None:
    with pytest.raises(InvalidIndex):
        read(Item(kind, "/x/"), b"<a " + b"x" * (1 << 20), 1 << 14)
