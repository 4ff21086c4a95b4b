"""Calls about followed buckets: the store tells of what its own clients write and delete there."""

from typing import cast

from cephstorage_client.connection import ANSWER_TIMEOUT, Connection, bucket_path, given
from cephstorage_client.shapes.buckets import Following, FollowingCheck


class FollowingCalls(Connection):
    """Followed buckets. Every method raises ApiError and ServiceUnreachable."""

    def follow_bucket(
        self,
        username: str,
        bucketname: str,
        *,
        endpoint: str | None = None,
        removals: bool | None = None,
        persistent: bool | None = None,
    ) -> Following:
        """Have the store tell of changes in a bucket; ``endpoint``: the service's address as the store reaches it.

        ``removals``: of deletions, too; ``persistent``: it keeps what it can't deliver. None: where its release does it well.
        """
        body = given({"endpoint": endpoint, "removals": removals, "persistent": persistent})
        return cast("Following", self._call("PUT", f"{bucket_path(username, bucketname)}/following", json=body))

    def unfollow_bucket(self, username: str, bucketname: str) -> None:
        """Have it tell no more."""
        self._call("DELETE", f"{bucket_path(username, bucketname)}/following")

    def following(self, username: str, bucketname: str) -> Following:
        """Whether a bucket is followed, and when an event last came."""
        return cast("Following", self._call("GET", f"{bucket_path(username, bucketname)}/following"))

    def check_following(self, username: str, bucketname: str, *, seconds: float = 10.0) -> FollowingCheck:
        """Write an object as another client would, see whether its event comes within some seconds, and remove it."""
        path = f"{bucket_path(username, bucketname)}/following/check"
        answer = self._call("POST", path, json={"seconds": seconds}, timeout=seconds + ANSWER_TIMEOUT)
        return cast("FollowingCheck", answer)
