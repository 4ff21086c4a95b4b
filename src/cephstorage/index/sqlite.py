"""The SQLite runner: a few readers, and one writer that commits in groups.

A durable commit costs an fsync. While one is under way other callers queue up; the writer then takes
what is waiting, runs each call in a savepoint of one transaction and commits once for all of them. A
call that fails rolls back its own savepoint only. Callers hear of their result after the commit.

Several processes share the file: WAL lets them read while one writes, and writers take turns.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import pysqlite3.dbapi2 as driver
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from cephstorage.domain.errors import DatabaseUnavailable
from cephstorage.index.schema import Schema
from cephstorage.index.sqlite_faults import translated
from cephstorage.index.sqlite_file import connect, prepare
from cephstorage.index.sqlite_writer import Job, Writer

P = ParamSpec("P")
T = TypeVar("T")
_READERS = 4
_PATIENCE = 15.0


class SqliteDatabase:
    """One database file. ``patience``: seconds that a call waits for another process's lock."""

    def __init__(self, path: Path, schema: Schema, *, patience: float = _PATIENCE) -> None:
        self.path = path
        self._schema = schema
        self._patience = patience
        self._writer: Writer | None = None
        self._readers: ThreadPoolExecutor | None = None
        self._local = threading.local()
        self._read_connections: list[Connection] = []
        self._version: Connection | None = None
        self._version_cursor: Any = None

    async def open(self) -> None:
        """Create or check the file and start the threads. Raises DatabaseUnavailable with the reason."""
        await asyncio.to_thread(self._open)

    def _open(self) -> None:
        try:
            prepare(self.path, self._schema, self._patience)
            self._version = connect(self.path, patience=self._patience, read_only=True)
            self._version_cursor = self._version.connection.cursor()
            self._writer = Writer(partial(connect, self.path, patience=0.0), self._patience)
        except (SQLAlchemyError, driver.Error, OSError) as error:
            raise DatabaseUnavailable(f"The database file {self.path.name!r} can't be opened: {error}.") from error
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="index-read")

    async def close(self) -> None:
        """Finish what is queued and let go of the file. Idempotent."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        version, self._version = self._version, None
        if version is not None:
            version.close()
        readers, self._readers = self._readers, None
        if readers is not None:
            readers.shutdown()
        while self._read_connections:
            self._read_connections.pop().close()
        # The writer is the last to close: only a connection that may write can fold the WAL into the file.
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def data_version(self) -> int:
        """A number that changes with every commit, in whatever process; reads shared memory only.

        Raises DatabaseUnavailable (sqlite.org/pragma.html, data_version).
        """
        if self._version is None:
            raise DatabaseUnavailable("The database is closed.")
        try:
            row = self._version_cursor.execute("PRAGMA data_version").fetchone()
        except driver.Error as error:
            raise translated(error) from error
        return int(row[0])

    async def read(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``fn`` in one snapshot, in a reader thread."""
        return await self._apart(self._snapshot, lambda connection: fn(connection, *args, **kwargs))

    async def read_one(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for one statement, which is a snapshot by itself."""
        return await self._apart(self._statement, lambda connection: fn(connection, *args, **kwargs))

    async def _apart(self, run: Callable[[Callable[[Connection], T]], T], call: Callable[[Connection], T]) -> T:
        if self._readers is None:
            raise DatabaseUnavailable("The database is closed.")
        return await asyncio.get_running_loop().run_in_executor(self._readers, run, call)

    def _snapshot(self, call: Callable[[Connection], T]) -> T:
        def within(connection: Connection) -> T:
            connection.exec_driver_sql("BEGIN")
            try:
                return call(connection)
            finally:
                connection.exec_driver_sql("COMMIT")

        return self._statement(within)

    def _statement(self, call: Callable[[Connection], T]) -> T:
        try:
            return call(self._reader())
        except (SQLAlchemyError, driver.Error) as error:
            raise translated(error) from error

    def _reader(self) -> Connection:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = connect(self.path, patience=self._patience, read_only=True)
            self._local.connection = connection
            self._read_connections.append(connection)
        return connection

    async def write(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``fn`` in a transaction that is on the disk when this returns."""
        return await self._queued(lambda connection: fn(connection, *args, **kwargs), durable=True)

    async def write_relaxed(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``fn`` in a transaction that outlives the process, though not always a power failure."""
        return await self._queued(lambda connection: fn(connection, *args, **kwargs), durable=False)

    async def _queued(self, call: Callable[[Connection], T], *, durable: bool) -> T:
        if self._writer is None:
            raise DatabaseUnavailable("The database is closed.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._writer.submit(Job(call, durable, loop, future))
        return await future
