"""Quotas that come, change and go: what does not fit is refused and changes nothing."""

import contextlib

from tests.harness.service import Reply
from tests.invariants.dealing import EITHER, deed
from tests.invariants.installation import Died
from tests.invariants.room import NO_LIMIT, Limit
from tests.invariants.world import QUOTA_EXCEEDED, World

limits = ("lifted", "full", "tight", "wide", "below", "keys")


class Quotas(World):
    """Whoever sets quotas, and what others may expect of them."""

    @deed(times=2, limit=limits, tenants=EITHER)
    def bound(self, limit: str, tenants: bool) -> None:
        """A quota of the bucket, or of its tenant, said anew until there is an answer."""
        seen = self.home.snapshot(self.bucket)
        size, keyamount = seen.taken
        known: dict[str, Limit] = {
            "full": (size, None),
            "tight": (size + 700, None),
            "wide": (size + 75_000, keyamount + 2),
            "below": (size // 2, None),
            "keys": (None, keyamount + 1),
        }
        wish = known.get(limit, NO_LIMIT)
        # A commit that has begun may end after the answer to a tenant's first quota: nobody holds the tenant's row before.
        holder = self.username if tenants and not seen.moving else f"{self.username}/photos"
        for creation in self.model.creations.values():
            creation.bounded |= not creation.ended
        self.model.room.bound(holder, wish)
        self.until_answered("PUT", f"/quotas/{holder}", {"size": wish[0], "keyamount": wish[1]})

    def fits(self, key: str, size: int, *, moves: bool = False) -> bool | None:
        """Whether an object of this size is to be taken now; None while something is under way that may change it."""
        room = self.model.room
        if not room.bounded or moves:  # what is moved makes its own room
            return True
        seen = self.home.snapshot(self.bucket)
        if seen.moving or seen.ageing:
            return None
        replaced = seen.records.get(key)
        if replaced is None or (self.model.trash.overwritten and replaced.origin is None):
            return room.fits(seen.taken, (size, 1))
        return room.fits(seen.taken, (size - replaced.size, 0))

    @staticmethod
    def refused(reply: Reply, fits: bool | None) -> bool:
        """Whether there was no room, if there may have been none."""
        if reply.status != 507:
            assert fits is not False or reply.status >= 300, "more was taken than the quota allows"
            return False
        assert fits is not True, f"there was room: {reply.body!r}"
        assert reply.json()["code"] == QUOTA_EXCEEDED
        return True

    def until_answered(self, method: str, target: str, content: object) -> None:
        """Ask again as long as the answer is lost: what is asked for is the same as often as it is done."""
        while True:
            with contextlib.suppress(Died):
                self.home.json(method, target, content)
                return
