"""The store on a local disk: the embedded default.

    ROOT/<bucket>/<2 hex>/<sha256 of the key>.<version>        the bytes, nothing else
    ROOT/<bucket>/<2 hex>/<sha256 of the key>.<version>.json   what ``reindex`` needs to rebuild the record

File systems can't hold every key under its own name (``a`` beside ``a/b``, ``..``, 1,024 bytes), so the
name is a hash and the key stands in the side file. Each version is a file of its own: an overwrite
never touches the bytes that readers or the index still use.
"""

import asyncio
import contextlib
import errno
import hashlib
import heapq
import json
import os
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from functools import partial, wraps
from pathlib import Path
from typing import NoReturn, ParamSpec, TypeVar

import structlog

from cephstorage.domain.consistency import Seen
from cephstorage.domain.errors import NotSupported, StoredBytesMissing, StoreFull, StoreUnavailable
from cephstorage.domain.names import BucketName, bucket_or_none
from cephstorage.files import (
    copy_of,
    link_durably,
    make_private_directory,
    move_durably,
    read_now,
    remove_quietly,
    write_durably,
    write_synced,
)
from cephstorage.ports.store import Note, StoredFile, StoredObject, StoredPage, StoredVersion

log = structlog.get_logger()

P = ParamSpec("P")
T = TypeVar("T")
_PAGE = 1000
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def _translated(operation: Callable[P, T]) -> Callable[P, T]:
    @wraps(operation)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return operation(*args, **kwargs)
        except OSError as error:
            if error.errno in _FULL:
                raise StoreFull("The disk of the object store is full; free space or move data_dir.") from error
            raise StoreUnavailable(f"The object store's disk fails: {error.strerror}.") from error

    return run


