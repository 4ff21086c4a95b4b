"""Events of followed buckets: each has its key held against the store, unless the index knows the same already.

    RGW ──POST──> secret right? ──> read ──> what the index knows ──> news? ──> check of the key ──> 2xx

Nothing is kept here: an event is answered when its key has been looked at, so that whoever pushes keeps it until then, or
does not keep it at all; the reconciler comes by in any case. What takes too long goes on while 503 is answered.
"""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from cephstorage.domain.consistency import Verdict
from cephstorage.domain.errors import (
    AccessDenied,
    BucketNotFound,
    CephStorageError,
    InvalidUrl,
    NotFollowed,
    StoreUnavailable,
    Unavailable,
)
from cephstorage.domain.events import (
    PROBE_PREFIX,
    Event,
    Following,
    address_of,
    is_news,
    is_token,
    read_events,
)
from cephstorage.domain.names import BucketName
from cephstorage.domain.usage import MINUTE
from cephstorage.domain.walks import WalkKind
from cephstorage.ports.consistency import ConsistencyIndex, WalkTable
from cephstorage.ports.index import BucketIndex
from cephstorage.ports.store import Store
from cephstorage.ports.tables import SeriesTable, SettingsTable
from cephstorage.services.consistency import Consistency
from cephstorage.services.sealing import SealedSettings

log = structlog.get_logger()

_SETTING = "events_secret"
_PROBED = "events_probe:"
_AWAITED, _SEEN = "awaited", "seen"
_ABREAST = 8
_MOST_WAITING = 10_000
_PATIENCE = 3.0
"""Seconds until whoever pushes gets an answer: without persistence a client of the store waits for it."""
_AGAIN = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds until a key is looked at again on which a transfer of ours was working."""
_SHOWN_DAY = 86400
_POLL = 0.05
_TRIAL = 5.0
"""Seconds for the first event of a bucket, where Ceph pushes it before it answers who wrote."""
_Name = tuple[BucketName, str]


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of a body of events: how many told news, were known already, or made no sense."""

    checked: int
    known: int
    strange: int


@dataclass(frozen=True, slots=True)
class Followed:
    """Whether a bucket is followed, and when an event last came (epoch seconds; None: not within a day)."""

    following: Following | None
    last_event_at: float | None


