"""The store: reached, its keys right, its names and its clock as the service needs them, and what it can do."""

import time

from cephstorage.bootstrap.adapters import ceph_config
from cephstorage.bootstrap.doctor.database import Kept
from cephstorage.bootstrap.doctor.finding import CLOCK_TOLERANCE, Finding
from cephstorage.bootstrap.live import PROBE
from cephstorage.bootstrap.settings import Settings
from cephstorage.domain.abilities import ABILITIES_SETTING, Abilities, parse, told
from cephstorage.domain.configuration import Values, missing_for_ceph
from cephstorage.domain.errors import CephStorageError, StoreMisconfigured
from cephstorage.store.ceph import CephStore
from cephstorage.store.ceph.admin_ops import AdminOps
from cephstorage.store.disk import DiskStore


async def examine_store(settings: Settings, values: Values, kept: Kept) -> list[Finding]:
    """Look at the store that is chosen. ``kept``: what the database remembers, among it what the service has seen."""
    if settings.store == "ceph":
        return [*await _ceph(settings, values), *_remembered(values["ceph_gateway"], kept.get(ABILITIES_SETTING))]
    root = settings.objects_dir
    if not root.exists():
        return [Finding("store", True, "not there yet; the first start makes it")]
    try:
        return [Finding("store", True, await DiskStore(root).check())]
    except CephStorageError as error:
        return [Finding("store", False, f"{root}: {error}", "See the disk's health, space and owner.")]


async def _ceph(settings: Settings, values: Values) -> list[Finding]:
    if missing := missing_for_ceph(values):
        advice = f"cephstorage config set {' '.join(missing)}"
        return [Finding("store", False, f"Ceph is not configured: there is no {', no '.join(missing)}", advice)]
    store = CephStore(ceph_config(values, settings.ceph))
    try:
        said, lead = await store.check(), await store.clock_lead()
        names = await _names(store)
        can = [await _abilities(store)] if names.ok else []
        quotas = [await _quotas(settings, values)] if settings.ceph.quota_margin > 0 else []
        return [Finding("store", True, said), _clock(lead), names, *can, *quotas]
    except StoreMisconfigured as error:
        return [Finding("store", False, error.msg, "Correct it with 'cephstorage config set', or at the gateway.")]
    except CephStorageError as error:
        return [Finding("store", False, error.msg, "See ceph_gateway, the gateway and the cluster's health.")]
    finally:
        await store.close()


def _clock(lead: float) -> Finding:
    well = abs(lead) <= CLOCK_TOLERANCE
    advice = "" if well else "Synchronise the clocks: the gateway refuses requests signed 15 minutes off."
    return Finding("store clock", well, f"{abs(lead):.0f} s apart from this one", advice)


async def _quotas(settings: Settings, values: Values) -> Finding:
    """Whether the gateway's own quotas can be set, as they are to be."""
    name, admin = "store quotas", AdminOps(ceph_config(values, settings.ceph))
    try:
        await admin.try_quotas(str(PROBE))
    except CephStorageError as error:
        return Finding(name, False, error.msg, "Ours hold without it; the gateway's are a second line behind them.")
    finally:
        await admin.close()
    return Finding(name, True, f"may be set, {settings.ceph.quota_margin:g} % above ours")


async def _abilities(store: CephStore) -> Finding:
    """What the gateway can do; the bucket in which that is tried is gone afterwards."""
    name = "store abilities"
    try:
        found = await store.abilities()
    except CephStorageError as error:
        return Finding(name, False, error.msg, "See the gateway, its quotas and the cluster's health.")
    return _finding(name, Abilities(store.gateway, "", time.time(), tuple(found)))


def _finding(name: str, seen: Abilities, when: str = "") -> Finding:
    try:
        return Finding(name, True, f"{when}{seen.said()}")
    except StoreMisconfigured:
        missing = ", ".join(ability.name for ability in seen.missing)
        return Finding(name, False, f"{when}the gateway lacks: {missing}", told(seen.missing))


def _remembered(gateway: str, kept: str | None) -> list[Finding]:
    """What a process of the service found when it tried this gateway."""
    seen = parse(kept)
    if not isinstance(seen, Abilities) or seen.gateway != gateway:
        return []
    hours = max(0.0, time.time() - seen.tried_at) / 3600
    release = f", {seen.release}" if seen.release else ""
    return [_finding("store abilities at work", seen, f"tried by the service {hours:.1f} h ago{release}: ")]


async def _names(store: CephStore) -> Finding:
    name = "store bucket names"
    try:
        await store.try_name(PROBE)
    except StoreMisconfigured as error:
        return Finding(name, False, error.msg, "rgw_relaxed_s3_bucket_names = true in ceph.conf; restart the gateway.")
    return Finding(name, True, f"such as {PROBE} are accepted")
