"""The SHA256 of each file that a Debian ``Packages`` index names (deb822), packed or not. Bounded and pure."""

import hashlib
from collections.abc import Mapping

from cephstorage.domain.indexes import MOST_BYTES, Unpacked
from cephstorage.domain.jobs import Item, ItemKind

_LONGEST_LINE = 64 << 10
_HEX = frozenset(b"0123456789abcdef")


def packages_digests(target: str, body: bytes, most: int) -> Mapping[bytes, bytes]:
    """Digests by ``path_name`` of the path at the mirror; at most ``most``. Raises InvalidIndex."""
    reader = _Digests(target, most)
    unpacked = Unpacked(reader, MOST_BYTES[ItemKind.PACKAGES])
    for start in range(0, len(body), 1 << 20):
        unpacked.feed(body[start : start + (1 << 20)])
    unpacked.close()
    return reader.found


def path_name(path: str) -> bytes:
    """A short name for a path: an index has tens of thousands of them."""
    return hashlib.blake2b(path.encode(), digest_size=12).digest()


class _Digests:
    """Fed an index, notes the digest of each paragraph's file. Lines that are too long say nothing."""

    def __init__(self, target: str, most: int) -> None:
        head, dists, _ = target.partition("?")[0].rpartition("/dists/")
        self._root = head if dists else target.rpartition("/")[0]
        self._most = most
        self._rest = b""
        self._file = self._digest = b""
        self.found: dict[bytes, bytes] = {}

    def feed(self, data: bytes) -> None:
        """See ``indexes.IndexReader.feed``."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[:_LONGEST_LINE]
        for line in lines:
            self._line(line)

    def close(self) -> tuple[Item, ...]:
        """The index ends."""
        self._line(self._rest)
        self._line(b"")
        return ()

    def _line(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"Filename":
            self._file = value.strip().removeprefix(b"./")
        elif name == b"SHA256":
            self._digest = value.strip().lower()
        elif not line.strip():
            if self._file and len(self._digest) == 64 and set(self._digest) <= _HEX and len(self.found) < self._most:
                path = f"{self._root}/{self._file.decode('utf-8', 'replace').lstrip('/')}"
                self.found[path_name(path)] = bytes.fromhex(self._digest.decode())
            self._file = self._digest = b""
