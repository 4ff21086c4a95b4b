"""What index and store are held against each other with: what the index knows of keys, walks, findings.

Each method is one transaction. All raise DatabaseUnavailable when the database fails.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from cephstorage.domain.consistency import Known
from cephstorage.domain.findings import Finding, FindingQuery
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import Record
from cephstorage.domain.walks import Walk, WalkKind, WalkLease, WalkStep


class ConsistencyIndex(Protocol):
    """What the index knows of keys, and the two changes that follow from what the store shows."""

    async def known(
        self, bucket: BucketName, keys: Sequence[str], transfers: Sequence[str] = ()
    ) -> Mapping[str, Known]:
        """What is known of keys, in one snapshot; of these transfers it is said whether they have ended."""
        ...

    async def adopt(self, record: Record, in_place_of: Record | None, now: float) -> Record | None:
        """Make what lies in the store visible, in place of what was seen; the generation is given here.

        None when the key has changed since, or the version is being stored or removed. Raises BucketNotFound.
        """
        ...

    async def drop(self, record: Record, now: float) -> bool:
        """Delete a key, unless it has changed since it was seen. Raises BucketNotFound."""
        ...

    async def release(self, bucket: BucketName, key: str, store_versions: Sequence[str]) -> int:
        """Have versions of a key removed from the store that nothing names; how many nothing names still."""
        ...


class FindingTable(Protocol):
    """What is not as it should be, one row for a key."""

    async def keep(self, finding: Finding, most: int) -> bool:
        """Note a finding; since when is kept of one that is there. False: the bucket has ``most`` already."""
        ...

    async def get(self, bucket: BucketName, key: str) -> Finding | None:
        """The finding of a key."""
        ...

    async def mended(self, bucket: BucketName, key: str) -> bool:
        """Forget the finding of a key; whether there was one."""
        ...

    async def listing(self, query: FindingQuery) -> Sequence[Finding]:
        """Findings by bucket and key."""
        ...

    async def oldest(self, before: float, limit: int) -> Sequence[Finding]:
        """Those that were looked at before a moment, longest ago first."""
        ...

    async def counts(self, bucket: BucketName | None = None) -> Mapping[str, int]:
        """How many there are of a bucket (None: of all), by kind."""
        ...


class WalkTable(Protocol):
    """Walks over buckets: a row for each bucket and kind, held by one process at a time."""

    async def claim(self, kind: WalkKind, owner: str, now: float, until: float, first: float) -> Walk | None:
        """Take the walk that has been due for longest. Buckets that have none yet get one, due at ``first``; so do
        those whose walk was due never, when ``first`` is a time.
        """
        ...

    async def due(self, kind: WalkKind, now: float, first: float) -> bool:
        """Whether ``claim`` may find something: a cheap question."""
        ...

    async def renew(self, lease: WalkLease, until: float) -> None:
        """Hold a walk until then. Raises LeaseLost."""
        ...

    async def stored_bytes(self) -> int:
        """How much all buckets hold."""
        ...

    async def step(self, lease: WalkLease, step: WalkStep, until: float) -> None:
        """Note how far a walk is, and hold it until then. Raises LeaseLost."""
        ...

    async def finish(self, lease: WalkLease, counts: Mapping[str, int], now: float, following: float) -> None:
        """End a walk; the next one is due at ``following``. Raises LeaseLost."""
        ...

    async def put_off(self, lease: WalkLease, until: float) -> None:
        """Give a walk back where it stands. A lost lease is fine."""
        ...

    async def ask(self, kind: WalkKind, bucket: BucketName | None, now: float) -> int:
        """Have walks that nobody holds begin, or go on, now; how many. Raises BucketNotFound."""
        ...

    async def all(self, bucket: BucketName | None = None) -> Sequence[Walk]:
        """Every walk, by bucket and kind."""
        ...

    async def oldest(self) -> Mapping[WalkKind, float]:
        """When the last whole walk began over the bucket where that is longest ago, by kind."""
        ...

    async def owners(self) -> Sequence[str]:
        """Who holds walks."""
        ...

    async def expire_owner(self, owner: str, now: float) -> int:
        """End the leases of a dead owner."""
        ...
