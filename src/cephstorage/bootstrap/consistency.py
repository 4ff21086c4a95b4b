"""What holds index and store against each other, put together."""

from collections.abc import Callable

from cephstorage.bootstrap.adapters import Adapters
from cephstorage.bootstrap.services import Services
from cephstorage.bootstrap.settings import Settings
from cephstorage.services.consistency import Bounds, Consistency
from cephstorage.services.rehash import Rehash
from cephstorage.services.repairs import Repairs
from cephstorage.services.visits import Visitor


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