class DiskReader:
    """An opened version: a file descriptor, so that the file may be replaced or removed meanwhile."""

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd
        self.size = os.fstat(fd).st_size

    def read_now(self, position: int, size: int) -> bytes | bytearray | None:
        """Up to ``size`` bytes if the page cache has them."""
        return read_now(self._open_fd(), position, size)

    async def read(self, position: int, size: int) -> bytes:
        """Up to ``size`` bytes at ``position``, read in a thread."""
        return await asyncio.to_thread(_translated(os.pread), self._open_fd(), size, position)

    def file(self) -> int | None:
        """The descriptor, for sendfile."""
        return self._fd

    async def close(self) -> None:
        """Close the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _open_fd(self) -> int:
        assert self._fd is not None, "the reader is closed"
        return self._fd


class DiskStore:
    """Implements ``cephstorage.ports.store.Store`` below one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def create_bucket(self, bucket: BucketName) -> None:
        """Make the bucket's folder."""
        await asyncio.to_thread(_translated(make_private_directory), self._root / str(bucket))

    async def delete_bucket(self, bucket: BucketName) -> None:
        """Remove the bucket's folders, all of them empty by now."""
        await asyncio.to_thread(_translated(_remove_folders), self._root / str(bucket))

    def plan_version(self, transfer_id: str, fence: int) -> str:
        """One file name per attempt."""
        return f"{transfer_id}.{fence}"

    async def commit(self, part: Path, planned: StoredObject, note: Note | None = None) -> str:  # noqa: ARG002 - one step
        """Move the part file into place; the side file goes first, so that no object lacks it."""
        await _to_its_end(self._commit, planned, lambda path: move_durably(part, path))
        return planned.store_version

    async def copy(self, source: StoredVersion, planned: StoredObject, note: Note | None = None) -> str:  # noqa: ARG002
        """Give the file a second name: a version's bytes are never written again."""
        original = self._path(source.bucket, source.key, source.store_version)

        def link(path: Path) -> None:
            try:
                link_durably(original, path)
            except FileNotFoundError as error:
                _remove_version(path)
                raise StoredBytesMissing(
                    f"The store lost the bytes of {source.key!r} in {source.bucket}; upload it again."
                ) from error

        await _to_its_end(self._commit, planned, link)
        return planned.store_version

    def _commit(self, planned: StoredObject, put: Callable[[Path], None]) -> None:
        path = self._path(planned.bucket, planned.key, planned.store_version)
        if _has_size(path, planned.size):
            return
        folder = path.parent
        if not folder.is_dir():
            self._see_bucket(planned.bucket)
            make_private_directory(folder)
        custom = {"custom": dict(planned.custom)} if planned.custom else {}
        side = {"key": planned.key, "size": planned.size, "md5": planned.md5, **planned.metadata, **custom}
        write_synced(_side(path), json.dumps(side, ensure_ascii=False).encode())
        put(path)

    def _see_bucket(self, bucket: BucketName) -> None:
        """Raise StoreUnavailable where the folder of a bucket is missing: what is written now may lie under a mount point."""
        folder = self._root / str(bucket)
        if not folder.is_dir():
            raise StoreUnavailable(
                f"The folder of bucket {bucket} is not there: {folder}. See whether its disk is mounted; nothing was stored."
            )

    async def holds(self, planned: StoredObject) -> str | None:
        """The version's name when its file is there with its full size."""
        path = self._path(planned.bucket, planned.key, planned.store_version)
        there = await asyncio.to_thread(_translated(_has_size), path, planned.size)
        return planned.store_version if there else None

    async def untouched(self, bucket: BucketName, key: str) -> bool:
        """No file is the key's."""
        path, folder = self._path(bucket, key, ""), self._root / str(bucket)
        return await asyncio.to_thread(
            _translated(lambda: folder.is_dir() and not any(path.parent.glob(f"{path.name}*")))
        )

    async def is_newest(self, bucket: BucketName, key: str, store_version: str) -> bool:
        """A disk has no clients of its own: the version is there or not."""
        return await asyncio.to_thread(_translated(self._path(bucket, key, store_version).exists))

    def place(self, bucket: BucketName, key: str, store_version: str) -> StoredFile:
        """The version's file."""
        return StoredFile(self._path(bucket, key, store_version))

    def published(self, bucket: BucketName, key: str, store_version: str, expires_in: int) -> None:
        """Nowhere: nobody but this service reads the disk."""

    async def open(self, bucket: BucketName, key: str, store_version: str) -> DiskReader:
        """Open a version. Opening is short enough for the event loop."""
        try:
            return DiskReader(os.open(self._path(bucket, key, store_version), os.O_RDONLY | os.O_CLOEXEC))
        except FileNotFoundError as error:
            raise StoredBytesMissing(f"The store lost the bytes of {key!r} in {bucket}; upload it again.") from error
        except OSError as error:
            raise StoreUnavailable(f"The object store's disk fails: {error.strerror}.") from error

    async def delete(self, bucket: BucketName, key: str, store_version: str) -> None:
        """Remove the version's bytes, then what a commit left beside them."""
        await asyncio.to_thread(_translated(_remove_version), self._path(bucket, key, store_version))

    def strays(self, store_version: str) -> None:
        """Nothing: a version is one file, however often it is moved there."""

    def tentative(self, store_version: str) -> bool:  # noqa: ARG002 - a version is one file
        """Never: a commit is one step."""
        return False

    async def abandon(
        self,
        bucket: BucketName,  # noqa: ARG002 - no parts here
        keep: Collection[str],  # noqa: ARG002
        before: float,  # noqa: ARG002
        key: str | None = None,  # noqa: ARG002
    ) -> int:
        """Nothing: a commit is one step here, and what a crash leaves of it goes with its version's name."""
        return 0

    async def objects(self, bucket: BucketName) -> AsyncIterator[StoredObject]:
        """Every version whose bytes are there, read from the side files."""
        versions = _versions(bucket, self._root / str(bucket))
        while (found := await asyncio.to_thread(_translated(next), versions, None)) is not None:
            yield found

    async def page(self, bucket: BucketName, place: str | None) -> StoredPage:
        """Side files in the order of their names; the place is the last one's path below the bucket."""
        return await asyncio.to_thread(_translated(_page), self._root / str(bucket), place)

    async def versions(self, bucket: BucketName, key: str) -> list[Seen]:
        """Those whose bytes are there, whatever their size."""
        first = self._path(bucket, key, "")
        return await asyncio.to_thread(_translated(_seen_versions), first.parent, f"{first.name}*.json")

    async def hide(self, bucket: BucketName, key: str) -> None:
        """Nothing: a disk has no clients of its own."""

    async def buckets(self) -> list[BucketName]:
        """The folders that have a bucket's name."""
        return await asyncio.to_thread(_translated(_buckets), self._root)

    async def current(self, bucket: BucketName, key: str) -> StoredObject | None:
        """The version that was stored last: nobody but us stores here."""
        first = self._path(bucket, key, "")
        found = await asyncio.to_thread(_translated(_all_of), bucket, first.parent, f"{first.name}*.json")
        last = await self.latest(bucket, key, found)
        return found[last] if last is not None else None

    async def latest(self, bucket: BucketName, key: str, among: Collection[str]) -> str | None:
        """By the time of the side file, which a commit writes."""
        sides = {version: _side(self._path(bucket, key, version)) for version in among}
        return await asyncio.to_thread(_translated(_latest), sides)

    def notifications(self) -> NoReturn:
        """Nobody but us writes here."""
        raise NotSupported(
            "Objects lie on this service's own disk, where no other client writes: there is nothing to follow."
        )

    async def check(self) -> str:
        """Prove that the folder can be written."""
        await asyncio.to_thread(_translated(_prove_writable), self._root)
        return f"disk store below {self._root}"

    async def close(self) -> None:
        """Nothing is held."""

    def _path(self, bucket: BucketName, key: str, store_version: str) -> Path:
        name = hashlib.sha256(key.encode()).hexdigest()
        return Path(f"{self._root}/{bucket}/{name[:2]}/{name}.{store_version}")


