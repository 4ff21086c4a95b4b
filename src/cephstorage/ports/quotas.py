"""Quotas of buckets and tenants: set, and shown with what is stored and reserved."""

from collections.abc import Sequence
from typing import Protocol

from cephstorage.domain.names import BucketName
from cephstorage.domain.quotas import Account, Quota


class Backstop(Protocol):
    """The object store's own quotas."""

    async def set_quota(self, bucket: BucketName, quota: Quota) -> None:
        """Bound a bucket there, too; no limit at all lifts it.

        Raises StoreUnavailable, and StoreMisconfigured when we may not do that.
        """
        ...


class QuotaTable(Protocol):
    """Limits and accounts. ``now`` decides whose reservations count (epoch seconds)."""

    async def set_bucket(self, bucket: BucketName, quota: Quota) -> None:
        """Bound a bucket from now on; what is stored stays. Raises BucketNotFound."""
        ...

    async def set_tenant(self, username: str, quota: Quota) -> None:
        """Bound all buckets of a tenant together. Raises TenantNotFound."""
        ...

    async def of_bucket(self, bucket: BucketName, now: float) -> Account:
        """Raises BucketNotFound."""
        ...

    async def of_tenant(self, username: str, now: float) -> Account:
        """Raises TenantNotFound."""
        ...

    async def all(self, now: float) -> Sequence[Account]:
        """Tenants and buckets that have a limit, each kind by name, at most 1,000 of each."""
        ...
