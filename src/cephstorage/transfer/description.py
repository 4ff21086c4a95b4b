"""What is written on a stored version, and the record that can be read back from it when the index is lost.

Both directions stand side by side: what one does not write the other can't rebuild.
"""

from dataclasses import replace

from cephstorage.domain.records import DEFAULT_CONTENT_TYPE, OriginFacts, Record, key_validators
from cephstorage.domain.serialise import from_json, to_json
from cephstorage.domain.transfers import Plan, TransferRequest
from cephstorage.ports.store import StoredObject

_ROOM_FOR_ORIGIN = 1200
"""Bytes of the origin's facts that user metadata can take beside the rest (S3 allows 2 KiB in all)."""


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
    """The record of a stored version; None when what is written on it does not suffice.

    A mirrored copy counts as confirmed when it was made, so that its mirror asks the origin again in time.
    """
    kept = found.metadata
    if not found.md5:
        return None
    try:
        ts, generation = float(kept["timetag"]), int(kept.get("generation", "1"))
        expires = float(kept["expires"]) if "expires" in kept else None
        origin = from_json(OriginFacts, kept.get("origin", "{}"), target=kept["target"]) if "target" in kept else None
    except (KeyError, ValueError, TypeError):
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
        etag=kept.get("etag") if origin is not None else public.etag,
        last_modified=kept.get("last_modified") if origin is not None else public.last_modified,
        store_version=found.store_version,
        source=kept.get("source", "upload"),
        validated_at=ts,
        origin=origin,
        metadata=found.custom,
        expires=expires,
        expires_at=expires,
    )
