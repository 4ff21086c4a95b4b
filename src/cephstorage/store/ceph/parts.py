"""A spool file on its way into the gateway: whole, or as parts that survive the process that sent them.

A part counts as sent when the gateway lists it with the size and md5 that the spool has there. So whoever
goes on, in this process or another, sends only what is missing, and trusts nothing but the bytes.
"""

import asyncio
import base64
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from cephstorage.domain.errors import StoreUnavailable
from cephstorage.files import read_now
from cephstorage.store.ceph.s3 import S3, ListedPart

MIB = 1 << 20
LEAST_PART = 8 * MIB
MOST_PARTS = 10_000
AT_A_TIME = 4
_PIECE = 256 * 1024
_HASHED_AT_ONCE = MIB


def part_size(size: int) -> int:
    """Bytes of each part but the last: few enough parts for S3, whole MiBs."""
    needed = -(-size // MOST_PARTS)
    return max(LEAST_PART, -(-needed // MIB) * MIB)


class SpoolFile:
    """An open spool file of a known size. Raises StoreUnavailable when it is gone or has another size."""

    def __init__(self, path: Path, size: int) -> None:
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise StoreUnavailable(f"The spool file {path.name} can't be read: {error.strerror}.") from error
        self.size = os.fstat(self._fd).st_size
        if self.size != size:
            self.close()
            raise StoreUnavailable(f"The spool file {path.name} has {self.size} bytes where {size} were expected.")

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)

    async def read(self, position: int, size: int) -> bytes | bytearray:
        """Bytes, from memory or by a thread."""
        piece = read_now(self._fd, position, size) or await asyncio.to_thread(os.pread, self._fd, size, position)
        if not piece:
            raise StoreUnavailable("The spool file ends before its length.")
        return piece

    def md5(self, position: int, size: int) -> str:
        """The md5 of a stretch, in hex. Blocks: for a thread."""
        digest, end = hashlib.md5(usedforsecurity=False), position + size
        while position < end:
            piece = os.pread(self._fd, min(_HASHED_AT_ONCE, end - position), position)
            if not piece:
                raise StoreUnavailable("The spool file ends before its length.")
            digest.update(piece)
            position += len(piece)
        return digest.hexdigest()


def content_md5(md5: str) -> str:
    """Content-MD5 (RFC 1864) of a hex digest."""
    return base64.b64encode(bytes.fromhex(md5)).decode()


class Stretch:
    """A stretch of a spool file as the body of one request.

    The HTTP client sends a PUT again by itself when it finds a kept connection dead. Here nobody would learn
    that the first one may have stored something, so that a body is given once.
    """

    def __init__(self, file: SpoolFile, position: int, size: int) -> None:
        self.size = size
        self.on_piece: Callable[[], None] = _nothing
        self._file = file
        self._position = position
        self._given = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._given:
            raise StoreUnavailable("The connection to the Ceph gateway broke while bytes were sent.")
        self._given = True
        position, end = self._position, self._position + self.size
        while position < end:
            piece = await self._file.read(position, min(_PIECE, end - position))
            yield bytes(piece)
            position += len(piece)
            self.on_piece()


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class PartedUpload:
    """One upload of parts of a spool file."""

    s3: S3
    bucket: str
    key: str
    upload: str
    file: SpoolFile

    async def send_missing(self, there: list[ListedPart]) -> list[str]:
        """Send the parts that the gateway lacks, a few at a time; the ETags of all in order."""
        known = {part.number: part for part in there}
        size = part_size(self.file.size)
        starts = range(0, self.file.size, size)
        etags = [""] * len(starts)
        waiting = iter(enumerate(starts))

        async def work() -> None:
            for index, start in waiting:
                length = min(size, self.file.size - start)
                etags[index] = await self._send_part(index + 1, start, length, known.get(index + 1))

        async with asyncio.TaskGroup() as group:
            for _ in range(min(AT_A_TIME, len(starts))):
                group.create_task(work())
        return etags

    async def _send_part(self, number: int, start: int, length: int, there: ListedPart | None) -> str:
        md5 = await asyncio.to_thread(self.file.md5, start, length)
        if there is not None and (there.size, there.etag) == (length, md5):
            return md5
        body = Stretch(self.file, start, length)
        answer = await self.s3.put_part(self.bucket, self.key, self.upload, number, body, content_md5(md5))
        if (etag := answer.headers.get("etag", "").strip('"')) != md5:
            raise StoreUnavailable(f"The Ceph gateway stored part {number} with the md5 {etag} instead of {md5}.")
        return md5
