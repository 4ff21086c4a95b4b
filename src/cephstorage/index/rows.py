"""Rows as domain values, and back: the columns of records and transfers in one place."""

import json
from collections.abc import Sequence
from dataclasses import fields, make_dataclass
from typing import Any

from sqlalchemy import Row

from cephstorage.domain.names import BucketName
from cephstorage.domain.records import Metadata, OriginFacts, Record
from cephstorage.domain.serialise import from_json, from_json_or_none, to_json, to_json_or_none
from cephstorage.domain.transfers import Kind, Phase, Plan, SourceFacts, State, Transfer, TransferRequest
from cephstorage.index.folders import folder_sort_key

RECORD_COLUMNS = (
    "key",
    "ts",
    "md5",
    "content_type",
    "size",
    "generation",
    "etag",
    "last_modified",
    "store_version",
    "source",
    "validated_at",
    "origin",
    "invalidated_at",
    "metadata",
    "expires",
    "expires_at",
)
_IN_COLUMNS = frozenset({"kind", "bucket", "key"})


_Unfrozen: Any = make_dataclass("_Unfrozen", [(each.name, each.type) for each in fields(Record)], slots=True)
"""A record until it is one. Each field that a frozen class is given costs a call, 2 µs for all of them; this class has
the same slots and takes a fifth of that. A page has a thousand."""


def record_of(bucket: BucketName, row: Sequence[Any]) -> Record:
    """A record from a row of ``RECORD_COLUMNS``."""
    *values, origin, invalidated_at, metadata, expires, expires_at = row
    facts = from_json_or_none(OriginFacts, origin)
    made = _Unfrozen(bucket, *values, facts, invalidated_at, _metadata(metadata), expires, expires_at, current=True)
    made.__class__ = Record
    record: Record = made
    return record


def _metadata(text: str | None) -> Metadata:
    return () if text is None else tuple(sorted(json.loads(text).items()))


def record_values(record: Record) -> dict[str, Any]:
    """A record as the values of its row."""
    return {
        "bucket": str(record.bucket),
        "vfolder": folder_sort_key(record.vfolder),
        **{name: getattr(record, name) for name in RECORD_COLUMNS},
        "origin": to_json_or_none(record.origin),
        "metadata": json.dumps(dict(record.metadata), separators=(",", ":")) if record.metadata else None,
    }


def request_json(request: TransferRequest) -> str:
    """What of a request has no column of its own."""
    return to_json(request, without=_IN_COLUMNS)


def transfer_of(row: Row[Any]) -> Transfer:
    """A transfer from a whole row."""
    bucket, kind = BucketName.parse(row.bucket), Kind(row.kind)
    return Transfer(
        id=row.id,
        token=row.token,
        request=from_json(TransferRequest, row.request, kind=kind, bucket=bucket, key=row.key),
        state=State(row.state),
        phase=Phase(row.phase),
        created_at=row.created_at,
        updated_at=row.updated_at,
        ended_at=row.ended_at,
        bytes_done=row.bytes_done,
        bytes_total=row.bytes_total,
        attempts=row.attempts,
        not_before=row.not_before,
        error_code=row.error_code,
        error_msg=row.error_msg,
        owner=row.owner,
        fence=row.fence,
        lease_until=row.lease_until,
        source=from_json_or_none(SourceFacts, row.source),
        plan=from_json_or_none(Plan, row.plan),
    )
