"""Findings: what is not as it should be with a key, since when, and what was done about it."""

from dataclasses import dataclass
from enum import StrEnum

from cephstorage.domain.names import BucketName

MOST_FINDINGS = 1000
"""Of a bucket. What is beyond is counted, and found again when there is room."""


class FindingKind(StrEnum):
    """``damaged``: the stored bytes are gone or not those of the record. ``unknown``: the store holds a version that no
    record names. ``quarantined``: such a one, hidden from the store's own clients. ``hidden``: a client of the store has
    deleted the key there, and the record is still visible.
    """

    DAMAGED = "damaged"
    UNKNOWN = "unknown"
    QUARANTINED = "quarantined"
    HIDDEN = "hidden"


class Done(StrEnum):
    """What was undertaken: nothing; its mirror was asked to fetch it anew; a transfer from its source was begun; it was
    laid aside.
    """

    NOTHING = "nothing"
    REFILL = "refill"
    REFETCH = "refetch"
    ASIDE = "aside"


@dataclass(frozen=True, slots=True)
class Finding:
    """``code`` is stable; ``detail`` is a sentence for a person. Times in epoch seconds.

    ``bytes_of``: the version whose bytes were read and are not those that were stored, though nothing that a listing
    shows tells of it; empty when something does. Such a finding stands until that version is read again or replaced.
    """

    bucket: BucketName
    key: str
    kind: FindingKind
    code: str
    done: Done
    detail: str
    since: float
    seen_at: float
    bytes_of: str = ""


@dataclass(frozen=True, slots=True)
class FindingQuery:
    """Which findings: of a bucket, of a kind, behind a bucket and key; None: of any."""

    bucket: BucketName | None = None
    kind: FindingKind | None = None
    after: tuple[str, str] = ("", "")
    limit: int = 100
