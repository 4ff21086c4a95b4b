"""The writer thread: group commit.

queue ──> BEGIN IMMEDIATE ──> savepoint per call ──> COMMIT ──> results to the callers
"""

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from sqlalchemy import Connection

from cephstorage.domain.errors import DatabaseUnavailable
from cephstorage.index.sqlite_faults import is_busy, translated

_GROUP = 64
_POLL = 0.002


@dataclass(slots=True, eq=False)
class Job:
    """One call: what to run, whether its commit must reach the disk, and who waits."""

    run: Callable[[Connection], Any]
    durable: bool
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = field(default=None)


class Writer:
    """Owns the one connection of this process that writes."""

    def __init__(self, connect: Callable[[], Connection], patience: float) -> None:
        self._connection = connect()
        self._raw: Any = self._connection.connection.dbapi_connection
        self._patience = patience
        self._synchronous = ""
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._open = True
        self._gate = threading.Lock()
        self._thread = threading.Thread(target=self._serve, name="index-write", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue a call. Raises DatabaseUnavailable after ``close``."""
        with self._gate:
            if not self._open:
                raise DatabaseUnavailable("The database is closed.")
            self._jobs.put(job)

    def close(self) -> None:
        """Run what is queued, then end."""
        with self._gate:
            self._open = False
            self._jobs.put(None)
        self._thread.join()
        self._connection.close()

    def _serve(self) -> None:
        while (group := self._next_group()) is not None:
            self._run(group)
            _answer(group)

    def _next_group(self) -> list[Job] | None:
        first = self._jobs.get()
        if first is None:
            return None
        group = [first]
        while len(group) < _GROUP:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                break
            if job is None:
                # The end comes after this group; nothing can follow it in the queue.
                self._jobs.put(None)
                break
            group.append(job)
        return group

    def _run(self, group: list[Job]) -> None:
        """One transaction. An error of the transaction itself is everybody's error."""
        try:
            self._begin("FULL" if any(job.durable for job in group) else "NORMAL")
            for job in group:
                self._run_one(job)
            self._raw.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it is, the callers must hear of it
            self._roll_back()
            meaning = translated(error)
            for job in group:
                job.error = job.error or meaning

    def _begin(self, synchronous: str) -> None:
        """Set how hard to commit and take the write lock, polling closely.

        SQLite's own busy handler sleeps up to 100 ms at a time; under several busy writers that starves some.
        """
        if synchronous != self._synchronous:
            self._raw.execute(f"PRAGMA synchronous = {synchronous}")
            self._synchronous = synchronous
        deadline = time.monotonic() + self._patience
        while True:
            try:
                self._raw.execute("BEGIN IMMEDIATE")
            except Exception as error:
                if not is_busy(error) or time.monotonic() > deadline:
                    raise
                time.sleep(_POLL)
            else:
                return

    def _run_one(self, job: Job) -> None:
        self._raw.execute("SAVEPOINT call")
        try:
            job.result = job.run(self._connection)
        except Exception as error:
            if not self._raw.in_transaction:
                raise  # SQLite has rolled back everything (disk full, I/O error)
            self._raw.execute("ROLLBACK TO call")
            job.error = translated(error)
        self._raw.execute("RELEASE call")

    def _roll_back(self) -> None:
        if self._raw.in_transaction:
            self._raw.execute("ROLLBACK")


def _answer(group: list[Job]) -> None:
    """Wake each event loop once, however many of its callers were served."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Job]] = defaultdict(list)
    for job in group:
        by_loop[job.loop].append(job)
    for loop, jobs in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, jobs)
        except RuntimeError:
            continue  # the loop is closed: nobody waits any more


def _resolve(jobs: list[Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue  # the caller was cancelled
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)
