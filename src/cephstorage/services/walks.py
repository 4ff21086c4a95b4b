"""Walks over buckets, one process for each at a time: claimed, held, noted as they go, given back.

    due ──> claimed (lease) ──> page after page, noted now and then ──> ended: due again after an interval
                └─ owner dead, stopped, or a part of ours away ──> any process goes on from what was noted

What a walk does stands in ``services.reconciliation``, ``services.scrub`` and ``services.foreign_deletions``; here is
who does it and until when.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from cephstorage.domain.errors import CephStorageError, LeaseLost, Unavailable
from cephstorage.domain.names import BucketName
from cephstorage.domain.walks import NEVER, Stage, Sums, Walk, WalkKind, WalkLease, WalkStep
from cephstorage.ports.consistency import WalkTable
from cephstorage.services.rounds import Rounds

log = structlog.get_logger()

SETTLE = 600.0
"""Seconds before the first walk over a bucket."""
_ROUND = 1.0
_REST = 9.0
"""How many times as long as it took a walk rests whose work says when it comes again."""
_LEASE = 15.0
_BEAT = 3.0
_AGAIN = 5.0
_LATER = 60.0
_NOTE_EVERY = 1.0
_FAILED = "failed"
_NOTED_BYTES = 50_000.0
"""Bytes of sums that are written a second, at most, so that walks over huge buckets do not write all the time."""


class Course:
    """A walk under way in this process: where it is, what it counts, and what of that is noted.

    ``rest``: seconds until the next one, at least, where the work itself says so.
    """

    def __init__(self, walk: Walk, note: Callable[[WalkStep], Awaitable[None]]) -> None:
        self.bucket: BucketName = walk.bucket
        self.stage: Stage = walk.stage
        self.place: str | None = walk.place
        self.counts: Counter[str] = Counter(walk.counts)
        self.sums: Sums | None = Sums.of(walk.sums) if walk.sums is not None else None
        self.keys = 0
        self.rest: float | None = None
        self._note = note
        self._next = 0.0

    async def reach(self, stage: Stage, place: str | None) -> None:
        """Be at a place, with all before it done. Raises LeaseLost."""
        moved, self.stage, self.place = stage is not self.stage, stage, place
        if moved or time.monotonic() >= self._next:
            sums = bytes(self.sums) if self.sums is not None else None
            await self._note(WalkStep(stage, place, dict(self.counts), sums))
            self._next = time.monotonic() + max(_NOTE_EVERY, len(sums or b"") / _NOTED_BYTES)

    async def look(self, key: str, look: Awaitable[str]) -> None:
        """Await what is done about a key, and count it. Whatever is wrong with one key, the others are looked at.

        Raises Unavailable, LeaseLost.
        """
        try:
            action = await look
        except (Unavailable, LeaseLost):
            raise
        except CephStorageError as error:
            log.warning("key_not_checked", bucket=str(self.bucket), key=key, code=error.code, msg=error.msg)
            action = _FAILED
        except Exception:  # a defect: the walk would come back to this key for ever, and never to those behind it
            log.exception("key_check_crashed", bucket=str(self.bucket), key=key)
            action = _FAILED
        if action:
            self.counts[action] += 1


Work = Callable[[Course], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class WalkOrder:
    """What a kind of walk does, and how many seconds lie between the beginnings of two over a bucket.

    ``by_itself``: whether walks begin without anybody asking for them.
    """

    work: Work
    interval: float
    by_itself: bool = True


class Walks:
    """The walks of one process. ``dead`` tells which owners were processes of this machine and are gone."""

    def __init__(
        self,
        table: WalkTable,
        owner: str,
        dead: Callable[[Iterable[str]], Sequence[str]],
        clock: Callable[[], float],
        orders: Mapping[WalkKind, WalkOrder],
        chore: Callable[[], Awaitable[None]],
    ) -> None:
        self._table = table
        self._owner = owner
        self._dead = dead
        self._clock = clock
        self._orders = orders
        self._chore = chore
        self._tasks: list[asyncio.Task[None]] = []
        self._burying = _rounds()

    async def take_over(self) -> None:
        """Have what dead processes of this machine held go on at once; before their traces are tidied away."""
        with self._burying.guarded():
            await self._bury()

    def start(self) -> None:
        """Begin to walk, and to look after what was found."""
        if not self._orders:
            return
        self._tasks = [asyncio.create_task(self._for_ever(kind, order)) for kind, order in self._orders.items()]
        self._tasks.append(asyncio.create_task(self._tend()))

    async def stop(self) -> None:
        """Stop where the walks are; they are anybody's at once."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _for_ever(self, kind: WalkKind, order: WalkOrder) -> None:
        rounds = _rounds()
        while True:
            walk = None
            with rounds.guarded():
                walk = await self._next_walk(kind, order)
            if walk is None:
                await asyncio.sleep(_ROUND)
            else:
                await self._carry(walk, order)

    async def _next_walk(self, kind: WalkKind, order: WalkOrder) -> Walk | None:
        now = self._clock()
        first = now + min(SETTLE, order.interval) if order.by_itself else NEVER
        if not await self._table.due(kind, now, first):
            return None
        return await self._table.claim(kind, self._owner, now, now + _LEASE, first)

    async def _carry(self, walk: Walk, order: WalkOrder) -> None:
        """See a walk to its end, or give it back where it is."""
        lease = WalkLease(walk.bucket, walk.kind, self._owner, walk.fence)
        course = Course(walk, lambda step: self._table.step(lease, step, self._clock() + _LEASE))
        working = asyncio.create_task(self._work(order, course))
        beating = asyncio.create_task(self._beat(lease, working))
        try:
            await working
            await self._finish(lease, course, walk.begun_at, order)
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():  # this process stops
                await self._give_back(lease, 0.0)
                raise
        except LeaseLost:
            log.info("walk_goes_on_elsewhere", kind=walk.kind.value, bucket=str(walk.bucket))
        except CephStorageError as error:
            log.warning("walk_waits", kind=walk.kind.value, bucket=str(walk.bucket), code=error.code, msg=error.msg)
            pause = _AGAIN if isinstance(error, Unavailable) else _LATER
            await self._give_back(lease, pause)
        except Exception:
            log.exception("walk_crashed", kind=walk.kind.value, bucket=str(walk.bucket))
            await self._give_back(lease, _LATER)
        finally:
            working.cancel()
            beating.cancel()
            await asyncio.gather(working, beating, return_exceptions=True)

    async def _finish(self, lease: WalkLease, course: Course, begun_at: float | None, order: WalkOrder) -> None:
        now = self._clock()
        begun = begun_at or now
        following = max(now + _ROUND, begun + order.interval) if order.by_itself else NEVER
        if course.rest is not None:
            following = now + max(course.rest, _REST * (now - begun))
        await self._table.finish(lease, course.counts, now, following)
        log.info("walk_ended", kind=lease.kind.value, bucket=str(lease.bucket), **course.counts)

    async def _work(self, order: WalkOrder, course: Course) -> None:
        await order.work(course)

    async def _beat(self, lease: WalkLease, working: "asyncio.Task[None]") -> None:
        """Hold the lease; a walk whose lease is lost goes on elsewhere."""
        while True:
            await asyncio.sleep(_BEAT)
            try:
                await self._table.renew(lease, self._clock() + _LEASE)
            except LeaseLost:
                working.cancel()
                return
            except CephStorageError:
                continue  # the walk itself will say so

    async def _give_back(self, lease: WalkLease, pause: float) -> None:
        with contextlib.suppress(CephStorageError):
            await self._table.put_off(lease, self._clock() + pause)

    async def _tend(self) -> None:
        """Take over from dead processes, and look after findings."""
        chores = _rounds()
        while True:
            with self._burying.guarded():
                await self._bury()
            with chores.guarded():
                await self._chore()
            await asyncio.sleep(_AGAIN)

    async def _bury(self) -> None:
        for owner in self._dead(await self._table.owners()):
            await self._table.expire_owner(owner, self._clock())


def _rounds() -> Rounds:
    return Rounds("walks_not_tended", "walks_crashed")
