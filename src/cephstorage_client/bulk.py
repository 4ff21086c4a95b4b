"""Calls about many keys at once: deletion in the background, export and import of listings."""

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

import httpx

from cephstorage_client.connection import Connection, api_error, bucket_path, given, unreachable
from cephstorage_client.names import encode_segment
from cephstorage_client.shapes.background import Deletion
from cephstorage_client.shapes.keys import ImportReport, Record
from cephstorage_client.waiting import until_ended

_LANDING = 3600.0
_PIECE = 1000


class BulkCalls(Connection):
    """Many keys at once. Every method raises ApiError and ServiceUnreachable."""

    def delete_keys(
        self,
        username: str,
        bucketname: str,
        *,
        keys: Sequence[str] | None = None,
        prefix: str | None = None,
        vfolder: str | None = None,
        everything: bool = False,
    ) -> Deletion:
        """Have many keys deleted in the background, as they are now."""
        wish = given({"keys": keys, "prefix": prefix, "vfolder": vfolder, "all": everything})
        return cast("Deletion", self._call("POST", f"{bucket_path(username, bucketname)}/deletions", json=wish))

    def deletion(self, username: str, bucketname: str, name: str) -> Deletion:
        """How far a deletion is."""
        return cast("Deletion", self._call("GET", self._deletion_path(username, bucketname, name)))

    def deletions(self, username: str, bucketname: str) -> list[Deletion]:
        """The newest deletions of a bucket."""
        answer = self._call("GET", f"{bucket_path(username, bucketname)}/deletions")
        return cast("list[Deletion]", answer["deletions"])

    def cancel_deletion(self, username: str, bucketname: str, name: str) -> Deletion:
        """Stop a deletion."""
        return cast("Deletion", self._call("DELETE", self._deletion_path(username, bucketname, name)))

    def wait_for_deletion(
        self,
        username: str,
        bucketname: str,
        name: str,
        *,
        on_progress: Callable[[Deletion], None] | None = None,
        interval: float = 0.2,
        patience: float = 60.0,
    ) -> Deletion:
        """Poll until a deletion has ended. A service that is away for less than ``patience`` seconds is waited for."""
        return until_ended(
            lambda: self.deletion(username, bucketname, name),
            f"deletion {name}",
            on_progress=on_progress,
            interval=interval,
            longest_interval=interval,
            patience=patience,
        )

    def export(
        self,
        username: str,
        bucketname: str,
        *,
        vfolder: str = "",
        prefix: str = "",
        urls: bool = False,
        expires_in: int | None = None,
    ) -> Iterator[Record]:
        """Every record, in byte order of the keys, as it arrives."""
        params = {"vfolder": vfolder, "prefix": prefix, "urls": urls, "expires_in": expires_in}
        request = self._request("GET", f"{bucket_path(username, bucketname)}/export", params=params)
        try:
            with contextlib.closing(self._http.send(request, stream=True)) as answer:
                if not answer.is_success:
                    answer.read()
                    raise api_error(answer)
                for line in _lines(answer.iter_bytes()):
                    yield cast("Record", json.loads(line))
        except httpx.HTTPError as error:
            raise unreachable(self.base_url, error) from error

    def import_records(self, username: str, bucketname: str, lines: Iterable[bytes]) -> ImportReport:
        """Have keys created from the lines of an export with addresses, or of ``key_url`` and ``key_name``."""
        path = f"{bucket_path(username, bucketname)}/import"
        headers = {"Content-Type": "application/x-ndjson"}
        report = self._call("POST", path, content=_joined(lines), headers=headers, timeout=_LANDING)
        return cast("ImportReport", report)

    def _deletion_path(self, username: str, bucketname: str, name: str) -> str:
        return f"{bucket_path(username, bucketname)}/deletions/{encode_segment(name)}"


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Lines of JSON, which end with LF alone: a text in them may hold what else ends a line by Unicode."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
    if rest:
        yield rest


def _joined(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Lines in pieces that are worth sending."""
    piece: list[bytes] = []
    for line in lines:
        piece.append(line.rstrip(b"\n") + b"\n")
        if len(piece) >= _PIECE:
            yield b"".join(piece)
            piece.clear()
    yield b"".join(piece)
