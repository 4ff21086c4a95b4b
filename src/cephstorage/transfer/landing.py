"""Landing: verify, store, publish. The only way by which anything becomes visible.

    verify ──> plan (row + key lease) ──> store commit ──> publish (record, usage, success: one transaction)

A crash before the store commit leaves the spool, a crash after it leaves the planned version: whoever
claims the transfer next asks the store once and either publishes or does it again.
"""

import asyncio
import contextlib
import random
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

import structlog

from cephstorage.domain.errors import (
    DatabaseUnavailable,
    LeaseLost,
    PreconditionFailed,
    StoredBytesMissing,
    StoreUnavailable,
)
from cephstorage.domain.records import DEFAULT_CONTENT_TYPE, Record, key_validators
from cephstorage.domain.transfers import Kind, Lease, Plan, RetryPolicy, SourceFacts, TransferRequest
from cephstorage.domain.urls import without_credentials
from cephstorage.ports.index import LandingIndex
from cephstorage.ports.store import Note, Store, StoredObject, StoredVersion
from cephstorage.transfer.description import planned_object
from cephstorage.transfer.spool import Spool
from cephstorage.waking import woken

log = structlog.get_logger()

T = TypeVar("T")
Put = Callable[[StoredObject, Note], Awaitable[str]]
"""Makes bytes the planned version in the store."""
_AWAITED = frozenset({Kind.UPLOAD, Kind.COPY})
"""Kinds whose clients wait for the end."""

_AGAIN = RetryPolicy(attempts=1_000_000, base=0.25, cap=5.0)
"""Between two tries of a store commit."""
_COME_BACK = 10.0
_MOMENT = 2.0
"""How long every landing lets the store fail: a gateway that restarts, a connection that breaks."""
_OUTAGE = 600.0
"""How long a landing waits for the index: what is whole in the spool, or stored already, is not to be fetched again."""
_KEY_BUSY_WAIT = 0.02
_KEY_BUSY_TRIES = 500


def public_source(request: TransferRequest, source: SourceFacts | None = None) -> str:
    """Where the bytes came from, without credentials: user info and query are left out.

    Of a mirror's origins it is the one that showed this version first, as ``source`` has it.
    """
    if request.url is None:
        return "upload"
    url, server = request.url, source.server if source is not None else ""
    if server and request.target and not url.startswith(f"{server}/"):
        url = server + request.target
    return re.split("[?#]", without_credentials(url), maxsplit=1)[0]


