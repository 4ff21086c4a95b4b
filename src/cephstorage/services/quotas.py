"""Quotas of buckets and tenants: set by whoever runs the service, and handed on to the gateway as a backstop.

Ours are exact. The gateway's are a second line against what goes past us, such as other S3 clients: it counts late,
and versions that wait for their removal, too. So they are set a margin above ours, as well as the gateway lets us.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from cephstorage.domain.errors import CephStorageError
from cephstorage.domain.names import BucketName, tenant_name
from cephstorage.domain.quotas import Account, Quota, checked, with_margin
from cephstorage.ports.index import BucketIndex
from cephstorage.ports.quotas import Backstop, QuotaTable

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Bound:
    """What a change has come to. ``backstop``: what became of the gateway's quotas; empty when there are to be none."""

    account: Account
    backstop: str = ""


class Quotas:
    """Sets and shows quotas. ``margin``: percent above ours of the gateway's; 0: it gets none."""

    def __init__(
        self,
        table: QuotaTable,
        buckets: BucketIndex,
        backstop: Backstop | None,
        margin: float,
        clock: Callable[[], float],
    ) -> None:
        self._table = table
        self._buckets = buckets
        self._backstop = backstop if margin > 0 else None
        self._margin = margin
        self._clock = clock

    async def of_bucket(self, bucket: BucketName) -> Account:
        """Raises BucketNotFound."""
        return await self._table.of_bucket(bucket, self._clock())

    async def of_tenant(self, username: str) -> Account:
        """Raises InvalidName, TenantNotFound."""
        return await self._table.of_tenant(tenant_name(username), self._clock())

    async def all(self) -> Sequence[Account]:
        """Every tenant and bucket with a limit, at most 1,000 of each."""
        return await self._table.all(self._clock())

    async def set_bucket(self, bucket: BucketName, quota: Quota) -> Bound:
        """Bound a bucket. Raises InvalidInput, BucketNotFound."""
        await self._table.set_bucket(bucket, checked(quota))
        return Bound(await self.of_bucket(bucket), await self.hold_back([bucket]))

    async def set_tenant(self, username: str, quota: Quota) -> Bound:
        """Bound all buckets of a tenant together. Raises InvalidName, InvalidInput, TenantNotFound."""
        await self._table.set_tenant(tenant_name(username), checked(quota))
        account = await self.of_tenant(username)
        buckets = [bucket.name for bucket in await self._buckets.of_tenant(username)] if self._backstop else []
        return Bound(account, await self.hold_back(buckets))

    async def made(self, bucket: BucketName) -> None:
        """A bucket has been made: it may be under its tenant's quota."""
        if self._backstop is not None and (await self._buckets.get(bucket)).bounded:
            await self.hold_back([bucket])

    async def hold_back(self, buckets: Sequence[BucketName]) -> str:
        """Have the gateway bound these buckets, too; what became of it. A failure is logged: ours hold without it."""
        if self._backstop is None:
            return ""
        for bucket in buckets:
            try:
                own, tenant = await self.of_bucket(bucket), await self.of_tenant(bucket.username)
                await self._backstop.set_quota(bucket, with_margin((own.quota, tenant.quota), self._margin))
            except CephStorageError as error:
                log.warning("quota_backstop_not_set", bucket=str(bucket), code=error.code, msg=error.msg)
                return error.msg
        return "set"
