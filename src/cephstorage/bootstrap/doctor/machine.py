"""The machine itself: folders, files, room, the clock."""

import os
import shutil
import stat
from pathlib import Path

from cephstorage.bootstrap.doctor.finding import CLOCK_TOLERANCE, Finding
from cephstorage.bootstrap.settings import Settings

NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "afs", "fuse.sshfs", "ceph", "lustre"})
"""Where SQLite's write-ahead log does not work: all its users must share memory (sqlite.org/wal.html)."""
VOLATILE_FILE_SYSTEMS = frozenset({"tmpfs", "ramfs"})


def data_folder(folder: Path, *, sqlite: bool) -> Finding:
    """Where the database and the objects lie: ours alone, on a disk that keeps them."""
    name = "data folder"
    if not folder.exists():
        parent = nearest_existing(folder)
        if not os.access(parent, os.W_OK | os.X_OK):
            return Finding(name, False, f"{folder} can't be made", f"Give this user the right to write in {parent}.")
        return Finding(name, True, f"{folder} is not there yet; the first start makes it")
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return Finding(name, False, f"{folder} is not a folder this user may write in", "Correct its owner or mode.")
    mode, kind = stat.S_IMODE(folder.stat().st_mode), file_system(folder)
    detail = f"{folder}, mode {mode:04o}, on {kind}"
    if mode & 0o027:
        return Finding(name, False, f"{detail}: open to other users", f"chmod 700 {folder}")
    if sqlite and kind in NETWORK_FILE_SYSTEMS:
        return Finding(name, False, detail, "SQLite needs a local disk: move CEPHSTORAGE_DATA_DIR to one.")
    if kind in VOLATILE_FILE_SYSTEMS:
        return Finding(name, True, detail, "Everything is lost when the machine restarts.")
    return Finding(name, True, detail)


def token_file(settings: Settings) -> Finding:
    """The admin's token: there, and nobody else's to read."""
    name, path = "admin token", settings.token_file
    if not path.exists():
        if not settings.database_file.exists():
            return Finding(name, True, "not there yet; the first start makes it")
        return Finding(name, False, f"{path} is missing", "Start the service: it makes a new one.")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return Finding(name, False, f"{path} has mode {mode:04o}: others may read it", f"chmod 600 {path}")
    return Finding(name, True, f"{path}, mode {mode:04o}")


def spool(settings: Settings) -> Finding:
    """The folder of part files: writable."""
    spool, objects = nearest_existing(settings.spool_dir), nearest_existing(settings.objects_dir)
    if not os.access(spool, os.W_OK | os.X_OK):
        return Finding(
            "spool", False, f"{spool} can't be written", "Correct its owner or mode, or the setting download_path."
        )
    if settings.store == "ceph":
        return Finding("spool", True, str(settings.spool_dir))
    if spool.stat().st_dev == objects.stat().st_dev:
        return Finding("spool", True, f"{settings.spool_dir}, on the file system of the objects")
    return Finding(
        "spool",
        True,
        f"{settings.spool_dir}, on another file system than the objects",
        "Every object is copied once more; on the same file system it would be renamed.",
    )


def disk_space(settings: Settings) -> Finding:
    """Whether the spool's disk has what its quota promises."""
    quota = settings.transfer.spool_quota
    free = shutil.disk_usage(nearest_existing(settings.spool_dir)).free
    room = free + spooled_bytes(settings.spool_dir)
    detail = f"{_gib(free)} free for the spool, quota {_gib(quota)}"
    if room < quota:
        advice = "Free space, or lower CEPHSTORAGE_TRANSFER_SPOOL_QUOTA below what the disk has."
        return Finding("disk space", False, detail, advice)
    return Finding("disk space", True, detail)


def clock(settings: Settings, now: float) -> Finding:
    """Whether the clock runs behind what was written before."""
    database = settings.database_file
    witnesses = [database, Path(f"{database}-wal"), settings.token_file, settings.spool_dir]
    newest = max((path.stat().st_mtime for path in witnesses if path.exists()), default=0.0)
    if newest > now + CLOCK_TOLERANCE:
        detail = f"the newest file was written {newest - now:.0f} s in the future"
        return Finding("clock", False, detail, "Set the system's clock: tokens and published URLs expire by it.")
    return Finding("clock", True, "not before the newest file")


def nearest_existing(path: Path) -> Path:
    """The path itself, or the nearest folder above it that exists."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def spooled_bytes(folder: Path) -> int:
    """Bytes that part files occupy on disk; sparse ones count as what they hold."""
    if not folder.is_dir():
        return 0
    return sum(512 * path.stat().st_blocks for path in folder.iterdir() if path.is_file())


def file_system(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """The type of the file system that holds a path (proc(5), mountinfo); ``unknown`` where nothing tells."""
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return "unknown"
    for line in lines:
        mount, _, source = line.partition(" - ")
        if mount.split()[2] == wanted:
            return source.split()[0]
    return "unknown"


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
