"""What a process does that no request waits for: jobs, deletions, lives of keys, walks, events, webhooks.

The API asks for it and looks at it in every process; the work itself is done by those that do such work.
"""

from collections.abc import Callable
from dataclasses import dataclass

from cephstorage.bootstrap.adapters import Adapters
from cephstorage.bootstrap.consistency import make_consistency, make_events, make_walks
from cephstorage.bootstrap.jobs import make_jobs
from cephstorage.bootstrap.services import Services
from cephstorage.bootstrap.settings import Settings
from cephstorage.bootstrap.webhooks import make_webhooks
from cephstorage.services.consistency import Consistency
from cephstorage.services.consistency_figures import ConsistencyFigures
from cephstorage.services.deletions import Deletions
from cephstorage.services.events import Events
from cephstorage.services.jobs import Jobs
from cephstorage.services.lifecycles import Lifecycles
from cephstorage.services.monitoring import Monitoring
from cephstorage.services.trash import Trash
from cephstorage.services.visits import Visitor
from cephstorage.services.walks import Walks
from cephstorage.services.webhook_delivery import WebhookDelivery
from cephstorage.services.webhooks import Webhooks


@dataclass(frozen=True, slots=True)
class Background:
    """What works beside the requests of one process, and the services that are asked about it."""

    jobs: Jobs
    deletions: Deletions
    lifecycles: Lifecycles
    trash: Trash
    consistency: Consistency
    walks: Walks
    events: Events
    webhooks: Webhooks
    delivery: WebhookDelivery

    async def inherit(self) -> None:
        """Take over from dead processes of this machine, as long as they are known to have been here."""
        await self.walks.take_over()
        await self.delivery.inherit()

    def start(self) -> None:
        """Begin to work, where that is this process's task."""
        for work in (self.jobs, self.deletions, self.delivery, self.walks, self.lifecycles):
            work.start()

    async def stop(self) -> None:
        """Stop where the works are; others go on with them. Deliveries go on until the last transfer has ended."""
        for work in (self.walks, self.lifecycles, self.events, self.deletions, self.jobs):
            await work.stop()


def make_background(
    settings: Settings,
    adapters: Adapters,
    services: Services,
    visitor: Visitor,
    monitoring: Monitoring,
    on_removal: Callable[[], None],
    *,
    clock: Callable[[], float],
    works: bool,
) -> Background:
    """``works``: whether this process does what no request waits for. ``on_removal``: bytes are to be removed."""
    index = adapters.index

    def on_deleted() -> None:
        on_removal()
        services.purges.wake()

    deletions = Deletions(
        index.deletions,
        index.buckets,
        clock,
        rate=settings.transfer.deletion_rate,
        retention=settings.transfer.progress_retention,
        works=works,
    )
    lifecycles = Lifecycles(index.lifecycles, index.trash, clock, rate=settings.transfer.deletion_rate, works=works)
    deletions.on_deleted = lifecycles.on_deleted = on_deleted
    consistency = make_consistency(settings, adapters, services, visitor, on_removal, clock)
    figures = ConsistencyFigures(index.findings, index.walks, clock)
    webhooks, delivery = make_webhooks(settings, adapters, services, clock, works=works)
    monitoring.registry.register(figures)
    monitoring.registry.register(delivery)
    return Background(
        jobs=make_jobs(settings, adapters, services, visitor, on_removal, clock=clock, works=works),
        deletions=deletions,
        lifecycles=lifecycles,
        trash=Trash(index.trash, services.purges, clock, lifecycles.wake),
        consistency=consistency,
        walks=make_walks(settings, adapters, consistency, figures, clock=clock, works=works),
        events=make_events(adapters, services, consistency, clock, monitoring.told),
        webhooks=webhooks,
        delivery=delivery,
    )
