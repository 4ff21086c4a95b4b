"""The gateway in force, asked for its abilities over connections of its own, beside the store that works."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from cephstorage.bootstrap.adapters import ceph_config
from cephstorage.bootstrap.sections import CephSettings
from cephstorage.domain.abilities import Ability
from cephstorage.domain.configuration import Values, missing_for_ceph
from cephstorage.domain.names import BucketName
from cephstorage.domain.quotas import Quota
from cephstorage.store.ceph import CephStore
from cephstorage.store.ceph.admin_ops import AdminOps


class GatewayInForce:
    """A ``Prober`` of the gateway that the configuration names, and a ``Backstop`` there."""

    def __init__(self, settings: CephSettings, values: Callable[[], Values]) -> None:
        self._settings = settings
        self._values = values

    def address(self) -> str:
        """The gateway's address; empty while Ceph is not configured."""
        values = self._values()
        return "" if missing_for_ceph(values) else values["ceph_gateway"]

    async def release(self) -> str:
        """See ``Prober``."""
        async with self._store() as store:
            return await store.release()

    async def abilities(self) -> Sequence[Ability]:
        """See ``Prober``."""
        async with self._store() as store:
            return await store.abilities()

    async def set_quota(self, bucket: BucketName, quota: Quota) -> None:
        """See ``Backstop``."""
        admin = AdminOps(ceph_config(self._values(), self._settings))
        try:
            await admin.set_quota(bucket, quota)
        finally:
            await admin.close()

    @asynccontextmanager
    async def _store(self) -> AsyncIterator[CephStore]:
        store = CephStore(ceph_config(self._values(), self._settings))
        try:
            yield store
        finally:
            await store.close()
