"""Quotas that come, change and go."""

from tests.invariants.dealing import EITHER, deed
from tests.invariants.installation import LANDING
from tests.invariants.model import ABSENT
from tests.invariants.races import Races
from tests.invariants.room import NO_LIMIT, Limit
from tests.invariants.world import QUOTA_EXCEEDED, keys, sizes

LIMITS = ("lifted", "full", "tight", "wide", "below", "keys")


class Limits(Races):
    """Whoever sets quotas."""

    @deed(times=2, limit=LIMITS, tenants=EITHER, key=keys, size=sizes)
    def bound(self, limit: str, tenants: bool, key: str, size: int) -> None:
        """A quota of the bucket, or of its tenant; and somebody who tries it."""
        seen = self.home.snapshot(self.bucket)
        taken, keyamount = seen.taken
        known: dict[str, Limit] = {
            "full": (taken, None),
            "tight": (taken + 700, None),
            "wide": (taken + 75_000, keyamount + 2),
            "below": (taken // 2, None),
            "keys": (None, keyamount + 1),
        }
        # A commit that has begun may end after the answer to a tenant's first quota: nobody holds the tenant's row before.
        self._limit(self._holder(tenants=tenants and not seen.moving), known.get(limit, NO_LIMIT))
        self._upload(key, self._body(size), right=True)

    @deed(key=keys, tenants=EITHER)
    def lower(self, key: str, tenants: bool) -> None:
        """A quota that is lowered while a transfer holds its room: what does not fit any more does not land."""
        point = f"{LANDING}.publish/before"
        if point not in self.home.points or not self._settles(key):
            return
        for holder in self.model.room.limits.copy():
            self._limit(holder, NO_LIMIT)
        self.delete(key)
        if self.model.allowed(key) != {ABSENT} or self.home.snapshot(self.bucket).ageing:
            return
        body, holder = self._body(700), self._holder(tenants=tenants)
        with self.home.held_at(point, lambda: self.home.service.call("PUT", self._at(key), body)) as doing:
            taken, _ = self.home.snapshot(self.bucket).taken
            self._limit(holder, (taken, None))
        reply = doing.result()
        assert (reply.status, reply.json().get("code")) == (507, QUOTA_EXCEEDED), "more landed than the quota allows"
        self._limit(holder, NO_LIMIT)

    def _holder(self, *, tenants: bool) -> str:
        return self.username if tenants else f"{self.username}/photos"

    def _limit(self, holder: str, wish: Limit) -> None:
        """Set a quota, said anew until there is an answer."""
        for creation in self.model.creations.values():
            creation.bounded |= not creation.ended
        self.model.room.bound(holder, wish)
        self.until_answered("PUT", f"/quotas/{holder}", {"size": wish[0], "keyamount": wish[1]})
