"""How long keys live, and what follows from it."""

from typing import Protocol

from cephstorage.domain.lifecycle import Lifecycle
from cephstorage.domain.names import BucketName


class Lifecycles(Protocol):
    """Buckets' settings, and the steps that follow from them: each one transaction, done by whoever comes."""

    async def get(self, bucket: BucketName) -> Lifecycle:
        """A bucket's settings. Raises BucketNotFound."""
        ...

    async def put(self, bucket: BucketName, lifecycle: Lifecycle) -> None:
        """Replace a bucket's settings; ``apply`` brings the keys that are there up to its rules. Raises BucketNotFound."""
        ...

    async def apply(self, most: int, now: float) -> bool:
        """Give some keys the moments that follow from their bucket's rules; False when all have them."""
        ...

    async def sweep(self, most: int, now: float) -> int:
        """Delete up to ``most`` keys whose time is over, as they are then; how many."""
        ...
