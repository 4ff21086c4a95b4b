"""Jobs over mirrors: made, shown, cancelled, and run by whichever process holds their lease.

    begin ──> row (leased to this process) ──> steps ... ──> end
                  └─ owner dead, stopped, or a part of ours away ──> any process goes on

What a job does stands in its works (``services.copies``, ``services.warming``, ``services.verification``); here is
who does it and until when. A small job has ended before its caller's answer.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import structlog

from cephstorage.domain.errors import CephStorageError, LeaseLost, Unavailable
from cephstorage.domain.jobs import Item, Job, JobKind, JobRequest, Step
from cephstorage.domain.transfers import State
from cephstorage.ports.jobs import JobLease, JobTable
from cephstorage.services.rounds import Rounds

log = structlog.get_logger()

Note = Callable[[Step], Awaitable[Job]]
"""Does and notes a step. Raises LeaseLost when the job is no longer this process's."""
Work = Callable[[Job, Note], Awaitable[None]]

PATIENCE = 2.0
"""Seconds that a caller waits for a small job."""
_LEASE = 15.0
_BEAT = 1.0
_AGAIN = 5.0
_MOST = 4
_FORGET_EVERY = 3600.0
_MAKES_ANEW = frozenset({JobKind.PURGE, JobKind.EDGES, JobKind.SOFT, JobKind.REFRESH, JobKind.WARM})


class Jobs:
    """The jobs of one process. ``dead`` tells which owners were processes of this machine and are gone."""

    def __init__(
        self,
        table: JobTable,
        owner: str,
        dead: Callable[[Iterable[str]], Sequence[str]],
        clock: Callable[[], float],
        *,
        takes_over: bool = True,
        retention: float = 30 * 86400.0,
    ) -> None:
        self._table = table
        self._owner = owner
        self._dead = dead
        self._clock = clock
        self._takes_over = takes_over
        self._retention = retention
        self._running: dict[str, tuple[JobLease, asyncio.Task[None]]] = {}
        self._chore: asyncio.Task[None] | None = None
        self.works: Mapping[JobKind, Work] = {}
        self.forget_absences: Callable[[], Awaitable[None]] = _nothing
        """Called before anything is purged or asked for anew: what origins said is not there may be there now."""

    def start(self) -> None:
        """Begin to renew leases, and to go on with what others left."""
        self._chore = asyncio.create_task(self._for_ever())

    async def stop(self) -> None:
        """Stop between two steps; the jobs are anybody's at once."""
        tasks = [task for _, task in self._running.values()] + ([self._chore] if self._chore is not None else [])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def begin(self, request: JobRequest, items: Sequence[Item] = (), patience: float = PATIENCE) -> Job:
        """Make a job, run it, and return it as it is when it has ended or patience has. Raises BucketNotFound."""
        if request.kind in _MAKES_ANEW:
            await self.forget_absences()
        now = self._clock()
        ours = len(self._running) < _MOST
        owner = self._owner if ours else None
        job = Job(secrets.token_hex(16), request, State.INPROGRESS, now, now, owner=owner)
        await self._table.create(job, items, now + _LEASE if ours else now)
        if ours:
            await asyncio.wait({self._run(job)}, timeout=patience)
        return await self._table.get(job.id)

    async def get(self, job: str) -> Job:
        """A job as it is now. Raises JobNotFound."""
        return await self._table.get(job)

    async def of_mirror(self, host: str) -> Sequence[Job]:
        """A mirror's jobs, newest first."""
        return await self._table.of_mirror(host)

    async def cancel(self, job: str) -> Job:
        """End a job: here at once, elsewhere within a beat. Raises JobNotFound, JobEnded."""
        cancelled = await self._table.cancel(job, self._clock())
        self._drop(job)
        return cancelled

    def _drop(self, job: str) -> None:
        if (running := self._running.get(job)) is not None:
            running[1].cancel()

    def _run(self, job: Job) -> "asyncio.Task[None]":
        lease = JobLease(job.id, self._owner, job.fence)
        task = asyncio.create_task(self._carry(job, lease))
        self._running[job.id] = lease, task
        task.add_done_callback(lambda _: self._running.pop(job.id, None))
        return task

    async def _carry(self, job: Job, lease: JobLease) -> None:
        """See a job to its end, or give it back."""
        try:
            await self.works[job.request.kind](job, lambda step: self._table.step(lease, step, self._clock()))
            await self._table.finish(lease, self._clock())
            log.info("job_done", job=job.id, kind=job.request.kind.value, mirror=job.request.mirror)
        except asyncio.CancelledError:
            await self._put_off(lease, 0.0)
            raise
        except LeaseLost:
            return
        except Unavailable as error:
            log.warning("job_waits", job=job.id, kind=job.request.kind.value, code=error.code, msg=error.msg)
            await self._put_off(lease, _AGAIN)
        except CephStorageError as error:
            await self._fail(job, lease, error)
        except Exception as error:
            log.exception("job_crashed", job=job.id, kind=job.request.kind.value, mirror=job.request.mirror)
            failure = CephStorageError("The job failed because of a fault in the service; see its log.")
            failure.__cause__ = error
            await self._fail(job, lease, failure)

    async def _fail(self, job: Job, lease: JobLease, error: CephStorageError) -> None:
        log.warning("job_failed", job=job.id, kind=job.request.kind.value, code=error.code, msg=error.msg)
        with contextlib.suppress(CephStorageError):  # its lease ends, and whoever is next comes to the same end
            await self._table.finish(lease, self._clock(), error)

    async def _put_off(self, lease: JobLease, pause: float) -> None:
        with contextlib.suppress(CephStorageError):
            now = self._clock()
            await self._table.put_off(lease, now, now + pause)

    async def _for_ever(self) -> None:
        rounds, next_forget = Rounds("jobs_not_tended", "jobs_crashed"), 0.0
        while True:
            await asyncio.sleep(_BEAT)
            with rounds.guarded():
                await self._renew()
                if self._takes_over:
                    await self._take_over()
                    if time.monotonic() >= next_forget:
                        next_forget = time.monotonic() + _FORGET_EVERY
                        await self._table.forget_ended(self._clock() - self._retention)

    async def _renew(self) -> None:
        held = [lease for lease, _ in self._running.values()]
        if held:
            now = self._clock()
            for lost in await self._table.renew(held, now, now + _LEASE):
                self._drop(lost.job)

    async def _take_over(self) -> None:
        now = self._clock()
        for owner in self._dead(await self._table.owners()):
            await self._table.expire_owner(owner, now)
        while len(self._running) < _MOST and (job := await self._table.claim(self._owner, now, now + _LEASE)):
            self._run(job)


async def _nothing() -> None:
    """Nobody has to know."""
