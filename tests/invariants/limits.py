"""Quotas that come, change and go."""

from tests.invariants.clients import Clients
from tests.invariants.dealing import EITHER, deed
from tests.invariants.room import NO_LIMIT, Limit
from tests.invariants.world import keys, sizes

LIMITS = ("lifted", "full", "tight", "wide", "below", "keys")


class Limits(Clients):
    """Whoever sets quotas."""

    @deed(times=2, limit=LIMITS, tenants=EITHER, key=keys, size=sizes)
    def bound(self, limit: str, tenants: bool, key: str, size: int) -> None:
        """A quota of the bucket, or of its tenant, said anew until there is an answer; and somebody who tries it."""
        seen = self.home.snapshot(self.bucket)
        taken, keyamount = seen.taken
        known: dict[str, Limit] = {
            "full": (taken, None),
            "tight": (taken + 700, None),
            "wide": (taken + 75_000, keyamount + 2),
            "below": (taken // 2, None),
            "keys": (None, keyamount + 1),
        }
        wish = known.get(limit, NO_LIMIT)
        # A commit that has begun may end after the answer to a tenant's first quota: nobody holds the tenant's row before.
        holder = self.username if tenants and not seen.moving else f"{self.username}/photos"
        for creation in self.model.creations.values():
            creation.bounded |= not creation.ended
        self.model.room.bound(holder, wish)
        self.until_answered("PUT", f"/quotas/{holder}", {"size": wish[0], "keyamount": wish[1]})
        self._upload(key, self._body(size), right=True)
