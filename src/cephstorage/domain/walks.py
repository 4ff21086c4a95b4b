"""Walks over a bucket that look whether index and store agree: how far one is, and what it adds up on its way.

    objects ──> sums ──> records ──> end          a reconciliation
    records ──> end                               a scrub
    objects ──> end                               a look for what other clients have deleted

The listing of a store has no order, and no memory holds what it said of a hundred million keys. So each version that
is found where the index names it is added to one of a few thousand sums, by the hash of its key; then the records are
added up in the same way. Records are looked at one by one only where the two sums differ: where something is missing,
or was written meanwhile.
"""

import hashlib
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from cephstorage.domain.names import BucketName

NEVER = 1e15
"""When walks are due that nobody has asked for and that do not begin by themselves."""
_KEYS_PER_SUM = 64
_LEAST, _MOST = 16, 1 << 18
_FEW_GONE = 100
_PART_GONE = 20
_WHOLE = (1 << 64) - 1


class WalkKind(StrEnum):
    """``reconcile``: what is there, and of which size. ``scrub``: its bytes are read and hashed.

    ``deletions``: what other clients have deleted in a followed bucket.
    """

    RECONCILE = "reconcile"
    SCRUB = "scrub"
    DELETIONS = "deletions"


class Stage(StrEnum):
    """What a walk is at."""

    OBJECTS = "objects"
    SUMS = "sums"
    RECORDS = "records"


FIRST = {WalkKind.RECONCILE: Stage.OBJECTS, WalkKind.SCRUB: Stage.RECORDS, WalkKind.DELETIONS: Stage.OBJECTS}


@dataclass(frozen=True, slots=True)
class Walk:
    """The row of a walk. ``begun_at`` None: it waits for ``due_at``. Times in epoch seconds."""

    bucket: BucketName
    kind: WalkKind
    stage: Stage
    place: str | None = None
    sums: bytes | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    begun_at: float | None = None
    last_begun_at: float | None = None
    last_ended_at: float | None = None
    last_counts: Mapping[str, int] = field(default_factory=dict)
    owner: str | None = None
    fence: int = 0
    due_at: float = 0.0

    @property
    def concerns_nobody(self) -> bool:
        """Whether it is a look for deletions in a bucket that is not followed."""
        return self.kind is WalkKind.DELETIONS and self.owner is None and self.due_at >= NEVER


@dataclass(frozen=True, slots=True)
class WalkLease:
    """Proof that ``owner`` may act for a walk. A higher fence makes it void."""

    bucket: BucketName
    kind: WalkKind
    owner: str
    fence: int


@dataclass(frozen=True, slots=True)
class WalkStep:
    """How far a walk is. ``sums`` None: as they were noted last."""

    stage: Stage
    place: str | None
    counts: Mapping[str, int]
    sums: bytes | None = None


def mends_on(counts: Mapping[str, int], keys: int) -> bool:
    """Whether a walk should go on bringing bytes anew: not when so much is gone that the store itself must be looked at."""
    gone = sum(counts.get(name, 0) for name in ("damaged", "refetched", "refilled"))
    return gone < max(_FEW_GONE, keys // _PART_GONE)


class Sums:
    """Sums of what was found, and of what is recorded, by the hash of the key: as many as the bucket's keys ask for.

    In memory and in the row they take 16 bytes each, 4 MiB at most.
    """

    def __init__(self, keys: int) -> None:
        wanted = max(_LEAST, min(_MOST, keys // _KEYS_PER_SUM))
        self._size = 1 << (wanted - 1).bit_length()
        self._sums = array("Q", bytes(16 * self._size))

    @classmethod
    def of(cls, kept: bytes) -> "Sums":
        """What ``bytes`` gave."""
        made = cls(0)
        made._size = len(kept) // 16
        made._sums = array("Q", kept)
        return made

    def __bytes__(self) -> bytes:
        return self._sums.tobytes()

    def found(self, key: str, identity: str) -> None:
        """A version lies in the store where the index names it."""
        self._add(key, identity, 0)

    def recorded(self, key: str, identity: str) -> None:
        """A record names a version."""
        self._add(key, identity, self._size)

    def differ(self, key: str) -> bool:
        """Whether something is not the same about this key or one that shares its sum."""
        number = _hash(key) % self._size
        return self._sums[number] != self._sums[self._size + number]

    def all_equal(self) -> bool:
        """Whether nothing is left to be looked at."""
        return self._sums[: self._size] == self._sums[self._size :]

    def forget_recorded(self) -> None:
        """Begin to add up the records anew."""
        self._sums[self._size :] = array("Q", bytes(8 * self._size))

    def _add(self, key: str, identity: str, behind: int) -> None:
        place = behind + _hash(key) % self._size
        self._sums[place] = (self._sums[place] + _hash(f"{key}\0{identity}")) & _WHOLE


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