async def _to_its_end(operation: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """Run a step that can't be called back: who is cancelled meanwhile learns so when it is done."""
    running = asyncio.get_running_loop().run_in_executor(None, partial(_translated(operation), *args, **kwargs))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.gather(running, return_exceptions=True)
        raise


def _side(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def _remove_version(path: Path) -> None:
    for file in (path, copy_of(path), _side(path)):
        remove_quietly(file)


def _remove_folders(bucket: Path) -> None:
    if bucket.is_dir():
        for folder in bucket.iterdir():
            folder.rmdir()
        bucket.rmdir()


def _all_of(bucket: BucketName, folder: Path, pattern: str) -> dict[str, StoredObject]:
    return {found.store_version: found for found in _versions(bucket, folder, pattern) if found.md5}


def _versions(bucket: BucketName, folder: Path, pattern: str = "??/*.json") -> Iterator[StoredObject]:
    """Versions whose bytes are there; without key and md5 those whose side file can't be read any more."""
    for side_file in folder.glob(pattern):
        path = side_file.with_suffix("")
        if not path.exists():  # a crash in a commit may even have left half a side file
            continue
        with contextlib.suppress(FileNotFoundError):  # deleted just now
            version, content = path.name.partition(".")[2], side_file.read_bytes()
            try:
                side = json.loads(content)
                key, size, md5 = side.pop("key"), side.pop("size"), side.pop("md5")
                custom = tuple(sorted(side.pop("custom", {}).items()))
            except (ValueError, KeyError, TypeError, AttributeError):  # the disk has damaged it
                log.warning("side_file_unreadable", path=str(side_file))
                yield StoredObject(bucket, "", version, path.stat().st_size, "", {})
                continue
            if _has_size(path, size):
                yield StoredObject(bucket, key, version, size, md5, side, custom)


def _page(bucket: Path, place: str | None) -> StoredPage:
    """The next side files behind a place, of one folder at a time."""
    folder_name, _, last = (place or "").partition("/")
    folders = sorted(each.name for each in bucket.iterdir() if each.is_dir()) if bucket.is_dir() else []
    for name in (each for each in folders if each >= folder_name):
        with os.scandir(bucket / name) as entries:
            behind = (each.name for each in entries if each.name.endswith(".json"))
            names = heapq.nsmallest(_PAGE, (each for each in behind if name > folder_name or each > last))
        if names:
            seen = (_seen(bucket / name / each) for each in names)
            return StoredPage(tuple(each for each in seen if each is not None), f"{name}/{names[-1]}")
    return StoredPage((), None)


def _seen_versions(folder: Path, pattern: str) -> list[Seen]:
    found = [seen for side_file in folder.glob(pattern) if (seen := _seen(side_file)) is not None]
    return sorted(found, key=lambda seen: seen.written_at, reverse=True)


def _seen(side_file: Path) -> Seen | None:
    """A version whose bytes are there; None of one that is being stored or removed."""
    path = side_file.with_suffix("")
    try:
        size, written = path.stat().st_size, side_file.stat().st_mtime
        side = json.loads(side_file.read_bytes())
        version = path.name.partition(".")[2]
        return Seen(side["key"], version, size, "", written, store_version=version, mirrored="target" in side)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _buckets(root: Path) -> list[BucketName]:
    names = sorted(folder.name for folder in root.iterdir() if folder.is_dir()) if root.is_dir() else []
    return [found for name in names if (found := bucket_or_none(name)) is not None]


def _latest(sides: Mapping[str, Path]) -> str | None:
    written = {version: side.stat().st_mtime_ns for version, side in sides.items() if side.exists()}
    return max(written, key=lambda version: written[version], default=None)


def _prove_writable(root: Path) -> None:
    make_private_directory(root)
    probe = root / f".probe.{os.getpid()}"
    write_durably(probe, b"ok")
    remove_quietly(probe)
