"""An origin's 304: what is remembered of the stored answer from then on (RFC 9111 section 4.3.4)."""

from dataclasses import replace

from cephstorage.domain.records import OriginFacts, Record
from cephstorage.domain.storability import confirmed
from cephstorage.ports.index import KeyIndex


def confirmed_record(record: Record, answer: OriginFacts, now: float) -> Record:
    """The record as the 304 leaves it: its bytes, validators and generation are what they were."""
    origin = confirmed(record.origin, answer) if record.origin is not None else None
    return replace(record, origin=origin, validated_at=now, invalidated_at=None)


async def note_confirmation(keys: KeyIndex, record: Record, answer: OriginFacts, now: float) -> Record:
    """Keep what a 304 said of a record; the record as it is now."""
    fresh = confirmed_record(record, answer, now)
    await keys.touch(record.bucket, record.key, record.generation, now, fresh.origin)
    return fresh
