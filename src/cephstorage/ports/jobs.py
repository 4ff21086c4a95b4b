"""Jobs over mirrors: their durable rows and lists, and who carries them on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cephstorage.domain.errors import CephStorageError
from cephstorage.domain.jobs import Item, Job, QueuedItem, Step


@dataclass(frozen=True, slots=True)
class JobLease:
    """Proof that ``owner`` may carry a job on. A higher fence elsewhere makes it void."""

    job: str
    owner: str
    fence: int


class JobTable(Protocol):
    """The durable rows of jobs over mirrors, and the lists they work off."""

    async def create(self, job: Job, items: Sequence[Item], until: float) -> None:
        """Insert a job with its list, numbered from 1; its owner has it until then. Raises BucketNotFound."""
        ...

    async def claim(self, owner: str, now: float, until: float) -> Job | None:
        """Take the job in progress that has been due for longest. Its fence rises."""
        ...

    async def renew(self, leases: Sequence[JobLease], now: float, until: float) -> Sequence[JobLease]:
        """Extend leases; return those that were lost."""
        ...

    async def step(self, lease: JobLease, step: Step, now: float) -> Job:
        """Do what a step says and note it, at once; the job as it is now.

        Copies that have changed since they were seen, and keys that are no mirror's copies, are left alone. Items
        beyond the request's ``most`` are counted as dropped. Raises LeaseLost, BucketNotFound.
        """
        ...

    async def finish(self, lease: JobLease, now: float, error: CephStorageError | None = None) -> None:
        """End a job: well, or with an error; its list is gone. Raises LeaseLost."""
        ...

    async def put_off(self, lease: JobLease, now: float, until: float) -> None:
        """Give a job back; anybody may claim it from ``until`` on. A lost lease is fine."""
        ...

    async def cancel(self, job: str, now: float) -> Job:
        """End a job as cancelled, whoever runs it. Raises JobNotFound, JobEnded."""
        ...

    async def get(self, job: str) -> Job:
        """Raises JobNotFound."""
        ...

    async def of_mirror(self, host: str) -> Sequence[Job]:
        """The jobs of a mirror, newest first, at most 200."""
        ...

    async def items(self, job: str, after: int, limit: int) -> Sequence[QueuedItem]:
        """Items on the list behind a number, in order."""
        ...

    async def owners(self) -> Sequence[str]:
        """Everybody who runs a job."""
        ...

    async def expire_owner(self, owner: str, now: float) -> int:
        """End the leases of an owner that is known to be dead; return how many."""
        ...

    async def forget_ended(self, before: float) -> int:
        """Delete jobs that ended before a moment; return how many."""
        ...
