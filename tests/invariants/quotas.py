"""What clients may expect of quotas: what does not fit is refused and changes nothing, what fits is taken."""

import contextlib

from tests.harness.service import Reply
from tests.invariants.installation import Died
from tests.invariants.world import QUOTA_EXCEEDED, World


class Quotas(World):
    """Those who may be refused."""

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
