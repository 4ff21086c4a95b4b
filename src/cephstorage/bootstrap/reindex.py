"""``cephstorage reindex``: the index rebuilt from the store, by the settings of this machine."""

import time
from collections.abc import Collection
from types import MappingProxyType

from cephstorage.bootstrap.adapters import ceph_store, make_index
from cephstorage.bootstrap.database import open_patiently
from cephstorage.bootstrap.secret_key import known_keys
from cephstorage.bootstrap.settings import Settings
from cephstorage.domain.configuration import Values, missing_for_ceph
from cephstorage.domain.errors import StoreMisconfigured
from cephstorage.domain.names import BucketName
from cephstorage.index import SqlIndex
from cephstorage.ports.store import Store
from cephstorage.services.configuration import merged, stored_options
from cephstorage.services.reindex import Rebuilt, Reindex, Tell
from cephstorage.services.sealing import Seal
from cephstorage.store.disk import DiskStore


async def rebuild(settings: Settings, wanted: Collection[BucketName], tell: Tell) -> list[Rebuilt]:
    """Rebuild these buckets' index, or (none named) that of all the store has.

    Raises DatabaseUnavailable, StoreUnavailable, StoreMisconfigured, SecretKeyWrong.
    """
    index = make_index(settings)
    await open_patiently(index)
    try:
        store = await store_in_force(settings, index)
        try:
            return await Reindex(store, index.buckets, index.adoption, time.time).run(wanted, tell)
        finally:
            await store.close()
    finally:
        await index.close()


async def store_in_force(settings: Settings, index: SqlIndex, also: Values = MappingProxyType({})) -> Store:
    """The store in force; its access comes from the environment when the database is empty.

    ``also``: values that the database does not have yet.
    """
    if settings.store != "ceph":
        return DiskStore(settings.objects_dir)
    given, keys = settings.given_options(), known_keys(settings)
    opened = Seal(keys).open if keys else lambda _, kept: kept
    values = merged({**also, **stored_options(await index.settings.all(), given, opened)}, given)
    if missing := missing_for_ceph(values):
        variables = ", ".join(f"CEPHSTORAGE_{name.upper()}" for name in missing)
        raise StoreMisconfigured(f"The database does not know the access to Ceph; give it by {variables}.")
    return ceph_store(values, settings.ceph)
