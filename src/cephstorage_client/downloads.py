"""Downloading a key through its published URL: resumed after a break, verified, and only then given its name.

What is shown under the target's name is always a whole, verified version; a broken or wrong download
leaves nothing behind.
"""

import hashlib
import os
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import httpx

from cephstorage_client.connection import api_error
from cephstorage_client.errors import (
    ApiError,
    ClientError,
    DownloadInterrupted,
    ServiceUnreachable,
    VerificationFailed,
)
from cephstorage_client.shapes.keys import Record
from cephstorage_client.uploads import OnBytes

CHUNK = 1024 * 1024
FUTILE_ATTEMPTS = 8
"""Breaks in a row without one new byte after which a download gives up."""
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(?:\d+|\*)")


class _Broken(Exception):
    """An attempt ended early; the next one goes on from where it stopped."""


class Download:
    """One download into ``sink``. ``read_record`` gives the key's record as it is now, with a fresh URL.

    ``rewindable``: the sink may be emptied and begun again when the key changes on the way.
    """

    def __init__(
        self,
        http: httpx.Client,
        read_record: Callable[[], Record],
        sink: BinaryIO,
        *,
        rewindable: bool,
        on_bytes: OnBytes | None = None,
        attempts: int = FUTILE_ATTEMPTS,
    ) -> None:
        self._http = http
        self._read_record = read_record
        self._sink = sink
        self._rewindable = rewindable
        self._on_bytes = on_bytes
        self._attempts = attempts
        self._record: Record | None = None
        self._position = 0
        self._digest = hashlib.md5(usedforsecurity=False)

    def run(self) -> Record:
        """Fetch every byte and verify them. Raises DownloadInterrupted, VerificationFailed, ApiError."""
        futile = 0
        while True:
            before = self._position
            try:
                return self._attempt()
            except (_Broken, ServiceUnreachable, httpx.TransportError) as error:
                futile = futile + 1 if self._position <= before else 1
                if futile >= self._attempts:
                    said = f"The download broke off at byte {self._position}: {str(error).removesuffix('.')}."
                    raise DownloadInterrupted(said) from error
                time.sleep(min(4.0, 0.1 * 2**futile))

    def _attempt(self) -> Record:
        record = self._current_record()
        if self._position < record["size"] or record["size"] == 0:
            self._stream(record)
        if self._digest.hexdigest() == record["md5"]:
            return record
        if _version(self._read_record()) == _version(record):
            raise VerificationFailed(f"The bytes received for {record['key']!r} do not have its md5 {record['md5']}.")
        raise _Broken("the key was overwritten meanwhile")

    def _current_record(self) -> Record:
        try:
            record = self._read_record()
        except ApiError as error:
            if error.transient:
                raise _Broken(error.msg) from error
            raise
        if self._record is not None and _version(record) != _version(self._record):
            self._restart()
        self._record = record
        return record

    def _restart(self) -> None:
        if self._position == 0:
            return
        if not self._rewindable:
            raise VerificationFailed("The key was overwritten while it was being read; part of it is already written.")
        self._sink.seek(0)
        self._sink.truncate()
        self._position = 0
        self._digest = hashlib.md5(usedforsecurity=False)

    def _stream(self, record: Record) -> None:
        with self._http.stream("GET", _published(record), headers=self._headers(record)) as response:
            self._check(response, record)
            for chunk in response.iter_raw(CHUNK):
                self._take(chunk, record["size"])
        if self._position < record["size"]:
            raise _Broken(f"{self._position} of {record['size']} bytes came")

    def _headers(self, record: Record) -> dict[str, str]:
        """Ask for the rest, under the record's strong validator (RFC 9110 section 13.1.5); else the md5 tells."""
        headers = {"Accept-Encoding": "identity"}
        if self._position:
            headers["Range"] = f"bytes={self._position}-"
            if (etag := record["etag"]) and etag.startswith('"'):
                headers["If-Range"] = etag
        return headers

    def _check(self, response: httpx.Response, record: Record) -> None:
        if response.status_code not in {200, 206}:
            response.read()
            error = api_error(response)
            if error.transient or error.status == 416:
                raise _Broken(error.msg)
            raise error
        answered = response.headers.get("etag")
        if answered and record["etag"] and answered != record["etag"]:
            raise _Broken("the key was overwritten meanwhile")
        if response.status_code == 200:
            self._restart()
        elif (found := _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))) is None or int(
            found[1]
        ) != self._position:
            raise _Broken("the answer is not the range that was asked for")

    def _take(self, chunk: bytes, size: int) -> None:
        if self._position + len(chunk) > size:
            raise VerificationFailed(f"More than the {size} bytes of the record came.")
        self._sink.write(chunk)
        self._digest.update(chunk)
        self._position += len(chunk)
        if self._on_bytes:
            self._on_bytes(self._position, size)


def _version(record: Record) -> tuple[int, str, int]:
    return record["generation"], record["md5"], record["size"]


def _published(record: Record) -> str:
    url = record.get("url")
    if not url:
        raise ClientError(f"The record of {record['key']!r} has no published URL.")
    return url


def download_to_file(
    http: httpx.Client, read_record: Callable[[], Record], target: Path, on_bytes: OnBytes | None = None
) -> Record:
    """Download to ``target``: into a file beside it, which takes its name when it is whole and durable."""
    part = target.parent / f".cephstorage-{secrets.token_hex(8)}.part"
    try:
        with part.open("xb") as file:
            record = Download(http, read_record, file, rewindable=True, on_bytes=on_bytes).run()
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return record