@dataclass(slots=True)
class Events:
    """Takes events, and sets up who sends them."""

    store: Store
    index: ConsistencyIndex
    buckets: BucketIndex
    consistency: Consistency
    sealed: SealedSettings
    settings: SettingsTable
    series: SeriesTable
    walks: WalkTable
    clock: Callable[[], float]
    count: Callable[[str, int], None] = lambda *_: None
    patience: float = _PATIENCE
    again: Sequence[float] = _AGAIN
    _secret: str = field(default="", repr=False)
    _last: dict[BucketName, float] = field(default_factory=dict)
    _queued: dict[_Name, asyncio.Task[None]] = field(default_factory=dict)
    _running: dict[_Name, asyncio.Task[None]] = field(default_factory=dict)
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_ABREAST))
    _later: set[asyncio.Task[None]] = field(default_factory=set)

    async def stop(self) -> None:
        """Drop what is being looked at: events that are not answered come again, or the reconciler comes by."""
        tasks = [*self._queued.values(), *self._running.values(), *self._later]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def admit(self, bucket: BucketName, token: str) -> None:
        """Raises AccessDenied unless the address is one that was set up. Nothing of the body is read before.

        The secret is made when a bucket is first followed, maybe by another process.
        """
        if not self._secret and (kept := await self.settings.get(_SETTING)) is not None:
            self._secret = self.sealed.opened(_SETTING, kept)
        if not self._secret or not is_token(bucket, self._secret, token):
            raise AccessDenied("This is no address for events; have it set up by 'cephstorage bucket follow'.")

    async def take(self, bucket: BucketName, body: bytes) -> Seen:
        """Act on events. Raises InvalidDocument; Unavailable when not all of them have been acted on."""
        events, strange = read_events(body)
        by_key: defaultdict[str, list[Event]] = defaultdict(list)
        for event in events:
            if event.bucket == bucket:
                by_key[event.key].append(event)
        ours = sum(len(some) for some in by_key.values())
        await self._note(bucket)
        for key in [key for key in by_key if key.startswith(PROBE_PREFIX)]:
            if (state := await self.settings.get(_PROBED + key)) is not None:
                del by_key[key]
                if state == _AWAITED:
                    await self.settings.put(_PROBED + key, _SEEN)
        known = await self.index.known(bucket, list(by_key)) if by_key else {}
        news = [key for key, some in by_key.items() if is_news(some, known[key])]
        seen = Seen(len(news), len(by_key) - len(news), strange + len(events) - ours)
        for meaning, number in (("known", seen.known), ("strange", seen.strange)):
            self.count(meaning, number)
        await self._settle([(bucket, key) for key in news])
        return seen

    async def _note(self, bucket: BucketName) -> None:
        """Remember that an event has come; in the database once a minute."""
        now, before = self.clock(), self._last.get(bucket)
        self._last[bucket] = now
        if before is None or now // MINUTE != before // MINUTE:
            await self.series.add({(f"events/{bucket}", int(now // MINUTE)): 1.0})

    async def _settle(self, names: Sequence[_Name]) -> None:
        """Look at keys, and wait for it as long as the sender has patience."""
        if len(self._queued) + len(names) > _MOST_WAITING:
            raise Unavailable("Too many keys are waiting to be looked at; send the events again.", retry_after=5)
        tasks = [self._hint(name) for name in names]
        if not tasks:
            return
        done, waiting = await asyncio.wait(tasks, timeout=self.patience)
        failed = [error for task in done if not task.cancelled() and (error := task.exception()) is not None]
        self.count("checked", len(done) - len(failed))
        self.count("unsettled", len(waiting) + len(failed))
        if waiting or failed:
            why = failed[0].msg if failed and isinstance(failed[0], CephStorageError) else "It takes longer."
            raise Unavailable(f"Not every key of these events has been looked at. {why}", retry_after=5)

    def _hint(self, name: _Name) -> "asyncio.Task[None]":
        """A look at the key that begins after now: one that waits serves everybody who comes meanwhile."""
        if (queued := self._queued.get(name)) is not None:
            return queued
        task = asyncio.create_task(self._look(name, self._running.get(name)))
        self._queued[name] = task
        task.add_done_callback(_heard)
        return task

    async def _look(self, name: _Name, before: "asyncio.Task[None] | None") -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            if before is not None:
                await asyncio.wait([before])
            async with self._places:
                self._queued.pop(name, None)
                self._running[name] = task
                await self._check(*name)
        finally:
            if self._queued.get(name) is task:
                del self._queued[name]
            if self._running.get(name) is task:
                del self._running[name]

    async def _check(self, bucket: BucketName, key: str, *, first: bool = True) -> Verdict:
        try:
            checked = await self.consistency.check(bucket, key, hinted=True)
        except BucketNotFound:
            return Verdict.FINE
        except CephStorageError as error:
            if error.retryable:
                raise
            _left(bucket, key, error)  # sent again it would fail again, and hold up what comes after it
            return Verdict.FINE
        except Exception:  # a defect, which would be there again, too
            log.exception("hint_crashed", bucket=str(bucket), key=key)
            return Verdict.FINE
        if checked.verdict is Verdict.PASSING and first:
            again = asyncio.create_task(self._again(bucket, key))
            self._later.add(again)
            again.add_done_callback(self._later.discard)
        return checked.verdict

    async def _again(self, bucket: BucketName, key: str) -> None:
        """Look once more when our own transfer to the key has had time to end."""
        for pause in self.again:
            await asyncio.sleep(pause)
            try:
                if await self._check(bucket, key, first=False) is not Verdict.PASSING:
                    return
            except CephStorageError as error:
                _left(bucket, key, error)
                return

    async def follow(
        self, bucket: BucketName, base: str, *, removals: bool | None = None, persistent: bool | None = None
    ) -> Followed:
        """Have the store tell of a bucket's changes at ``base``, an address of ours as the store reaches it.

        Deletions that it does not tell of are looked for from now on. A bucket whose events are not kept is followed
        only where they arrive: each write waits for the address, which may take minutes if nobody answers there.
        Raises InvalidUrl when they don't; BucketNotFound, NotSupported, StoreMisconfigured.
        """
        await self.buckets.get(bucket)
        notifications = self.store.notifications()
        self._secret = await self.sealed.made(_SETTING)
        address = address_of(base, bucket, self._secret)
        following = await notifications.follow(bucket, address, removals=removals, persistent=persistent)
        if not following.persistent and not await self._arrive_at_once(bucket):
            await notifications.unfollow(bucket)
            raise InvalidUrl(
                f"No event came within {_TRIAL:g} s from Ceph at {base}: it can't reach that address, or something else answers "
                "there. The bucket is not followed, for each write into it would wait for that address."
            )
        if not following.removals:
            await self.walks.ask(WalkKind.DELETIONS, bucket, self.clock())
        log.info("bucket_followed", bucket=str(bucket), removals=following.removals, persistent=following.persistent)
        return Followed(following, await self._last_event(bucket))

    async def unfollow(self, bucket: BucketName) -> None:
        """Have it tell no more. Raises BucketNotFound, NotSupported."""
        await self.buckets.get(bucket)
        await self.store.notifications().unfollow(bucket)
        log.info("bucket_unfollowed", bucket=str(bucket))

    async def followed(self, bucket: BucketName) -> Followed:
        """Whether a bucket is followed. Raises BucketNotFound, NotSupported."""
        await self.buckets.get(bucket)
        return Followed(await self.store.notifications().following(bucket), await self._last_event(bucket))

    async def last_events(self, bucket: BucketName | None = None) -> dict[str, float]:
        """When events last came, by bucket (epoch seconds, to ten minutes), of those that had any within a day."""
        now, prefix = self.clock(), f"events/{bucket}" if bucket is not None else "events/"
        rows = await self.series.read(prefix, int((now - _SHOWN_DAY) // MINUTE), int(now // MINUTE) + 1, 10)
        last: dict[str, float] = {}
        for series, minute, _ in rows:
            last[series.removeprefix("events/")] = float(minute * MINUTE)
        here = {str(name): moment for name, moment in self._last.items() if bucket in {None, name}}
        return {name: max(last.get(name, 0.0), here.get(name, 0.0)) for name in last.keys() | here.keys()}

    async def _last_event(self, bucket: BucketName) -> float | None:
        """When an event last came, to any process: to the minute, where it was another one."""
        now, name = self.clock(), f"events/{bucket}"
        rows = await self.series.read(name, int((now - _SHOWN_DAY) // MINUTE), int(now // MINUTE) + 1, 1)
        minutes = [float(minute * MINUTE) for series, minute, _ in rows if series == name]
        moments = [*minutes, *([self._last[bucket]] if bucket in self._last else [])]
        return max(moments, default=None)

    async def probe(self, bucket: BucketName, seconds: float) -> float | None:
        """Write an object as another client would, and see whether its event comes; after how many seconds it did.

        The object is removed. Raises BucketNotFound, NotFollowed, NotSupported, StoreUnavailable.
        """
        if (await self.followed(bucket)).following is None:
            raise NotFollowed(
                f"Nothing tells of changes in bucket {bucket}: follow it first (`cephstorage bucket follow`)."
            )
        return await self._probe(bucket, seconds, kept=True)

    async def _arrive_at_once(self, bucket: BucketName) -> bool:
        """Whether events come that are not kept. Who can't tell is not followed."""
        try:
            return await self._probe(bucket, _TRIAL, kept=False) is not None
        except BaseException:
            await self.store.notifications().unfollow(bucket)
            raise

    async def _probe(self, bucket: BucketName, seconds: float, *, kept: bool) -> float | None:
        """See ``probe``. ``kept``: the event may come after its object was stored."""
        notifications, key = self.store.notifications(), f"{PROBE_PREFIX}{secrets.token_hex(16)}"
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await self.settings.put(_PROBED + key, _AWAITED)
        leaving = asyncio.create_task(notifications.leave(bucket, key))
        try:
            while True:
                stored = leaving.done()
                if await self.settings.get(_PROBED + key) == _SEEN:
                    await leaving
                    return loop.time() - begun
                if stored:
                    leaving.result()
                if loop.time() - begun > seconds or (stored and not kept):
                    return None
                await asyncio.sleep(_POLL)
        finally:
            leaving.cancel()
            await self._take_away(bucket, key)
            await self._forget(_PROBED + key)

    async def _take_away(self, bucket: BucketName, key: str) -> None:
        """Remove a probe's object; where it is told of, that waits for the address, too."""
        try:
            await self.store.notifications().take_away(bucket, key)
        except StoreUnavailable as error:
            log.warning("probe_not_removed", bucket=str(bucket), key=key, code=error.code, msg=error.msg)

    async def _forget(self, name: str) -> None:
        for _ in range(_ABREAST):
            version = await self.settings.version()
            if await self.settings.get(name) is None or await self.settings.change({name: None}, version):
                return


def _left(bucket: BucketName, key: str, error: CephStorageError) -> None:
    log.warning("hint_left_to_reconciler", bucket=str(bucket), key=key, code=error.code, msg=error.msg)


def _heard(look: "asyncio.Task[None]") -> None:
    """Whoever waited for a look that failed has been told, or has gone and sends its events again."""
    if not look.cancelled():
        look.exception()
