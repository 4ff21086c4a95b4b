"""The jobs of one process, with the works that they do."""

from collections.abc import Callable

from cephstorage.bootstrap.adapters import Adapters
from cephstorage.bootstrap.services import Services
from cephstorage.bootstrap.settings import Settings
from cephstorage.domain.jobs import JobKind
from cephstorage.services.copies import Copies
from cephstorage.services.jobs import Jobs
from cephstorage.services.rehash import Rehash
from cephstorage.services.verification import Verification
from cephstorage.services.visits import Visitor
from cephstorage.services.warming import Warming


def make_jobs(
    settings: Settings,
    adapters: Adapters,
    services: Services,
    visitor: Visitor,
    removed: Callable[[], None],
    *,
    clock: Callable[[], float],
    works: bool,
) -> Jobs:
    """Jobs that this process runs: those it makes, and others' unless workers take these over."""
    index, presence = adapters.index, adapters.presence
    jobs = Jobs(
        index.jobs,
        presence.owner,
        presence.dead,
        clock,
        takes_over=works,
        retention=settings.transfer.progress_retention,
    )
    jobs.forget_absences = services.absences.forget_everywhere
    mirrors, purges = services.mirrors, services.purges
    verification = Verification(index.keys, Rehash(index.keys, adapters.store), mirrors, purges, visitor, removed)
    jobs.works = {
        **Copies(index.keys, mirrors, purges, visitor, removed).works(),
        JobKind.VERIFY: verification,
        JobKind.WARM: Warming(index.jobs, mirrors, visitor),
    }
    return jobs
