"""The database: reached, healthy, its sums right, its clock like ours. Nothing is made."""

import time
from collections.abc import Iterable, Mapping, Sequence

import pysqlite3.dbapi2 as driver

from cephstorage.bootstrap.adapters import make_index
from cephstorage.bootstrap.doctor.finding import CLOCK_TOLERANCE, Finding
from cephstorage.bootstrap.settings import Settings
from cephstorage.domain.errors import CephStorageError
from cephstorage.domain.findings import FindingKind
from cephstorage.domain.walks import Walk, WalkKind
from cephstorage.index import SqlIndex
from cephstorage.index.postgres_index import PostgresIndex
from cephstorage.index.postgres_names import ADVICE
from cephstorage.index.sqlite_file import safe_version

Kept = Mapping[str, str]


async def examine_database(settings: Settings) -> tuple[list[Finding], Kept]:
    """The findings, and the settings that the database keeps, as they lie there."""
    if settings.database_url.get_secret_value():
        return await _server(settings)
    path = settings.database_file
    if not path.exists():
        return [Finding("database", True, "not there yet; the first start makes it")], {}
    return await _opened(make_index(settings), f"{path}: ", "Restore it from a backup, or see who owns it.")


async def _server(settings: Settings) -> tuple[list[Finding], Kept]:
    """PostgreSQL: reached, its tables there, its clock like ours. Nothing is made."""
    try:
        index = make_index(settings)
        assert isinstance(index, PostgresIndex)
        before = time.time()
        version, there = await index.look()
        clock = _database_clock(there - (before + time.time()) / 2)
    except CephStorageError as error:
        return [Finding("database", False, error.msg, "See CEPHSTORAGE_DATABASE_URL and the database server.")], {}
    if version is None:
        empty = f"{index.database.name} is empty; the first start makes the tables"
        return [Finding("database", True, empty), clock], {}
    findings, kept = await _opened(index, "", "See the database server's log.")
    return [*findings, clock], kept


async def _opened(index: SqlIndex, where: str, advice: str) -> tuple[list[Finding], Kept]:
    try:
        await index.open()
        health, drift, kept = await index.check(), await index.usage_drift(), await index.settings.all()
        agreement = _consistency(await index.findings.counts(), await index.walks.all(), time.time())
    except (CephStorageError, OSError) as error:
        return [Finding("database", False, f"{where}{error}", advice)], {}
    finally:
        await index.close()
    return [Finding("database", True, health), _drift(drift), agreement, *_search(index)], kept


def _search(index: SqlIndex) -> list[Finding]:
    """Whether names are found by an index; without one everything works, and search takes many requests."""
    if not isinstance(index, PostgresIndex):
        return []
    if index.names.present:
        return [Finding("search", True, "by an index of trigrams")]
    return [Finding("search", True, "without an index of names: the extension pg_trgm could not be made", ADVICE)]


def _database_clock(skew: float) -> Finding:
    well = abs(skew) <= CLOCK_TOLERANCE
    advice = "" if well else "Synchronise the clocks of all machines: leases are judged by them."
    return Finding("database clock", well, f"{abs(skew):.1f} s apart from this one", advice)


def _drift(buckets: Iterable[str]) -> Finding:
    if names := ", ".join(buckets):
        return Finding("usage", False, f"size or keyamount differ from the sum over the keys of {names}", "Report it.")
    return Finding("usage", True, "equal to the sum over the keys")


def _consistency(counts: Mapping[str, int], walks: Sequence[Walk], now: float) -> Finding:
    """What walks have found, and how long ago the one was that is longest ago."""
    whole = [walk.last_begun_at for walk in walks if walk.kind is WalkKind.RECONCILE and walk.last_begun_at is not None]
    seen = (
        f"index and store were compared {(now - min(whole)) / 3600:.1f} h ago or later" if whole else "not compared yet"
    )
    if not counts:
        return Finding("consistency", True, seen)
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    advice = "See `cephstorage consistency findings`; docs/truth.md says what each means."
    return Finding("consistency", not counts.get(FindingKind.DAMAGED), f"{told}; {seen}", advice)


def sqlite_version() -> Finding:
    """Whether this SQLite is one that keeps a shared database whole."""
    if safe_version(driver.sqlite_version_info):
        return Finding("SQLite", True, f"version {driver.sqlite_version}")
    advice = "Install pysqlite3 with SQLite 3.51.3 or later (3.50.7, 3.44.6 of the older lines)."
    return Finding("SQLite", False, f"version {driver.sqlite_version} can corrupt a shared database", advice)
