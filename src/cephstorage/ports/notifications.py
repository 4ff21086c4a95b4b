"""Notifications: a store tells of what its own clients write and delete. Not every store can."""

from typing import Protocol

from cephstorage.domain.events import Following
from cephstorage.domain.names import BucketName


class Notifications(Protocol):
    """Sets up who is told. All raise StoreUnavailable, StoreMisconfigured."""

    async def follow(
        self, bucket: BucketName, endpoint: str, *, removals: bool | None, persistent: bool | None
    ) -> Following:
        """Have changes in a bucket pushed to an address from now on, in place of where they went before.

        ``removals``: deletions, too. ``persistent``: kept until the address takes them. None: where the release of
        the store does that well.
        """
        ...

    async def unfollow(self, bucket: BucketName) -> None:
        """Have nobody told any more; harmless when nobody is."""
        ...

    async def following(self, bucket: BucketName) -> Following | None:
        """Who is told; None when nobody is."""
        ...

    async def leave(self, bucket: BucketName, key: str) -> None:
        """Store a small object as any client would."""
        ...

    async def take_away(self, bucket: BucketName, key: str) -> None:
        """Remove such an object, so that nothing stays of it; a missing one is fine."""
        ...
