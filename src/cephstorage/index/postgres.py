"""The PostgreSQL runner: bounded threads with a connection each, one transaction per call.

Reads see one snapshot (REPEATABLE READ, READ ONLY). Writes are READ COMMITTED: the statements lock what
they decide on, and a transaction that lost a race (serialization, deadlock, a row that came in between)
is run again as a whole. Readers and writers have threads of their own, so that writers that wait for
locks keep nobody from reading.

A connection that broke before COMMIT is replaced and its transaction run again. One that broke while
COMMIT was under way is not: nobody knows what became of it, and the caller decides.
"""

import asyncio
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, TypeVar

import psycopg
import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from cephstorage.domain.errors import DatabaseUnavailable
from cephstorage.index.breaker import Breaker, unavailable
from cephstorage.index.postgres_faults import is_conflict, is_lost, is_read_only, translated
from cephstorage.index.postgres_session import READ, WRITE, Dialer, PostgresOptions, Session

log = structlog.get_logger()

P = ParamSpec("P")
T = TypeVar("T")

_TRIES = 8
_PAUSE = 0.01
_SETUP_RESTS = 60.0
_BEYOND = 5.0
"""Seconds that a call may take beyond a statement's timeout: several statements, or a server that hangs."""


@dataclass(slots=True, eq=False)
class _Job:
    """A call on its way: the breaker's trips when it entered, when a thread took it up (``time.monotonic``), the session
    that it is on, and whether it is over.
    """

    entered: int
    begun: float | None = None
    session: Session | None = None
    over: bool = False


