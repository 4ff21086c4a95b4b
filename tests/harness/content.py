"""Deterministic bodies of any size that nobody has to hold in memory.

A body is made of 64 KiB blocks. Each block is the same random block, rotated by an amount that
depends on its number, so that a shifted, swapped or repeated block changes the bytes, and any piece
is a memory view: nothing is copied to produce it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

BLOCK = 64 * 1024
MIB = 1024 * 1024


@dataclass(frozen=True)
class Content:
    """``size`` bytes that depend on ``seed`` only; a longer body of one seed begins with the shorter one."""

    seed: int
    size: int

    def __len__(self) -> int:
        return self.size

    def views(self, start: int, end: int) -> Iterator[memoryview]:
        """The bytes ``[start, end)`` as views of at most 64 KiB."""
        doubled = _doubled_block(self.seed)
        position, end = start, min(end, self.size)
        while position < end:
            number, offset = divmod(position, BLOCK)
            length = min(BLOCK - offset, end - position)
            begin = _rotation(number) + offset
            yield doubled[begin : begin + length]
            position += length

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        """The bytes ``[start, end)``; by default all of them."""
        return b"".join(self.views(start, self.size if end is None else end))

    @property
    def md5(self) -> str:
        """Hex md5 of the whole; computed once."""
        return _hexdigest(self, "md5")

    @property
    def sha256(self) -> str:
        """Hex sha256 of the whole; computed once."""
        return _hexdigest(self, "sha256")


@dataclass(frozen=True)
class Literal:
    """Given bytes behind the same interface."""

    data: bytes

    def __len__(self) -> int:
        return len(self.data)

    def views(self, start: int, end: int) -> Iterator[memoryview]:
        """The bytes ``[start, end)`` as one view."""
        if start < end:
            yield memoryview(self.data)[start:end]


Body = Content | Literal


def as_body(body: "bytes | Body") -> Body:
    """Bytes wrapped; a body as it is."""
    return Literal(body) if isinstance(body, bytes) else body


def pattern(seed: int, size: int) -> bytes:
    """The bytes of ``Content(seed, size)``."""
    return Content(seed, size).read()


@lru_cache(maxsize=32)
def _doubled_block(seed: int) -> memoryview:
    block = hashlib.shake_256(f"body {seed}".encode()).digest(BLOCK)
    return memoryview(block + block)


def _rotation(number: int) -> int:
    """A bijection of 16-bit block numbers that is far from linear, so that no constant shift maps blocks on blocks."""
    mixed = (number + (number >> 16) * 12345 + 1) * 0x9E3B & 0xFFFF
    mixed ^= mixed >> 7
    mixed = mixed * 0x6A6D & 0xFFFF
    return mixed ^ mixed >> 9


@lru_cache(maxsize=256)
def _hexdigest(content: Content, algorithm: str) -> str:
    digest = hashlib.new(algorithm)
    for view in content.views(0, content.size):
        digest.update(view)
    return digest.hexdigest()
