"""The examination behind ``cephstorage doctor``: what of this machine would keep the service from working well.

Everything is looked at from here, in this process; the service need not run. Nothing is repaired and
nothing is made: a database that isn't there yet is reported, not created.
"""

import os
import shutil
import stat
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import pysqlite3.dbapi2 as driver

from cephstorage.bootstrap.adapters import make_index
from cephstorage.bootstrap.settings import Settings
from cephstorage.domain.errors import CephStorageError
from cephstorage.index import SqlIndex
from cephstorage.index.postgres_index import PostgresIndex
from cephstorage.index.sqlite_file import safe_version
from cephstorage.store.disk import DiskStore

CLOCK_TOLERANCE = 5.0
"""Seconds by which two clocks may differ; dates in HTTP have whole seconds."""
NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "afs", "fuse.sshfs", "ceph", "lustre"})
"""Where SQLite's write-ahead log does not work: all its users must share memory (sqlite.org/wal.html)."""
VOLATILE_FILE_SYSTEMS = frozenset({"tmpfs", "ramfs"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``advice`` says what to do; it may also come with what is well."""

    name: str
    ok: bool
    detail: str
    advice: str = ""


async def examine(settings: Settings, *, address: str | None = None) -> list[Finding]:
    """Look at everything. ``address``: where the service should answer; None: it is not asked."""
    findings = [
        Finding("settings", ok=True, detail=f"readable; data below {settings.data_dir.resolve()}"),
        _careful("data folder", lambda: _data_folder(settings.data_dir)),
        _careful("admin token", lambda: _token_file(settings)),
        _careful("spool", lambda: _spool(settings)),
        _careful("disk space", lambda: _disk_space(settings)),
        _careful("clock", lambda: _clock(settings, time.time())),
        _sqlite(),
    ]
    if settings.data_dir.is_dir() or settings.database_url.get_secret_value():
        findings += await _database(settings)
    if settings.data_dir.is_dir():
        findings += [await _store(settings.objects_dir)]
    return [*findings, *await _service(address)]


def _careful(name: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except OSError as error:
        return Finding(name, ok=False, detail=f"{error.filename}: {error.strerror}", advice="See who owns it.")


def _data_folder(folder: Path) -> Finding:
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
    if kind in NETWORK_FILE_SYSTEMS:
        return Finding(name, False, detail, "SQLite needs a local disk: move CEPHSTORAGE_DATA_DIR to one.")
    if kind in VOLATILE_FILE_SYSTEMS:
        return Finding(name, True, detail, "Everything is lost when the machine restarts.")
    return Finding(name, True, detail)


def _token_file(settings: Settings) -> Finding:
    name, path = "admin token", settings.token_file
    if not path.exists():
        if not settings.database_file.exists():
            return Finding(name, True, "not there yet; the first start makes it")
        return Finding(name, False, f"{path} is missing", "Start the service: it makes a new one.")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return Finding(name, False, f"{path} has mode {mode:04o}: others may read it", f"chmod 600 {path}")
    return Finding(name, True, f"{path}, mode {mode:04o}")


def _spool(settings: Settings) -> Finding:
    spool, objects = nearest_existing(settings.spool_dir), nearest_existing(settings.objects_dir)
    if not os.access(spool, os.W_OK | os.X_OK):
        return Finding("spool", False, f"{spool} can't be written", "Correct its owner or mode.")
    if spool.stat().st_dev == objects.stat().st_dev:
        return Finding("spool", True, f"{settings.spool_dir}, on the file system of the objects")
    return Finding(
        "spool",
        True,
        f"{settings.spool_dir}, on another file system than the objects",
        "Every object is copied once more; on the same file system it would be renamed.",
    )


def _disk_space(settings: Settings) -> Finding:
    quota = settings.transfer.spool_quota
    free = shutil.disk_usage(nearest_existing(settings.spool_dir)).free
    room = free + spooled_bytes(settings.spool_dir)
    detail = f"{_gib(free)} free for the spool, quota {_gib(quota)}"
    if room < quota:
        advice = "Free space, or lower CEPHSTORAGE_TRANSFER_SPOOL_QUOTA below what the disk has."
        return Finding("disk space", False, detail, advice)
    return Finding("disk space", True, detail)


def _clock(settings: Settings, now: float) -> Finding:
    database = settings.database_file
    witnesses = [database, Path(f"{database}-wal"), settings.token_file, settings.spool_dir]
    newest = max((path.stat().st_mtime for path in witnesses if path.exists()), default=0.0)
    if newest > now + CLOCK_TOLERANCE:
        detail = f"the newest file was written {newest - now:.0f} s in the future"
        return Finding("clock", False, detail, "Set the system's clock: tokens and published URLs expire by it.")
    return Finding("clock", True, "not before the newest file")


def _sqlite() -> Finding:
    if safe_version(driver.sqlite_version_info):
        return Finding("SQLite", True, f"version {driver.sqlite_version}")
    advice = "Install pysqlite3 with SQLite 3.51.3 or later (3.50.7, 3.44.6 of the older lines)."
    return Finding("SQLite", False, f"version {driver.sqlite_version} can corrupt a shared database", advice)


async def _database(settings: Settings) -> list[Finding]:
    if settings.database_url.get_secret_value():
        return await _server(settings)
    path = settings.database_file
    if not path.exists():
        return [Finding("database", True, "not there yet; the first start makes it")]
    return await _opened(make_index(settings), f"{path}: ", "Restore it from a backup, or see who owns it.")


async def _server(settings: Settings) -> list[Finding]:
    """PostgreSQL: reached, its tables there, its clock like ours. Nothing is made."""
    try:
        index = make_index(settings)
        assert isinstance(index, PostgresIndex)
        before = time.time()
        version, there = await index.look()
        clock = _database_clock(there - (before + time.time()) / 2)
    except CephStorageError as error:
        return [Finding("database", False, error.msg, "See CEPHSTORAGE_DATABASE_URL and the database server.")]
    if version is None:
        return [Finding("database", True, f"{index.database.name} is empty; the first start makes the tables"), clock]
    return [*await _opened(index, "", "See the database server's log."), clock]


async def _opened(index: SqlIndex, where: str, advice: str) -> list[Finding]:
    try:
        await index.open()
        health, drift = await index.check(), await index.usage_drift()
    except (CephStorageError, OSError) as error:
        return [Finding("database", False, f"{where}{error}", advice)]
    finally:
        await index.close()
    return [Finding("database", True, health), _drift(drift)]


def _database_clock(skew: float) -> Finding:
    well = abs(skew) <= CLOCK_TOLERANCE
    advice = "" if well else "Synchronise the clocks of all machines: leases are judged by them."
    return Finding("database clock", well, f"{abs(skew):.1f} s apart from this one", advice)


def _drift(buckets: Iterable[str]) -> Finding:
    if names := ", ".join(buckets):
        return Finding("usage", False, f"size or keyamount differ from the sum over the keys of {names}", "Report it.")
    return Finding("usage", True, "equal to the sum over the keys")


async def _store(root: Path) -> Finding:
    if not root.exists():
        return Finding("store", True, "not there yet; the first start makes it")
    try:
        return Finding("store", True, await DiskStore(root).check())
    except CephStorageError as error:
        return Finding("store", False, f"{root}: {error}", "See the disk's health, space and owner.")


async def _service(address: str | None) -> list[Finding]:
    if address is None:
        return [Finding("service", True, "not asked: no address is known")]
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=5.0) as http:
            answer = await http.get(f"{address.rstrip('/')}/readyz")
    except httpx.TransportError:
        return [Finding("service", True, f"not running at {address}")]
    except httpx.InvalidURL:
        return [Finding("service", False, f"{address} is no address", "Write http://HOST:PORT.")]
    if answer.status_code == httpx.codes.OK:
        return [Finding("service", True, f"ready at {address}"), *_service_clock(answer, time.time())]
    detail = f"{address} answers {answer.status_code}: {answer.text[:200]}"
    return [Finding("service", False, detail, "See the service's log; or something else listens there.")]


def _service_clock(answer: httpx.Response, now: float) -> list[Finding]:
    try:
        there = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except ValueError:
        return []
    skew = there - now
    well = abs(skew) <= CLOCK_TOLERANCE
    advice = "" if well else "Synchronise the clocks: signed URLs and leases are judged by them."
    return [Finding("service clock", well, f"{abs(skew):.0f} s apart from this one", advice)]


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