class Landing:
    """Lands verified spools in the store and the index."""

    def __init__(
        self,
        store: Store,
        index: LandingIndex,
        clock: Callable[[], float],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._index = index
        self._clock = clock
        self._chance = chance
        self._hurry = asyncio.Event()
        self._waiting = 0
        self._publishing: set[str] = set()

    @property
    def waits(self) -> bool:
        """Whether landings are waiting for a store that fails."""
        return self._waiting > 0

    def publishes(self, transfer_id: str) -> bool:
        """Whether a transfer is being published. Its lease ends with that, and only the publication knows how."""
        return transfer_id in self._publishing

    def hurry(self) -> None:
        """Wait for no store any more (orderly stop): what has not landed fails now, and is resumed later."""
        self._hurry.set()

    def plan(self, request: TransferRequest, source: SourceFacts | None, lease: Lease, size: int, md5: str) -> Plan:
        """What will be stored for a verified spool."""
        ts = request.timetag if request.timetag is not None else self._clock()
        mirrored = source is not None and source.origin is not None
        content_type = source.content_type if source is not None else request.content_type
        return Plan(
            size=size,
            md5=md5,
            content_type=content_type or DEFAULT_CONTENT_TYPE,
            ts=ts,
            public=source.public if source is not None and mirrored else key_validators(md5, ts),
            store_version=self._store.plan_version(lease.transfer_id, lease.fence),
            source=public_source(request, source),
            origin=source.origin if source is not None else None,
            metadata=request.metadata,
            expires=request.expires,
        )

    def plan_copy(self, request: TransferRequest, source: Record, lease: Lease) -> Plan:
        """What will be stored for a copy of a record's version."""
        ts = request.timetag if request.timetag is not None else source.ts
        return Plan(
            size=source.size,
            md5=source.md5,
            content_type=request.content_type or source.content_type,
            ts=ts,
            public=key_validators(source.md5, ts),
            store_version=self._store.plan_version(lease.transfer_id, lease.fence),
            source=source.source,
            metadata=request.metadata,
            expires=request.expires,
        )

    async def land(
        self,
        request: TransferRequest,
        lease: Lease,
        spool: Spool,
        plan: Plan,
        patience: float = 0.0,
        *,
        again: bool = False,
    ) -> Record:
        """Store a verified spool and publish it. ``again``: somebody may have tried to store it before.

        A store that does not answer is tried again for ``patience`` seconds, or a moment; the bytes wait in the
        spool. Raises LeaseLost, BucketNotFound, PreconditionFailed, StoreUnavailable, StoreFull. When the
        transfer is cancelled or lost meanwhile, what it stored is removed.
        """
        return await self._land(request, lease, plan, partial(self._store.commit, spool.path), patience, again=again)

    async def copy(
        self, request: TransferRequest, lease: Lease, plan: Plan, patience: float = 0.0, *, again: bool = False
    ) -> Record:
        """Have the store copy the version that the request names, and publish it; see ``land``.

        Raises PreconditionFailed when its bytes went before they were copied: the key was replaced or deleted.
        Raises StoredBytesMissing when it was not.
        """
        assert request.copy_of is not None
        source = StoredVersion(request.copy_of.bucket, request.copy_of.key, request.copy_of.store_version)
        try:
            return await self._land(request, lease, plan, partial(self._store.copy, source), patience, again=again)
        except StoredBytesMissing:
            look = partial(self._index.published, source.bucket, source.key, source.store_version)
            if await self._told(look, patience) is not None:
                raise
            raise PreconditionFailed(
                f"The key {source.key!r} in {source.bucket} was replaced before it was copied."
            ) from None

    async def _land(
        self, request: TransferRequest, lease: Lease, plan: Plan, put: Put, patience: float, *, again: bool
    ) -> Record:
        outage = max(patience, _MOMENT) if request.kind in _AWAITED else _OUTAGE
        generation = await self._take_key(lease, plan, outage)
        planned = planned_object(request, plan, generation)
        try:
            store_version, tries = await self._commit(put, planned, lease, max(patience, _MOMENT))
            if again or tries > 1:
                await self._remove_strays(request, store_version)
            return await self._publish(request, lease, store_version, outage)
        except (LeaseLost, asyncio.CancelledError):
            with contextlib.suppress(DatabaseUnavailable):  # the row still names it: whoever is next sees to it
                await self._index.disown(request.bucket, request.key, plan.store_version)
            raise

    async def _told(self, tell: Callable[[], Awaitable[T]], outage: float = _OUTAGE) -> T:
        """Tell the index something; wait for it while it is gone, at most ``outage`` seconds.

        The lease may end meanwhile. It is renewed when the index is back, unless somebody has taken it over: then
        the answer is LeaseLost.
        """
        deadline, tries = time.monotonic() + outage, 0
        while True:
            tries += 1
            try:
                return await tell()
            except DatabaseUnavailable as error:
                wait = _AGAIN.delay(tries, self._chance(), error.retry_after) or _AGAIN.cap
                if time.monotonic() + wait > deadline or self._hurry.is_set():
                    raise
                await self._pause(wait)

    async def _remove_strays(self, request: TransferRequest, store_version: str) -> None:
        """A try whose answer was lost may have stored the bytes once more, or still be about to."""
        if (strays := self._store.strays(store_version)) is not None:
            await self._told(lambda: self._index.remove(request.bucket, request.key, strays))

    async def _commit(self, put: Put, planned: StoredObject, lease: Lease, patience: float) -> tuple[str, int]:
        """Have the store take the bytes; the version and the number of tries. Each goes on with what is noted."""
        deadline, tries = time.monotonic() + patience, 0

        async def note(store_version: str) -> None:
            nonlocal planned
            await self._told(lambda: self._index.note_version(lease, store_version))
            planned = replace(planned, store_version=store_version)

        while True:
            tries += 1
            try:
                return await put(planned, note), tries
            except StoreUnavailable as error:
                wait = _AGAIN.delay(tries, self._chance(), error.retry_after) or _AGAIN.cap
                if time.monotonic() + wait > deadline or self._hurry.is_set():
                    error.retry_after = error.retry_after or _COME_BACK
                    raise
                log.warning("landing_waits_for_store", key=planned.key, bucket=str(planned.bucket), msg=error.msg)
                await self._pause(wait)

    async def _pause(self, seconds: float) -> None:
        self._waiting += 1
        try:
            await woken(self._hurry, seconds)
        finally:
            self._waiting -= 1

    async def finish(self, request: TransferRequest, lease: Lease, plan: Plan) -> Record | None:
        """Publish what a dead owner had stored already; None when the store commit never happened."""
        store_version = await self._store.holds(planned_object(request, plan))
        if store_version is None:
            return None
        await self._take_key(lease, plan)
        await self._remove_strays(request, store_version)
        return await self._publish(request, lease, store_version, _OUTAGE)

    async def _publish(self, request: TransferRequest, lease: Lease, store_version: str, outage: float) -> Record:
        tries = 0

        async def publish() -> Record:
            nonlocal tries
            tries += 1
            return await self._index.publish(lease, self._clock(), store_version)

        self._publishing.add(lease.transfer_id)
        try:
            return await self._told(publish, outage)
        except LeaseLost:
            # A try before may have published, and the connection broken before it could say so.
            if tries == 1:
                raise
            look = partial(self._index.published, request.bucket, request.key, store_version)
            if (record := await self._told(look, outage)) is None:
                raise
            return record
        finally:
            self._publishing.discard(lease.transfer_id)

    async def _take_key(self, lease: Lease, plan: Plan, outage: float = _OUTAGE) -> int:
        """Landings of one key are serialised: wait for the one before. The generation to come."""
        for _ in range(_KEY_BUSY_TRIES):
            generation = await self._told(lambda: self._index.plan(lease, plan, self._clock()), outage)
            if generation is not None:
                return generation
            await asyncio.sleep(_KEY_BUSY_WAIT)
        raise StoreUnavailable("Another landing on the same key does not end; it is tried again.", retry_after=1)
