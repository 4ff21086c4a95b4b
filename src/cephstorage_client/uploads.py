"""Reading what is to be uploaded: the md5 in one pass beforehand, then the bytes as they are sent."""

import base64
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from cephstorage_client.errors import ClientError, InvalidArgument

CHUNK = 256 * 1024
OnBytes = Callable[[int, int | None], None]
"""Called with (bytes done, bytes in all or None)."""


def file_md5(path: Path) -> str:
    """The md5 of a file's bytes, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def content_md5(md5: str) -> str:
    """An md5 in hex as the value of Content-MD5 (RFC 1864). Raises InvalidArgument."""
    try:
        value = bytes.fromhex(md5)
    except ValueError:
        value = b""
    if len(value) != 16:
        raise InvalidArgument(f"{md5!r} is not an md5: it has 32 hex digits.")
    return base64.b64encode(value).decode()


def chunks_of(file: BinaryIO, size: int | None, on_bytes: OnBytes | None = None) -> Iterator[bytes]:
    """Read a stream piece by piece, ``size`` bytes of it (None: to its end).

    Raises ClientError when a file turns out shorter than announced: it changed while it was being read.
    """
    done = 0
    while size is None or done < size:
        chunk = file.read(CHUNK if size is None else min(CHUNK, size - done))
        if not chunk:
            break
        yield chunk
        done += len(chunk)
        if on_bytes:
            on_bytes(done, size)
    if size is not None and done < size:
        raise ClientError(f"The file shrank from {size} to {done} bytes while it was being read.")
