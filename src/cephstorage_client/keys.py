"""Calls about keys and buckets: upload, record, download, listing, deletion."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Unpack, cast

from cephstorage_client.connection import LANDING_TIMEOUT, Connection, bucket_path, given, key_path
from cephstorage_client.downloads import Download, download_to_file
from cephstorage_client.errors import ApiError
from cephstorage_client.names import encode_segment
from cephstorage_client.shapes.buckets import Bucket, Lifecycle
from cephstorage_client.shapes.keys import Folder, FolderUsage, KeyOptions, ListOptions, Page, Record, TrashedRecord
from cephstorage_client.uploads import OnBytes, chunks_of, content_md5, file_md5


class KeyCalls(Connection):
    """Keys and buckets of a tenant. Every method raises ApiError and ServiceUnreachable."""

    def put_file(
        self,
        username: str,
        bucketname: str,
        key: str,
        path: Path,
        *,
        checksum: bool = True,
        on_bytes: OnBytes | None = None,
        **options: Unpack[KeyOptions],
    ) -> Record:
        """Upload a file. Its md5 is computed first and sent along, unless it is given or ``checksum`` is False.

        A pipe or a device is read once, to its end: what it holds is not known before.
        """
        regular = path.is_file()
        if checksum and regular and not options.get("md5"):
            options["md5"] = file_md5(path)
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size if regular else None
            return self.put_stream(username, bucketname, key, chunks_of(file, size, on_bytes), size=size, **options)

    def put_stream(
        self,
        username: str,
        bucketname: str,
        key: str,
        chunks: Iterable[bytes],
        *,
        size: int | None = None,
        **options: Unpack[KeyOptions],
    ) -> Record:
        """Upload chunks of ``size`` bytes in all; when the size is not known they travel chunked."""
        md5 = options.get("md5")
        headers = {
            "Content-Type": options.get("content_type"),
            "Content-Length": None if size is None else str(size),
            "Content-MD5": content_md5(md5) if md5 else None,
            **{f"x-amz-meta-{name}": value for name, value in (options.get("metadata") or {}).items()},
        }
        answer = self._call(
            "PUT",
            key_path(username, bucketname, key),
            content=chunks,
            headers=given(headers),
            params={name: options.get(name) for name in ("timetag", "if_absent", "if_match", "expires")},
            timeout=LANDING_TIMEOUT,
        )
        return cast("Record", answer)

    def record(self, username: str, bucketname: str, key: str, *, expires_in: int | None = None) -> Record:
        """A key's record with its published ``url``, valid for ``expires_in`` seconds."""
        answer = self._call("GET", key_path(username, bucketname, key), params={"expires_in": expires_in})
        return cast("Record", answer)

    def exists(self, username: str, bucketname: str, key: str) -> bool:
        """Whether the key exists."""
        try:
            self._send("HEAD", key_path(username, bucketname, key))
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    def delete_key(self, username: str, bucketname: str, key: str) -> None:
        """Delete a key."""
        self._call("DELETE", key_path(username, bucketname, key))

    def get_file(
        self, username: str, bucketname: str, key: str, target: Path, *, on_bytes: OnBytes | None = None
    ) -> Record:
        """Download a key to a file, which appears whole and verified or not at all.

        Raises DownloadInterrupted, VerificationFailed and OSError too.
        """
        return download_to_file(self._http, lambda: self.record(username, bucketname, key), target, on_bytes)

    def get_stream(
        self, username: str, bucketname: str, key: str, sink: BinaryIO, *, on_bytes: OnBytes | None = None
    ) -> Record:
        """Download a key into a stream. The md5 is known to be right only when this returns.

        Raises DownloadInterrupted, VerificationFailed and OSError too.
        """
        return Download(
            self._http, lambda: self.record(username, bucketname, key), sink, rewindable=False, on_bytes=on_bytes
        ).run()

    def page(
        self, username: str, bucketname: str, *, cursor: str | None = None, **options: Unpack[ListOptions]
    ) -> Page:
        """One page of a listing, from ``cursor`` on."""
        path = f"{bucket_path(username, bucketname)}/keys"
        return cast("Page", self._call("GET", path, params={**options, "cursor": cursor}))

    def pages(self, username: str, bucketname: str, **options: Unpack[ListOptions]) -> Iterator[Page]:
        """Every page of a listing, each fetched when it is asked for."""
        yield from cast("Iterator[Page]", self._pages(f"{bucket_path(username, bucketname)}/keys", options))

    def records(self, username: str, bucketname: str, **options: Unpack[ListOptions]) -> Iterator[Record]:
        """Every record that a listing shows, in byte order of the keys."""
        for page in self.pages(username, bucketname, **options):
            yield from page["keys"]

    def usage(
        self, username: str, bucketname: str, vfolder: str = "", *, cursor: str | None = None, limit: int | None = None
    ) -> FolderUsage:
        """What a folder holds, and a page of what its sub-folders hold."""
        params = {"vfolder": vfolder, "cursor": cursor, "limit": limit}
        return cast("FolderUsage", self._call("GET", f"{bucket_path(username, bucketname)}/folders", params=params))

    def folders(self, username: str, bucketname: str, vfolder: str = "") -> Iterator[Folder]:
        """Every direct sub-folder with what it holds."""
        for page in self._pages(f"{bucket_path(username, bucketname)}/folders", {"vfolder": vfolder}):
            yield from cast("list[Folder]", page["vfolders"])

    def buckets(self, username: str) -> list[Bucket]:
        """A tenant's buckets with their usage."""
        return cast("list[Bucket]", self._call("GET", f"/ceph/{encode_segment(username)}")["buckets"])

    def bucket(self, username: str, bucketname: str) -> Bucket:
        """A bucket and its usage."""
        return cast("Bucket", self._call("GET", bucket_path(username, bucketname)))

    def create_bucket(self, username: str, bucketname: str) -> Bucket:
        """Create tenant and bucket where they are missing."""
        return cast("Bucket", self._call("PUT", bucket_path(username, bucketname)))

    def lifecycle(self, username: str, bucketname: str) -> Lifecycle:
        """How long a bucket's keys live."""
        return cast("Lifecycle", self._call("GET", f"{bucket_path(username, bucketname)}/lifecycle"))

    def set_lifecycle(self, username: str, bucketname: str, lifecycle: Lifecycle) -> Lifecycle:
        """Replace it."""
        answer = self._call("PUT", f"{bucket_path(username, bucketname)}/lifecycle", json=lifecycle)
        return cast("Lifecycle", answer)

    def trash(self, username: str, bucketname: str, prefix: str | None = None) -> Iterator[TrashedRecord]:
        """Every version in a bucket's trash, by key and generation."""
        for page in self._pages(f"{bucket_path(username, bucketname)}/trash", {"prefix": prefix}):
            yield from cast("list[TrashedRecord]", page["versions"])

    def restore_key(
        self, username: str, bucketname: str, key: str, *, generation: int | None = None, over: bool = False
    ) -> Record:
        """Make a version in the trash visible again (None: the newest), ``over`` a key that is there if need be."""
        wish = given({"key": key, "generation": generation, "over": over})
        return cast("Record", self._call("POST", f"{bucket_path(username, bucketname)}/trash/restore", json=wish))

    def empty_trash(
        self, username: str, bucketname: str, key: str | None = None, *, generation: int | None = None
    ) -> int:
        """Remove versions in the trash for good: all, or those of a key; how many."""
        params = {"key": key, "generation": generation}
        path = f"{bucket_path(username, bucketname)}/trash"
        answer = self._call("DELETE", path, params=params, timeout=LANDING_TIMEOUT)  # millions are marked in steps
        return int(answer["versions"])

    def delete_bucket(self, username: str, bucketname: str) -> None:
        """Delete an empty bucket."""
        self._call("DELETE", bucket_path(username, bucketname))
