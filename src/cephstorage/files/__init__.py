"""Files at the level the kernel offers: reads that never wait for a disk, renames that survive a power cut.

The disk store and the spool both stand on this. Nothing here knows what the bytes mean.
"""

import contextlib
import errno
import fcntl
import os
import shutil
from pathlib import Path

_NOT_AT_HAND = {errno.EAGAIN, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP}
_COPY_CHUNK = 1 << 20


def read_now(fd: int, position: int, size: int) -> bytes | bytearray | None:
    """Up to ``size`` bytes that lie in the page cache, else None (preadv2(2), RWF_NOWAIT).

    Fit for the event loop: it copies memory and never waits for a disk. Empty at the end of the file.
    """
    buffer = bytearray(size)
    try:
        count = os.preadv(fd, [buffer], position, os.RWF_NOWAIT)
    except OSError as error:
        if error.errno in _NOT_AT_HAND:
            return None
        raise
    del buffer[count:]
    return buffer


def sync_directory(folder: Path) -> None:
    """Make renames within ``folder`` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_file(path: Path) -> None:
    """Make the bytes of ``path`` durable."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_synced(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a small file; its bytes are durable, its name only after ``sync_directory``."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)


def write_durably(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Create or replace a small file so that a crash leaves the old or the new one, never half of it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    write_synced(part, content, mode)
    part.replace(path)
    sync_directory(path.parent)


def create_once(path: Path, content: bytes, mode: int = 0o600) -> bytes:
    """Create a small file unless it exists, whoever else tries at the same time; return what it holds then."""
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    write_synced(part, content, mode)
    with contextlib.suppress(FileExistsError):
        os.link(part, path)
    part.unlink()
    sync_directory(path.parent)
    return path.read_bytes()


def move_durably(source: Path, target: Path) -> None:
    """Move a file; its bytes are durable under the new name when this returns.

    A rename where both lie on one file system, else a copy beside the target and a rename.
    """
    sync_file(source)
    try:
        source.replace(target)
        sync_directory(target.parent)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy_durably(source, target)
        source.unlink(missing_ok=True)


def link_durably(source: Path, target: Path) -> None:
    """Give a file that nobody writes any more a second name, durably; a copy where there can be no such link.

    Raises FileNotFoundError when it is gone.
    """
    try:
        os.link(source, target)
        sync_directory(target.parent)
    except FileExistsError:
        sync_directory(target.parent)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        _copy_durably(source, target)


def copy_of(target: Path) -> Path:
    """Where the bytes for ``target`` grow while they come from another file system."""
    return target.with_name(f".{target.name}.tmp")


def _copy_durably(source: Path, target: Path) -> None:
    part = copy_of(target)
    try:
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with source.open("rb") as reader, os.fdopen(fd, "wb") as writer:
            shutil.copyfileobj(reader, writer, _COPY_CHUNK)
            writer.flush()
            os.fsync(writer.fileno())
        part.replace(target)
    except OSError:
        remove_quietly(part)
        raise
    sync_directory(target.parent)


def lock(fd: int) -> None:
    """Wait for the exclusive lock of an open file or folder; it is freed when its last descriptor is closed."""
    fcntl.flock(fd, fcntl.LOCK_EX)


def try_lock(fd: int) -> bool:
    """Take the exclusive lock of an open file if nobody holds it. The kernel frees it when the holder dies."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def make_private_directory(path: Path) -> None:
    """Create a folder, and the missing ones above it, that only their owner may enter; their names are durable."""
    try:
        path.mkdir(mode=0o700)
    except FileNotFoundError:
        if path.parent.is_dir():  # a file system that lets nobody make folders, such as proc
            raise
        make_private_directory(path.parent)
        make_private_directory(path)
    except OSError:
        if not path.is_dir():
            raise
    else:
        sync_directory(path.parent)


def remove_quietly(path: Path) -> None:
    """Remove a file that may be gone already."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
