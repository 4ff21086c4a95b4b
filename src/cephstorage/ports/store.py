"""The store: it holds the bytes of keys. Ceph RGW or a folder on disk.

A version becomes readable only when ``commit`` returns. ``store_version`` names one version of an
object exactly, so that a record can never be read with other bytes than its own.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cephstorage.domain.names import BucketName


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One stored version: enough for ``reindex`` to rebuild its record."""

    bucket: BucketName
    key: str
    store_version: str
    size: int
    md5: str
    metadata: dict[str, str] = field(default_factory=dict)


class ObjectReader(Protocol):
    """An opened version. It stays whole although the key is overwritten or deleted meanwhile."""

    size: int

    def read_now(self, position: int, size: int) -> bytes | bytearray | None:
        """Up to ``size`` bytes if they are at hand without waiting for a disk, else None."""
        ...

    async def read(self, position: int, size: int) -> bytes:
        """Up to ``size`` bytes at ``position``; empty at the end. Raises StoreUnavailable."""
        ...

    def file(self) -> int | None:
        """A file descriptor whose bytes from 0 are the object, for sendfile; None when there is no file."""
        ...

    async def close(self) -> None:
        """Release the version. Idempotent."""
        ...


class Store(Protocol):
    """An object store. All methods raise StoreUnavailable or StoreFull when the store fails."""

    async def create_bucket(self, bucket: BucketName) -> None:
        """Make the bucket if it is missing."""
        ...

    async def delete_bucket(self, bucket: BucketName) -> None:
        """Remove an empty bucket; a missing one is fine."""
        ...

    def plan_version(self, transfer_id: str, fence: int) -> str:
        """The version name that a commit of this attempt will have; unique per attempt."""
        ...

    async def commit(self, part: Path, planned: StoredObject) -> None:
        """Make the bytes of the spool file ``part`` the version ``planned``, durably.

        The file may be moved away. Doing it again for the same version is harmless. Until it returns
        nothing of the version is readable.
        """
        ...

    async def holds(self, planned: StoredObject) -> bool:
        """Whether exactly this version is there, whole."""
        ...

    async def open(self, bucket: BucketName, key: str, store_version: str) -> ObjectReader:
        """Open a version. Raises StoredBytesMissing when the store does not hold it."""
        ...

    async def delete(self, bucket: BucketName, key: str, store_version: str) -> None:
        """Remove one version and no other; a missing one is fine."""
        ...

    def objects(self, bucket: BucketName) -> AsyncIterator[StoredObject]:
        """Every version in the bucket, in no order."""
        ...

    async def check(self) -> str:
        """One line about the store's health for ``doctor``. Raises StoreUnavailable."""
        ...
