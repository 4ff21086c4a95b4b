"""What holds index and store against each other, put together."""

from collections.abc import Callable

from cephstorage.bootstrap.adapters import Adapters
from cephstorage.bootstrap.services import Services
from cephstorage.bootstrap.settings import Settings
from cephstorage.domain.walks import NEVER, WalkKind
from cephstorage.services.consistency import Bounds, Consistency
from cephstorage.services.consistency_figures import ConsistencyFigures
from cephstorage.services.events import Events
from cephstorage.services.foreign_deletions import ForeignDeletions
from cephstorage.services.reconciliation import Reconciliation
from cephstorage.services.rehash import Rehash
from cephstorage.services.repairs import Repairs
from cephstorage.services.scrub import Scrub
from cephstorage.services.visits import Pace, Visitor
from cephstorage.services.walks import WalkOrder, Walks

_RATE_WHEN_ASKED = 50.0
_PERCENT_WHEN_ASKED = 100.0


def make_consistency(
    settings: Settings,
    adapters: Adapters,
    services: Services,
    visitor: Visitor,
    removed: Callable[[], None],
    clock: Callable[[], float],
) -> Consistency:
    """The check of one key."""
    index, store, options = adapters.index, adapters.store, settings.reconcile
    repairs = Repairs(index.consistency, services.keys, services.mirrors, services.purges, visitor, removed, clock)
    return Consistency(
        index.consistency,
        index.findings,
        store,
        Rehash(index.keys, store),
        repairs,
        services.purges,
        Bounds(options.grace, options.unknown),
        clock,
        removed,
    )


def make_walks(
    settings: Settings,
    adapters: Adapters,
    consistency: Consistency,
    figures: ConsistencyFigures,
    *,
    clock: Callable[[], float],
    works: bool,
) -> Walks:
    """The walks of this process, if it does what no request waits for."""
    index, presence, options = adapters.index, adapters.presence, settings.reconcile
    consistency.count = figures.count
    pace = Pace(options.rate or _RATE_WHEN_ASKED)
    reconciliation = Reconciliation(index.keys, index.buckets, adapters.store, consistency, pace)
    scrub = Scrub(index.keys, index.buckets, index.walks, consistency, options.scrub or _PERCENT_WHEN_ASKED)
    deletions = ForeignDeletions(index.buckets, adapters.store, consistency, pace, repeats=options.rate > 0)
    orders = {
        WalkKind.RECONCILE: WalkOrder(reconciliation, options.interval, by_itself=options.rate > 0),
        WalkKind.SCRUB: WalkOrder(scrub, scrub.interval, by_itself=options.scrub > 0),
        WalkKind.DELETIONS: WalkOrder(deletions, NEVER, by_itself=False),
    }

    async def tend() -> None:
        await consistency.look_again()
        await figures.look()

    return Walks(index.walks, presence.owner, presence.dead, clock, orders if works else {}, tend)


def make_events(
    adapters: Adapters,
    services: Services,
    consistency: Consistency,
    clock: Callable[[], float],
    count: Callable[[str, int], None],
) -> Events:
    """What takes the events of followed buckets."""
    index = adapters.index
    return Events(
        adapters.store,
        index.consistency,
        index.buckets,
        consistency,
        services.sealed,
        index.settings,
        index.series,
        index.walks,
        clock,
        count,
    )