class PostgresDatabase:
    """One database. Any number of processes may use it."""

    def __init__(self, options: PostgresOptions) -> None:
        self._options = options
        self._dialer = Dialer(options)
        self.name = self._dialer.name
        self._breaker = Breaker(self.name, options.connect_timeout)
        self._deadline = options.statement_timeout + _BEYOND
        self._local = threading.local()
        self._sessions: set[Session] = set()
        self._readers: ThreadPoolExecutor | None = None
        self._writers: ThreadPoolExecutor | None = None

    async def open(self, prepare: Callable[[Connection], None]) -> None:
        """Connect, run ``prepare`` in a transaction and start the threads. Raises DatabaseUnavailable."""
        await self.alone(prepare)
        writers = max(1, self._options.connections // 2)
        readers = max(1, self._options.connections - writers)
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="index-read")
        self._writers = ThreadPoolExecutor(writers, thread_name_prefix="index-write")

    async def alone(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a transaction on a connection of its own, open or not. Raises DatabaseUnavailable."""
        return await asyncio.to_thread(self._alone, work)

    def _alone(self, work: Callable[[Connection], T]) -> T:
        session = Session(self._dialer.dial(), 0)
        try:
            session.may_rest(_SETUP_RESTS)
            return session.run(WRITE, work)
        except (SQLAlchemyError, psycopg.Error) as error:
            raise translated(error, self.name) from error
        finally:
            session.close()

    async def close(self) -> None:
        """Finish what is queued and let go of the connections. Idempotent."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        for pool in (self._readers, self._writers):
            if pool is not None:
                pool.shutdown()
        self._readers = self._writers = None
        while self._sessions:
            self._sessions.pop().close()

    async def read(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``fn`` in one snapshot."""
        return await self._call(self._readers, READ, lambda connection: fn(connection, *args, **kwargs))

    async def read_one(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``fn``, which executes a single statement: that is one snapshot without BEGIN and COMMIT."""
        return await self._call(self._readers, "", lambda connection: fn(connection, *args, **kwargs))

    async def write(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``fn`` in a transaction that is on the disk when this returns."""
        return await self._call(self._writers, WRITE, lambda connection: fn(connection, *args, **kwargs))

    async def write_relaxed(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same. A relaxed commit could be lost with the server, while processes that believe in it live on."""
        return await self.write(fn, *args, **kwargs)

    async def _call(self, threads: ThreadPoolExecutor | None, begin: str, call: Callable[[Connection], T]) -> T:
        """Run a call in a thread. Who is cancelled leaves the thread to finish: no transaction stays open."""
        if threads is None:
            raise DatabaseUnavailable("The database is closed.")
        job, loop = _Job(self._breaker.enter()), asyncio.get_running_loop()
        running = loop.run_in_executor(threads, self._run, job, begin, call)
        try:
            async with asyncio.timeout(self._deadline):
                return await running
        except TimeoutError as error:
            if job.begun is None:  # it is out of the queue now; the database has nothing to do with it
                log.warning("database_busy", database=self.name, advice="raise CEPHSTORAGE_DATABASE_CONNECTIONS")
                msg = f"Other calls to the database have kept this one waiting for {self._deadline:.0f} s; try again."
                raise DatabaseUnavailable(msg, retry_after=_BEYOND) from error
            loop.call_later(max(0.0, job.begun + self._deadline - time.monotonic()), self._cut, job)
            raise unavailable(_BEYOND) from error
        except asyncio.CancelledError:
            if job.session is not None:  # it has begun, and goes on without its caller
                loop.call_later(self._deadline, self._cut, job)
            raise

    def _cut(self, job: _Job) -> None:
        """End a call that the server, or the network, does not answer: nothing but this clock would."""
        if job.over:
            return
        self._breaker.trip(f"{self.name} has not answered for {self._deadline:.0f} s.")
        if job.session is not None:
            job.session.sever()

    def _run(self, job: _Job, begin: str, call: Callable[[Connection], T]) -> T:
        job.begun = time.monotonic()
        try:
            return self._transaction(job, begin, call)
        finally:
            job.over = True

    def _transaction(self, job: _Job, begin: str, call: Callable[[Connection], T]) -> T:
        """One transaction, again while it loses races or finds its connection broken. In a thread of the pool."""
        for tries_left in reversed(range(_TRIES)):
            session = job.session = self._session(job)
            try:
                result = session.run(begin, call)
            except (SQLAlchemyError, psycopg.Error) as error:
                if tries_left and is_conflict(error):
                    time.sleep(_PAUSE * random.random() * (_TRIES - tries_left))  # noqa: S311 - no secret
                elif not self._may_go_on(session, error):
                    raise self._told(error) from error
            else:
                if session.born == self._breaker.trips:
                    self._breaker.mend()
                return result
            finally:
                if session.broken:
                    self._drop(session)
        raise unavailable()

    def _told(self, error: Exception) -> Exception:
        """What the caller is told of an error, and the log in full."""
        meaning = translated(error, self.name)
        if not isinstance(meaning, DatabaseUnavailable):
            return meaning
        if not is_lost(error):  # else the breaker says it
            log.error("database_failed", msg=meaning.msg)
        return unavailable()

    def _may_go_on(self, session: Session, error: Exception) -> bool:
        """After a broken connection: whether the transaction may be run again on a new one."""
        if not is_lost(error) or (session.reading and is_read_only(error)):
            return False
        self._drop(session)
        if session.used and not session.committing:
            return True  # it broke while it was idle, as a rule: the server was restarted
        self._breaker.trip(str(translated(error, self.name)))
        return False

    def _session(self, job: _Job) -> Session:
        """The session of this thread, made anew when it may have died with the others."""
        self._breaker.check(job.entered)
        session: Session | None = getattr(self._local, "session", None)
        if session is not None and session.born == self._breaker.trips:
            return session
        if session is not None:
            self._drop(session)
        born = self._breaker.trips
        try:
            session = Session(self._dialer.dial(), born)
        except DatabaseUnavailable as error:
            self._breaker.trip(error.msg)
            raise unavailable() from error
        self._sessions.add(session)
        self._local.session = session
        return session

    def _drop(self, session: Session) -> None:
        self._sessions.discard(session)
        self._local.session = None
        session.close()
