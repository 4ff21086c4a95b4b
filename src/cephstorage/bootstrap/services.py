"""The services over the adapters, and the watch that keeps what they know by heart fresh."""

from collections.abc import Callable
from dataclasses import dataclass

from cephstorage.bootstrap.adapters import Adapters
from cephstorage.bootstrap.live import Live
from cephstorage.bootstrap.probing import GatewayInForce
from cephstorage.bootstrap.secret_key import sealed_settings
from cephstorage.bootstrap.settings import Settings
from cephstorage.edge.purge import HttpEdgeCaches
from cephstorage.services.abilities import StoreAbilities
from cephstorage.services.absences import Absences
from cephstorage.services.access import Access
from cephstorage.services.buckets import Buckets
from cephstorage.services.configuration import Configuration
from cephstorage.services.edge import EdgeTrust
from cephstorage.services.invalidations import Invalidations
from cephstorage.services.key_copies import KeyCopies
from cephstorage.services.keys import Keys
from cephstorage.services.mirrors import Mirrors
from cephstorage.services.origins import OriginSecrets
from cephstorage.services.publishing import Publishing
from cephstorage.services.purges import Purges
from cephstorage.services.quotas import Quotas
from cephstorage.services.sealing import SealedSettings
from cephstorage.services.watch import ChangeWatch
from cephstorage.store.live import LiveStore
from cephstorage.transfer.engine import TransferEngine
from cephstorage.transfer.spools import SpoolDirectory


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that the faces call, and what is started and stopped around it."""

    sealed: SealedSettings
    configuration: Configuration
    access: Access
    buckets: Buckets
    quotas: Quotas
    mirrors: Mirrors
    publishing: Publishing
    trust: EdgeTrust
    absences: Absences
    purges: Purges
    invalidations: Invalidations
    keys: Keys
    copies: KeyCopies
    watch: ChangeWatch
    abilities: StoreAbilities | None
    """None: objects lie on disk, which is able to do everything."""


def make_services(
    settings: Settings,
    adapters: Adapters,
    engine: TransferEngine,
    spools: SpoolDirectory,
    address: str,
    clock: Callable[[], float],
) -> Services:
    """The services of one process. ``address``: where it is reached unless the configuration says otherwise."""
    index, store = adapters.index, adapters.store
    live_store = store if isinstance(store, LiveStore) else None
    sealed = sealed_settings(settings, index)
    access, trust = Access(index.tokens, clock), EdgeTrust(sealed)
    buckets = Buckets(index.buckets, store, clock)
    secrets = OriginSecrets(sealed)
    mirrors = Mirrors(index.mirrors, buckets, secrets, lambda: publishing.public_address, clock)
    adapters.origin.routes = mirrors
    follower = Live(settings, live_store, spools, adapters.own_parts, index.endpoints(), mirrors.hosts)
    environment = settings.given_options()
    configuration = Configuration(index.settings, sealed, environment, follower, on_ceph=live_store is not None)
    publishing = Publishing(sealed, configuration, store, address, settings.publish.expires_in, clock)
    caches = HttpEdgeCaches(lambda: trust.secret, settings.edge.slice)
    purges = Purges(index.purges, index.keys, mirrors, caches, lambda: settings.edge.purge, clock)
    mirrors.on_change = purges.forget_mirror
    absences = Absences(index.settings, clock)
    invalidations = Invalidations(index.keys, purges, absences, clock)
    keys = Keys(index.keys, index.buckets, index.transfers, engine, purges, secrets, clock)
    abilities = gateway = None
    if live_store is not None:
        gateway = GatewayInForce(settings.ceph, lambda: configuration.values)
        abilities = StoreAbilities(index.settings, gateway.address, gateway, adapters.presence.owner, clock)
    known_by_heart = (configuration, mirrors, access, publishing, trust, absences)
    refreshes = [service.refresh for service in known_by_heart]
    watch = ChangeWatch(index.settings, refreshes + ([abilities.refresh] if abilities else []))
    return Services(
        sealed,
        configuration,
        access,
        buckets,
        Quotas(index.quotas, index.buckets, gateway, settings.ceph.quota_margin, clock),
        mirrors,
        publishing,
        trust,
        absences,
        purges,
        invalidations,
        keys,
        KeyCopies(index.keys, index.buckets, engine, purges, clock),
        watch,
        abilities,
    )
