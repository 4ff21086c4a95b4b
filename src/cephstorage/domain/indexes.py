"""Indexes that name what a mirror has: sitemaps, Debian's ``Packages``, folder listings in HTML. Pure and bounded.

Each reader is fed the bytes as they come, holds no more than one line, tag or element of them, and stops
listening after ``most`` names. Names that lead elsewhere are left out: only this mirror is warmed.
"""

import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Protocol
from urllib.parse import urljoin, urlsplit
from xml.parsers import expat

from cephstorage.domain.errors import InvalidIndex
from cephstorage.domain.jobs import Item, ItemKind
from cephstorage.domain.mirrors import Mirror

MOST_BYTES = {
    ItemKind.SITEMAP: 64 << 20,
    ItemKind.PACKAGES: 1 << 30,
    ItemKind.FOLDER: 16 << 20,
}
"""Bytes that an index may have when it is unpacked. A sitemap has 50 MiB at most (sitemaps.org, protocol)."""
_LONGEST_LINE = 64 << 10
_PIECE = 1 << 20
_SAFE = re.compile(r"[\x21-\x7e]+")


class IndexReader(Protocol):
    """Reads one index."""

    def feed(self, data: bytes) -> None:
        """More bytes of it. Raises InvalidIndex."""
        ...

    def close(self) -> tuple[Item, ...]:
        """The items it names, in its order, each once. Raises InvalidIndex when it is cut short."""
        ...


def mirror_target(mirror: Mirror, url: str) -> str | None:
    """The target at the mirror of a URL on the mirror's host or its origin, or of a path; None for another host's."""
    url = url.strip().partition("#")[0]
    if url.startswith("/") and not url.startswith("//"):
        return url
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"}:
        return None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if parts.hostname == mirror.host:
        return path
    for origin in (urlsplit(server.url) for server in mirror.servers):
        if (parts.hostname, parts.port) == (origin.hostname, origin.port) and path.startswith(f"{origin.path}/"):
            return path.removeprefix(origin.path)
    return None


