"""The store: reached, its keys right, its names and its clock as the service needs them."""

from cephstorage.bootstrap.adapters import ceph_config
from cephstorage.bootstrap.doctor.finding import CLOCK_TOLERANCE, Finding
from cephstorage.bootstrap.live import PROBE
from cephstorage.bootstrap.settings import Settings
from cephstorage.domain.configuration import Values, missing_for_ceph
from cephstorage.domain.errors import CephStorageError, StoreMisconfigured
from cephstorage.store.ceph import CephStore
from cephstorage.store.disk import DiskStore


async def examine_store(settings: Settings, values: Values) -> list[Finding]:
    """Look at the store that is chosen."""
    if settings.store == "ceph":
        return await _ceph(settings, values)
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
        return [Finding("store", True, said), _clock(lead), names, *can]
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


async def _abilities(store: CephStore) -> Finding:
    """What the gateway can do; the bucket in which that is tried is gone afterwards."""
    name = "store abilities"
    try:
        found = await store.abilities()
    except CephStorageError as error:
        return Finding(name, False, error.msg, "See the gateway, its quotas and the cluster's health.")
    lacking = [ability.name for ability in found if ability.needed and not ability.able]
    if lacking:
        detail = f"the gateway lacks: {', '.join(lacking)}"
        return Finding(name, False, detail, "Use Ceph RGW 16.2 or later, reached directly, with S3 enabled.")
    return Finding(name, True, "; ".join(f"{'' if ability.able else 'no '}{ability.name}" for ability in found))


async def _names(store: CephStore) -> Finding:
    name = "store bucket names"
    try:
        await store.try_name(PROBE)
    except StoreMisconfigured as error:
        return Finding(name, False, error.msg, "rgw_relaxed_s3_bucket_names = true in ceph.conf; restart the gateway.")
    return Finding(name, True, f"such as {PROBE} are accepted")
