"""The database file: its versions, its making, and connections to it."""

import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pysqlite3.dbapi2 as driver
import structlog
from sqlalchemy import Connection, create_engine, insert, select
from sqlalchemy.pool import NullPool

from cephstorage.domain.errors import DatabaseUnavailable
from cephstorage.index.migrations import upgrade
from cephstorage.index.schema import SCHEMA_VERSION, Schema, create_tables
from cephstorage.index.sqlite_faults import is_busy
from cephstorage.index.sqlite_names import create_names, names_are_right, renew_names

log = structlog.get_logger()

_FIXED = (3, 51, 3)
_BACKPORTED = ((3, 50, 7), (3, 44, 6))
_POLL = 0.005
_MMAP = 256 * 1024 * 1024
_CACHE_KIB = 16 * 1024
_WAL_KEPT = 64 * 1024 * 1024


def safe_version(version: tuple[int, ...]) -> bool:
    """Whether this SQLite is free of the WAL-reset bug, which can corrupt a database that processes share."""
    return version >= _FIXED or any(version[:2] == fixed[:2] and version >= fixed for fixed in _BACKPORTED)


def connect(path: Path, *, patience: float, read_only: bool = False) -> Connection:
    """A connection whose transactions are ours to begin and end. ``patience`` in seconds, for locks."""

    def dial() -> Any:
        mode = "ro" if read_only else "rw"
        raw = driver.connect(
            f"file:{quote(str(path.absolute()))}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        raw.execute(f"PRAGMA busy_timeout = {int(patience * 1000)}")
        raw.execute("PRAGMA foreign_keys = ON")
        raw.execute(f"PRAGMA mmap_size = {_MMAP}")
        raw.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        raw.execute(f"PRAGMA journal_size_limit = {_WAL_KEPT}")
        if read_only:
            raw.execute("PRAGMA query_only = ON")
        return raw

    # AUTOCOMMIT keeps SQLAlchemy from beginning transactions of its own: BEGIN and COMMIT are the runner's.
    engine = create_engine(
        "sqlite+pysqlite://",
        module=driver,
        creator=dial,
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
    )
    return engine.connect()


def prepare(path: Path, schema: Schema, patience: float) -> None:
    """Make the file and its tables if they are missing, upgrade older ones, and check that we may use them.

    Raises DatabaseUnavailable with the reason when SQLite is too old or the file too new.
    """
    if not safe_version(driver.sqlite_version_info):
        raise DatabaseUnavailable(
            f"SQLite {driver.sqlite_version} can corrupt a shared WAL database; install 3.51.3 or later "
            "(or 3.50.7, 3.44.6 of the older lines)."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = connect(path, patience=patience)
    try:
        _enter_wal(connection, time.monotonic() + patience)
        _make_tables(connection, schema)
    finally:
        connection.close()


def _enter_wal(connection: Connection, deadline: float) -> None:
    """Switch to WAL. SQLite does not wait for locks here, so that the waiting is ours."""
    while True:
        try:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        except Exception as error:
            if not is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(_POLL)
        else:
            return


def _make_tables(connection: Connection, schema: Schema) -> None:
    counters = schema.counters
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    try:
        there = connection.dialect.has_table(connection, counters.name)
        found = connection.scalar(select(counters.c.value).where(counters.c.name == "schema")) if there else None
        if found is None:
            create_tables(connection, schema)
            create_names(connection)
            rows = [{"name": "schema", "value": SCHEMA_VERSION}, {"name": "settings", "value": 0}]
            connection.execute(insert(counters), rows)
        elif found < SCHEMA_VERSION:
            upgrade(connection, schema, found)
            log.info("database_upgraded", before=found, now=SCHEMA_VERSION)
        elif found > SCHEMA_VERSION:
            raise DatabaseUnavailable(
                f"The database has schema version {found}; this CephStorage knows versions up to {SCHEMA_VERSION}. "
                "Start the newer CephStorage that made it."
            )
        if not names_are_right(connection):
            log.warning("search_index_renewed", reason="rows have other numbers than before, as after VACUUM")
            renew_names(connection)
    except BaseException:
        connection.exec_driver_sql("ROLLBACK")
        raise
    connection.exec_driver_sql("COMMIT")
