"""RGW's own quotas of buckets, by the Admin Ops API.

That takes a capability which users of S3 do not have by themselves: ``buckets=write``. Limits go as query
parameters, sizes in KiB; RGW 16 refuses a signed JSON body. Source: "Admin Operations", Quotas, in the Ceph Object Gateway's documentation.
"""

from http import HTTPStatus

from cephstorage.domain.errors import StoreMisconfigured, StoreUnavailable
from cephstorage.domain.names import BucketName
from cephstorage.domain.quotas import Quota
from cephstorage.store.ceph.config import CephConfig
from cephstorage.store.ceph.gateway import Gateway
from cephstorage.store.ceph.xml import parse

_NO_LIMIT = "-1"


class AdminOps:
    """What the gateway's user may administer. Owns its connections: ``close`` at the end."""

    def __init__(self, config: CephConfig) -> None:
        self._gateway = Gateway(config)

    async def close(self) -> None:
        """Drop every connection. Idempotent."""
        await self._gateway.close()

    async def set_quota(self, bucket: BucketName, quota: Quota) -> None:
        """Set the gateway's quota of a bucket, or lift it. Raises StoreUnavailable, StoreMisconfigured."""
        if not await self._put(str(bucket), quota):
            raise StoreUnavailable(f"The Ceph gateway {self._gateway.config.gateway} has no bucket {bucket}.")

    async def try_quotas(self, nowhere: str) -> None:
        """See whether we may set quotas, on a bucket that is not there. Raises StoreUnavailable, StoreMisconfigured."""
        await self._put(nowhere, Quota())

    async def _put(self, bucket: str, quota: Quota) -> bool:
        """False: there is no such bucket. Capabilities are looked at before that."""
        user = await self._user()
        query = [
            ("quota", ""),
            ("uid", user),
            ("bucket", bucket),
            ("enabled", "true" if quota.bounds else "false"),
            ("max-size-kb", _NO_LIMIT if quota.size is None else str(-(-quota.size // 1024))),
            ("max-objects", _NO_LIMIT if quota.keyamount is None else str(quota.keyamount)),
        ]
        answer = await self._gateway.ask("PUT", "/admin/bucket", query, fine={403, 404})
        if answer.status == HTTPStatus.FORBIDDEN:
            raise StoreMisconfigured(
                f"The Ceph gateway {self._gateway.config.gateway} does not let its user {user} set quotas; allow it "
                f"(radosgw-admin caps add --uid={user} --caps=buckets=write), or set CEPHSTORAGE_CEPH_QUOTA_MARGIN to 0."
            )
        return answer.status != HTTPStatus.NOT_FOUND

    async def _user(self) -> str:
        """The id of the user that our access key belongs to."""
        root = parse((await self._gateway.ask("GET", "/")).body)
        owners = root.children("Owner") if root is not None else ()
        user = next((owner.text("ID") for owner in owners), "")
        if not user:
            raise StoreUnavailable(f"The Ceph gateway {self._gateway.config.gateway} does not say whose key ours is.")
        return user
