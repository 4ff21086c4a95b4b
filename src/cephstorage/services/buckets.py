"""Buckets of tenants and their usage."""

from collections.abc import Callable, Sequence

from cephstorage.domain.names import BucketName, tenant_name
from cephstorage.domain.records import Bucket
from cephstorage.ports.index import BucketIndex
from cephstorage.ports.store import Store


class Buckets:
    """Creates, shows and deletes buckets in store and index together."""

    def __init__(self, index: BucketIndex, store: Store, clock: Callable[[], float]) -> None:
        self._index = index
        self._store = store
        self._clock = clock

    async def create(self, name: BucketName) -> bool:
        """Make tenant and bucket; False when it was there. The store goes first: an index row promises a bucket."""
        await self._store.create_bucket(name)
        return await self._index.create(name, self._clock())

    async def get(self, name: BucketName) -> Bucket:
        """A bucket with its usage. Raises BucketNotFound."""
        return await self._index.get(name)

    async def of_tenant(self, username: str) -> Sequence[Bucket]:
        """A tenant's buckets."""
        return await self._index.of_tenant(tenant_name(username))

    async def delete(self, name: BucketName) -> None:
        """Delete an empty bucket. Raises BucketNotFound, BucketNotEmpty.

        The store's bucket stays: it may still hold bytes that wait for removal, and is used again
        when the bucket comes back.
        """
        await self._index.delete(name)
