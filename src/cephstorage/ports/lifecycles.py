"""How long keys live, and what follows from it."""

from typing import Protocol

from cephstorage.domain.lifecycle import Lifecycle, TrashPage
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import Record


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


class Trash(Protocol):
    """Versions that were deleted or replaced and may come back. Their bytes are in the store as long as they are here."""

    async def listing(self, bucket: BucketName, prefix: str, limit: int, cursor: str | None, now: float) -> TrashPage:
        """A page of what may be restored, by key and generation. Raises BucketNotFound, InvalidCursor."""
        ...

    async def restore(self, bucket: BucketName, key: str, generation: int | None, now: float, *, over: bool) -> Record:
        """Make a version (None: the newest in the trash) visible again, as a new generation with the same bytes.

        ``over``: also in place of a key that is there. Raises BucketNotFound, KeyNotFound, PreconditionFailed,
        QuotaExceeded.
        """
        ...

    async def empty(self, bucket: BucketName, key: str | None, generation: int | None, now: float) -> int:
        """Have versions removed at the next sweep (None: all, of the bucket or the key); how many. Raises BucketNotFound."""
        ...

    async def sweep(self, most: int, now: float) -> int:
        """Queue the bytes of up to ``most`` versions whose time is over for removal; how many."""
        ...