class _Names:
    """What was found so far: each target once, at most ``most``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: dict[str, Item] = {}

    def add(self, kind: ItemKind, target: str | None, depth: int = 0) -> None:
        if target is not None and len(self._found) < self._most and _SAFE.fullmatch(target):
            self._found.setdefault(target, Item(kind, target, depth))

    def all(self) -> tuple[Item, ...]:
        return tuple(self._found.values())


class Sitemap:
    """A sitemap, or an index of sitemaps (sitemaps.org). A document type, and with it any entity, is refused."""

    def __init__(self, mirror: Mirror, depth: int, most: int) -> None:
        self._mirror = mirror
        self._depth = depth
        self._names = _Names(most)
        self._path: list[str] = []
        self._text: list[str] = []
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._data
        self._parser.StartDoctypeDeclHandler = self._refuse

    def _refuse(self, *_: object) -> None:
        raise InvalidIndex("The sitemap has a document type, which could name entities; it is not read.")

    def _start(self, name: str, _: object) -> None:
        self._path.append(name.rpartition(" ")[2])
        if len(self._path) == 1 and self._path[0] not in {"urlset", "sitemapindex"}:
            raise InvalidIndex(f"The document is no sitemap: it begins with <{self._path[0]}>.")
        self._text.clear()

    def _data(self, data: str) -> None:
        if self._path[-1] == "loc" and sum(map(len, self._text)) < _LONGEST_LINE:
            self._text.append(data)

    def _end(self, _: str) -> None:
        if self._path in (["urlset", "url", "loc"], ["sitemapindex", "sitemap", "loc"]):
            target = mirror_target(self._mirror, "".join(self._text))
            if self._path[0] == "urlset":
                self._names.add(ItemKind.OBJECT, target)
            elif self._depth > 0:
                self._names.add(ItemKind.SITEMAP, target, self._depth - 1)
        self._path.pop()

    def feed(self, data: bytes) -> None:
        """See ``IndexReader.feed``."""
        self._parse(data, final=False)

    def close(self) -> tuple[Item, ...]:
        """See ``IndexReader.close``."""
        self._parse(b"", final=True)
        return self._names.all()

    def _parse(self, data: bytes, *, final: bool) -> None:
        try:
            self._parser.Parse(data, final)
        except expat.ExpatError as error:
            raise InvalidIndex(f"The sitemap is no XML: {error}.") from error


class Packages:
    """A Debian ``Packages`` index (deb822): the ``Filename`` of each paragraph, below the archive's root."""

    def __init__(self, target: str, most: int) -> None:
        path = target.partition("?")[0]
        head, dists, _ = path.rpartition("/dists/")
        self._root = head if dists else path.rpartition("/")[0]
        self._names = _Names(most)
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """See ``IndexReader.feed``."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            raise InvalidIndex("The Packages index has a line without end.")
        for line in lines:
            self._line(line)

    def _line(self, line: bytes) -> None:
        name, colon, value = line.partition(b":")
        if colon and name.lower() == b"filename":
            path = value.decode("utf-8", "replace").strip().removeprefix("./")
            if path and ".." not in path.split("/"):
                self._names.add(ItemKind.OBJECT, f"{self._root}/{path.lstrip('/')}")

    def close(self) -> tuple[Item, ...]:
        """See ``IndexReader.close``."""
        self._line(self._rest)
        return self._names.all()


class Folder(HTMLParser):
    """A folder's page as web servers write it: the links that lead further down from it."""

    def __init__(self, mirror: Mirror, target: str, depth: int, most: int) -> None:
        super().__init__(convert_charrefs=True)
        path = target.partition("?")[0]
        self._folder = path[: path.rindex("/") + 1]
        self._base = f"http://{mirror.host}{target}"
        self._mirror = mirror
        self._depth = depth
        self._names = _Names(most)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a link. Those with a query sort the page."""
        link = dict(attrs).get("href") if tag == "a" else None
        if not link or "?" in link:
            return
        try:
            target = mirror_target(self._mirror, urljoin(self._base, link))
        except ValueError:  # a link that is no URL
            return
        if target is None or not target.startswith(self._folder) or target == self._folder or ".." in target.split("/"):
            return
        if not target.endswith("/"):
            self._names.add(ItemKind.OBJECT, target)
        elif self._depth > 0:
            self._names.add(ItemKind.FOLDER, target, self._depth - 1)

    def feed(self, data: bytes | str) -> None:
        """See ``IndexReader.feed``."""
        super().feed(data if isinstance(data, str) else data.decode("utf-8", "replace"))
        if len(self.rawdata) > _LONGEST_LINE:
            raise InvalidIndex("The folder's page has a tag without end.")

    def close(self) -> tuple[Item, ...]:  # type: ignore[override]
        """See ``IndexReader.close``."""
        super().close()
        return self._names.all()


class Unpacked:
    """Another reader's bytes, unpacked if they are packed (gzip, xz, bzip2; told by how they begin), at most ``most``."""

    def __init__(self, reader: IndexReader, most: int) -> None:
        self._reader = reader
        self._left = most
        self._unpack: Callable[[bytes], Iterator[bytes]] | None = None
        self._begun = b""

    def feed(self, data: bytes) -> None:
        """See ``IndexReader.feed``."""
        if self._unpack is None:
            self._begun += data
            if len(self._begun) < 6:
                return
            data = self._begin()
        assert self._unpack is not None
        self._pass_on(data)

    def _begin(self) -> bytes:
        data, self._begun = self._begun, b""
        self._unpack = _unpacker(data)
        return data

    def _pass_on(self, data: bytes) -> None:
        assert self._unpack is not None
        try:
            for piece in self._unpack(data):
                self._left -= len(piece)
                if self._left < 0:
                    raise InvalidIndex("The index is larger than such an index may be.")
                self._reader.feed(piece)
        except (zlib.error, lzma.LZMAError, OSError) as error:
            raise InvalidIndex(f"The index can't be unpacked: {error}.") from error

    def close(self) -> tuple[Item, ...]:
        """See ``IndexReader.close``."""
        if self._unpack is None and self._begun:
            self._pass_on(self._begin())
        return self._reader.close()


def _unpacker(data: bytes) -> Callable[[bytes], Iterator[bytes]]:
    if data.startswith(b"\x1f\x8b"):
        return _Gzip()
    if data.startswith(b"\xfd7zXZ\0"):
        return _Pieces(lzma.LZMADecompressor(memlimit=256 << 20))
    if data.startswith(b"BZh"):
        return _Pieces(bz2.BZ2Decompressor())
    return lambda plain: iter((plain,))


class _Gzip:
    """gzip in pieces of bounded size, however well it was packed. What follows the first member is left."""

    def __init__(self) -> None:
        self._unpacker = zlib.decompressobj(wbits=31)

    def __call__(self, data: bytes) -> Iterator[bytes]:
        while data and not self._unpacker.eof:
            yield self._unpacker.decompress(data, _PIECE)
            data = self._unpacker.unconsumed_tail


class _Pieces:
    """xz and bzip2 likewise."""

    def __init__(self, unpacker: lzma.LZMADecompressor | bz2.BZ2Decompressor) -> None:
        self._unpacker = unpacker

    def __call__(self, data: bytes) -> Iterator[bytes]:
        while not self._unpacker.eof:
            yield self._unpacker.decompress(data, _PIECE)
            data = b""
            if self._unpacker.needs_input:
                return


def reader_of(item: Item, mirror: Mirror, most: int) -> IndexReader:
    """The reader for an item that is an index."""
    readers: dict[ItemKind, Callable[[], IndexReader]] = {
        ItemKind.SITEMAP: lambda: Sitemap(mirror, item.depth, most),
        ItemKind.PACKAGES: lambda: Packages(item.target, most),
        ItemKind.FOLDER: lambda: Folder(mirror, item.target, item.depth, most),
    }
    return Unpacked(readers[item.kind](), MOST_BYTES[item.kind])
