"""Landing: verify, store, publish. The only way by which anything becomes visible.

    verify ──> plan (row + key lease) ──> store commit ──> publish (record, usage, success: one transaction)

A crash before the store commit leaves the spool, a crash after it leaves the planned version: whoever
claims the transfer next asks the store once and either publishes or does it again.
"""

import asyncio
import re
from collections.abc import Callable

from cephstorage.domain.errors import LeaseLost, StoreUnavailable
from cephstorage.domain.mirrors import without_credentials
from cephstorage.domain.records import DEFAULT_CONTENT_TYPE, Record, key_validators
from cephstorage.domain.transfers import Lease, Plan, SourceFacts, TransferRequest
from cephstorage.ports.index import LandingIndex
from cephstorage.ports.store import Note, Store, StoredObject
from cephstorage.transfer.spool import Spool

_KEY_BUSY_WAIT = 0.02
_KEY_BUSY_TRIES = 500


def public_source(request: TransferRequest) -> str:
    """Where the bytes came from, without credentials: user info and query are left out."""
    if request.url is None:
        return "upload"
    return re.split("[?#]", without_credentials(request.url), maxsplit=1)[0]


class Landing:
    """Lands verified spools in the store and the index."""

    def __init__(self, store: Store, index: LandingIndex, clock: Callable[[], float]) -> None:
        self._store = store
        self._index = index
        self._clock = clock

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
            source=public_source(request),
            origin=source.origin if source is not None else None,
        )

    async def land(self, request: TransferRequest, lease: Lease, spool: Spool, plan: Plan) -> Record:
        """Store a verified spool and publish it.

        Raises LeaseLost, BucketNotFound, PreconditionFailed, StoreUnavailable, StoreFull. A store commit
        can't be called back: when the transfer is cancelled or lost meanwhile, what it stored is removed.
        """
        generation = await self._take_key(lease, plan)
        commit = asyncio.ensure_future(
            self._store.commit(spool.path, planned_object(request, plan, generation), self._noting(lease))
        )
        try:
            store_version = await asyncio.shield(commit)
            return await self._index.publish(lease, self._clock(), store_version)
        except (LeaseLost, asyncio.CancelledError):
            await asyncio.gather(commit, return_exceptions=True)
            await self._index.disown(request.bucket, request.key, plan.store_version)
            raise

    async def finish(self, request: TransferRequest, lease: Lease, plan: Plan) -> Record | None:
        """Publish what a dead owner had stored already; None when the store commit never happened."""
        store_version = await self._store.holds(planned_object(request, plan))
        if store_version is None:
            return None
        await self._take_key(lease, plan)
        return await self._index.publish(lease, self._clock(), store_version)

    def _noting(self, lease: Lease) -> Note:
        async def note(store_version: str) -> None:
            await self._index.note_version(lease, store_version)

        return note

    async def _take_key(self, lease: Lease, plan: Plan) -> int:
        """Landings of one key are serialised: wait for the one before. The generation to come."""
        for _ in range(_KEY_BUSY_TRIES):
            generation = await self._index.plan(lease, plan, self._clock())
            if generation is not None:
                return generation
            await asyncio.sleep(_KEY_BUSY_WAIT)
        raise StoreUnavailable("Another landing on the same key does not end; it is tried again.", retry_after=1)


def planned_object(request: TransferRequest, plan: Plan, generation: int | None = None) -> StoredObject:
    """The version as the store is told of it: enough metadata to rebuild the record from the store alone."""
    metadata = {
        "content_type": plan.content_type,
        "timetag": repr(plan.ts),
        "source": plan.source,
        "etag": plan.public.etag or "",
        "last_modified": plan.public.last_modified or "",
        "target": plan.origin.target if plan.origin is not None else "",
        "generation": str(generation or ""),
    }
    kept = {name: value for name, value in metadata.items() if value}
    return StoredObject(request.bucket, request.key, plan.store_version, plan.size, plan.md5, kept)
