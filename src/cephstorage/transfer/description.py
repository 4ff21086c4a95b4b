"""What is written on a stored version, and the record that can be read back from it when the index is lost.

Both directions stand side by side: what one does not write the other can't rebuild.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

from cephstorage.domain.records import DEFAULT_CONTENT_TYPE, LATEST, OriginFacts, Record, key_validators
from cephstorage.domain.serialise import from_json, to_json
from cephstorage.domain.storability import kept_headers
from cephstorage.domain.transfers import Plan, TransferRequest
from cephstorage.domain.validators import valid_etag
from cephstorage.ports.store import StoredObject

_ROOM_FOR_ORIGIN = 1200
"""Bytes of the origin's facts that user metadata can take beside the rest (S3 allows 2 KiB in all)."""
_MOST_GENERATIONS = 2**62
"""Every database holds what is counted on from here."""
_NO_HEADER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""What no header can hold (RFC 9110 section 5.5), nor any text that comes from one."""


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
        "origin": _origin_text(plan.origin),
        "expires": repr(plan.expires) if plan.expires is not None else "",
    }
    kept = {name: value for name, value in metadata.items() if value}
    return StoredObject(request.bucket, request.key, plan.store_version, plan.size, plan.md5, kept, plan.metadata)


def _origin_text(origin: OriginFacts | None) -> str:
    """The origin's facts; without its headers when they are too long to be carried."""
    if origin is None:
        return ""
    text = to_json(origin, without=frozenset({"target"}))
    if len(text) <= _ROOM_FOR_ORIGIN:
        return text
    return to_json(replace(origin, headers=()), without=frozenset({"target"}))


def record_of(found: StoredObject) -> Record | None:
    """The record of a stored version; None when what is written on it does not suffice, or makes no sense.

    Any client of the store may have written it, so that nothing of it is believed: what an origin could not have answered
    here does not become an answer by standing in the store. A mirrored copy counts as confirmed when it was made, so that
    its mirror asks the origin again in time.
    """
    kept = found.metadata
    if not found.md5 or any(map(_NO_HEADER.search, kept.values())):
        return None
    try:
        ts, generation = _moment(kept["timetag"]), int(kept.get("generation", "1"))
        expires = _moment(kept["expires"]) if "expires" in kept else None
        origin = _origin(kept) if "target" in kept else None
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    if not 0 <= generation <= _MOST_GENERATIONS:
        return None
    public = key_validators(found.md5, ts)
    return Record(
        bucket=found.bucket,
        key=found.key,
        ts=ts,
        md5=found.md5,
        content_type=kept.get("content_type", DEFAULT_CONTENT_TYPE),
        size=found.size,
        generation=generation,
        etag=valid_etag(kept.get("etag")) if origin is not None else public.etag,
        last_modified=kept.get("last_modified") if origin is not None else public.last_modified,
        store_version=found.store_version,
        source=kept.get("source", "upload"),
        validated_at=ts,
        origin=origin,
        metadata=found.custom,
        expires=expires,
        expires_at=expires,
    )


def _moment(text: str) -> float:
    """Epoch seconds. Raises ValueError."""
    moment = float(text)
    if not 0 <= moment <= LATEST:
        raise ValueError(text)
    return moment


def _origin(kept: Mapping[str, str]) -> OriginFacts:
    """The origin's facts. Raises ValueError, TypeError, AttributeError, RecursionError when they are none."""
    origin = from_json(OriginFacts, kept.get("origin", "{}"), target=kept["target"])
    shown, dates = origin.validators, (origin.date, origin.confirmed_date)
    needed = [text for pair in origin.headers for text in pair] + [name for name, _ in origin.varies]
    perhaps = [shown.etag, shown.last_modified, *dates, *(value for _, value in origin.varies)]
    texts = needed + [text for text in perhaps if text is not None]
    numbers = (origin.age, origin.request_time, origin.response_time)
    pairs = all(len(pair) == 2 for pair in origin.headers)
    if not pairs or any(map(_NO_HEADER.search, texts)) or not all(0 <= number <= LATEST for number in numbers):
        raise ValueError(origin)
    return replace(origin, headers=kept_headers(origin.headers))
