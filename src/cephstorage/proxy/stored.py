"""Answering with a stored version: nginx sends the bytes where it can reach them, else we do.

    record ──> conditions, ranges ──┬─ no bytes in the answer ──> head only
                                    ├─ asked by our edge ──────> X-Accel-Redirect to the version's place
                                    └─ else ──────────────────> open the version, send it

A version may vanish between the decision and nginx's opening it. nginx then asks again and says so
(``EdgeAsk.store_failed``), and that answer is always sent from here, with the record as it is by then.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cephstorage.domain.edge import (
    ACCEL_REDIRECT,
    DISK_LOCATION,
    DISK_WHOLE_LOCATION,
    FURTHER,
    KEEP_UNTIL,
    OWN_HEADERS,
    STORE_HOST,
    STORE_KEY,
    STORE_LOCATION,
    STORE_RANGE,
    STORE_TARGET,
    carried,
)
from cephstorage.domain.errors import StoredBytesMissing
from cephstorage.domain.handover import CONDITIONS, asked_range, file_serves, last_slice, needs_bytes
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import Record
from cephstorage.domain.validators import Answer, Outcome
from cephstorage.ports.index import KeyIndex
from cephstorage.ports.store import ObjectReader, Place, Store, StoredFile
from cephstorage.proxy.answer import (
    Headers,
    Representation,
    judge,
    send_head,
    send_stored,
    validator_headers,
)
from cephstorage.proxy.exchange import Exchange

_TRIES = 3


@dataclass(frozen=True, slots=True)
class Dressed:
    """A record as one request's client sees it. ``lifetime``: seconds from ``moment`` that the edge may keep the answer."""

    shown: Representation
    extra: Headers
    lifetime: int = 0
    moment: float = 0.0


Dress = Callable[[Record], Dressed]
"""Asked again when the record has changed."""


async def open_visible(
    keys: KeyIndex, store: Store, bucket: BucketName, key: str, record: Record | None
) -> tuple[Record, ObjectReader] | None:
    """The visible version of a key, opened. A version that was replaced meanwhile is looked up again."""
    for _ in range(_TRIES):
        if record is None:
            return None
        try:
            return record, await store.open(bucket, key, record.store_version)
        except StoredBytesMissing:
            seen = record.store_version
            record = await keys.get(bucket, key)
            if record is not None and record.store_version == seen:
                raise
    return None


@dataclass(slots=True)
class StoredAnswers:
    """Sends stored versions. ``disk_root`` is the folder that the edge knows as its disk location."""

    keys: KeyIndex
    store: Store
    disk_root: Path

    async def send(self, exchange: Exchange, record: Record, dress: Dress, *, internal_cache: bool = False) -> bool:
        """Answer with the record's bytes; False when the key has gone meanwhile.

        ``internal_cache``: the edge may keep the bytes under the version's own name, asking us each time whether
        they may be had. Raises StoredBytesMissing, StoreUnavailable.
        """
        if exchange.edge is not None:
            dressed = dress(record)
            answer = judge(exchange, dressed.shown)
            exchange.lifetime = dressed.lifetime
            if not needs_bytes(answer, exchange.request.method, record.size):
                await send_head(exchange, dressed.shown, answer, dressed.extra)
                return True
            headers = self._handed_over(exchange, record, dressed, answer)
            if headers is not None:
                more = [(STORE_KEY, version_key(record))] if internal_cache else []
                await exchange.whole(200, [*headers, *more], b"")
                return True
        opened = await open_visible(self.keys, self.store, record.bucket, record.key, record)
        if opened is None:
            return False
        record, reader = opened
        dressed = dress(record)
        exchange.lifetime = dressed.lifetime
        await send_stored(exchange, dressed.shown, reader, judge(exchange, dressed.shown), dressed.extra)
        return True

    def _handed_over(
        self, exchange: Exchange, record: Record, dressed: Dressed, answer: Answer
    ) -> list[tuple[str, str]] | None:
        """The head by which nginx sends the bytes; None when it has to be done here."""
        assert exchange.edge is not None
        if exchange.edge.store_failed is not None:
            return None
        shown, own = dressed.shown, {name for name, _ in dressed.extra}
        further = [pair for pair in dressed.extra if pair[0] not in OWN_HEADERS]
        kept = carried([*further, *(pair for pair in shown.headers if pair[0].lower() not in own)])
        place = self.store.place(record.bucket, record.key, record.store_version)
        where = (
            self._where(exchange, record, place, dressed, answer) if place is not None and kept is not None else None
        )
        if where is None or kept is None:
            return None
        ours = [pair for pair in dressed.extra if pair[0] in OWN_HEADERS]
        return [*validator_headers(shown), *ours, *kept, ("content-type", shown.content_type), *where]

    def _where(
        self, exchange: Exchange, record: Record, place: Place, dressed: Dressed, answer: Answer
    ) -> list[tuple[str, str]] | None:
        """The place of the bytes. What the edge must not keep is sent in one piece, where its client wants all of it."""
        whole = exchange.whole_will_do and dressed.lifetime == 0 and answer.outcome is Outcome.PARTIAL
        further = _further(exchange, record, place, dressed)
        if isinstance(place, StoredFile):
            below = self._below(place)
            if whole and not CONDITIONS & exchange.request.headers.keys():
                return [(ACCEL_REDIRECT, DISK_WHOLE_LOCATION + below)]
            if not file_serves(exchange.request.headers, answer):
                return None
            return [(ACCEL_REDIRECT, DISK_LOCATION + below), *further, *([(STORE_TARGET, below)] if further else [])]
        where = [(ACCEL_REDIRECT, STORE_LOCATION), (STORE_TARGET, place.target), (STORE_HOST, place.host), *further]
        wanted = None if whole else asked_range(answer)
        return where if wanted is None else [*where, (STORE_RANGE, wanted)]

    def _below(self, place: StoredFile) -> str:
        return str(place.path).removeprefix(f"{self.disk_root}/")


def _further(exchange: Exchange, record: Record, place: Place, dressed: Dressed) -> list[tuple[str, str]]:
    """How nginx fetches the other slices of what it may keep; nothing when there are none."""
    if not exchange.sliced or dressed.lifetime == 0:
        return []
    last = last_slice(exchange.request.headers.get("range"), record.size)
    if last is None:
        return []
    by = "disk" if isinstance(place, StoredFile) else "store"
    return [(FURTHER, f"{by} {last}"), (KEEP_UNTIL, f"@{int(dressed.moment) + dressed.lifetime}")]


def version_key(record: Record) -> str:
    """A name that no two versions share, for the edge's internal cache."""
    key = hashlib.sha256(record.key.encode()).hexdigest()[:32]
    return f"{record.bucket}/{key}/{record.generation}/{record.store_version}"
