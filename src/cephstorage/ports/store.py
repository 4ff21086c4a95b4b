"""The store: it holds the bytes of keys. Ceph RGW or a folder on disk.

A version becomes readable only when ``commit`` returns. ``store_version`` names one version of an
object exactly, so that a record can never be read with other bytes than its own. It begins with the
attempt that made it (``domain.records.attempt_of``); a store may add to it what it needs to find the
version: first in the plan (an upload of parts that has begun), at last in the record.

    plan_version ──> "<attempt>" ──note──> "<attempt>#<what is under way>" ──commit──> "<attempt>#<the version>"
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cephstorage.domain.consistency import Seen
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import Metadata
from cephstorage.ports.notifications import Notifications

Note = Callable[[str], Awaitable[None]]
"""Keeps a fuller name of the version that is being committed, durably, where a successor finds it."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A version as a file of this machine, whose bytes are the object's."""

    path: Path


@dataclass(frozen=True, slots=True)
class StoredUrl:
    """A version as a signed GET that anybody may send who has it: ``target`` at the gateway, with ``host`` as Host.

    ``target`` is path and query. It is a secret for as long as it is valid.
    """

    target: str = field(repr=False)
    host: str


Place = StoredFile | StoredUrl


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """The name of one version."""

    bucket: BucketName
    key: str
    store_version: str


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One stored version: enough for ``reindex`` to rebuild its record.

    ``md5`` is empty where a client of the store brought the bytes by itself and nobody has said it. ``metadata`` is the
    record's; ``custom`` is the caller's own.
    """

    bucket: BucketName
    key: str
    store_version: str
    size: int
    md5: str
    metadata: dict[str, str] = field(default_factory=dict)
    custom: Metadata = ()


@dataclass(frozen=True, slots=True)
class StoredPage:
    """Part of a listing. ``place`` is where it goes on, None at its end; ``cost`` the requests that it took."""

    versions: tuple[Seen, ...]
    place: str | None
    cost: int = 1


class ObjectReader(Protocol):
    """An opened version. It stays whole although the key is overwritten or deleted meanwhile.

    On disk because an open file keeps its bytes. On Ceph for as long as it is read on from where reading
    began; elsewhere in the object for as long as the version is there, so that versions are removed a grace
    after they were replaced.
    """

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
        """The name of this attempt's version as far as it is known before its commit; unique per attempt."""
        ...

    async def commit(self, part: Path, planned: StoredObject, note: Note | None = None) -> str:
        """Make the bytes of the spool file ``part`` the version ``planned``, durably; its name from now on.

        The file may be moved away. Doing it again for the same attempt is harmless, and goes on with what an
        interrupted one has noted. Until it returns nothing of the version is readable. A cancelled commit has
        stopped when it raises CancelledError; the version may be there or not.
        """
        ...

    async def copy(self, source: StoredVersion, planned: StoredObject, note: Note | None = None) -> str:
        """Make the bytes of a version the version ``planned``, without their passing through here; see ``commit``.

        The copy is of that version and no other, whatever becomes of its key meanwhile. Raises StoredBytesMissing
        when the store does not hold it (any more).
        """
        ...

    async def holds(self, planned: StoredObject) -> str | None:
        """The name of exactly this attempt's version when it is there, whole."""
        ...

    async def current(self, bucket: BucketName, key: str) -> StoredObject | None:
        """What the store's own clients get under a key, whoever stored it; None when they get nothing."""
        ...

    async def open(self, bucket: BucketName, key: str, store_version: str) -> ObjectReader:
        """Open a version. Raises StoredBytesMissing when the store does not hold it."""
        ...

    async def untouched(self, bucket: BucketName, key: str) -> bool:
        """Whether the bucket is there and nothing in it speaks of the key: no version, and no mark of its deletion."""
        ...

    async def is_newest(self, bucket: BucketName, key: str, store_version: str) -> bool:
        """Whether this version is what the store's own clients get under the key."""
        ...

    def place(self, bucket: BucketName, key: str, store_version: str) -> Place | None:
        """Where a web server beside this process reads the version by itself; None when it can't."""
        ...

    def published(self, bucket: BucketName, key: str, store_version: str, expires_in: int) -> str | None:
        """The address at which anybody may GET the version for ``expires_in`` seconds, without this service.

        None when the store has no address for clients. ``expires_in`` is at most
        ``domain.configuration.LONGEST_PRESIGNED``. The address is final: signed for the host that it names.
        """
        ...

    async def delete(self, bucket: BucketName, key: str, store_version: str) -> None:
        """Remove one version and no other, and what an unfinished commit of it left; a missing one is fine."""
        ...

    def strays(self, store_version: str) -> str | None:
        """The name for whatever else the attempt of a version has left, or may leave yet, for ``delete``.

        For when a commit had to be tried again: a try whose answer was lost may come to its end later. None
        when there can't be anything.
        """
        ...

    def tentative(self, store_version: str) -> bool:
        """Whether a name speaks of an attempt, of which something may be unfinished, and not of one version."""
        ...

    async def abandon(self, bucket: BucketName, keep: Collection[str], before: float, key: str | None = None) -> int:
        """Give up unfinished commits begun before a moment that no name in ``keep`` speaks of; how many there were.

        For those whose process died before it could note them, or was not told that they had begun. ``before``
        is in epoch seconds; ``key`` None: of all keys. Who is given up by mistake begins again.
        """
        ...

    def objects(self, bucket: BucketName) -> AsyncIterator[StoredObject]:
        """Every version in the bucket, in no order."""
        ...

    async def page(self, bucket: BucketName, place: str | None) -> StoredPage:
        """Some versions of the bucket as they are listed, in no order, from a place on (None: the beginning)."""
        ...

    async def versions(self, bucket: BucketName, key: str) -> Sequence[Seen]:
        """All versions of a key and the marks of its deletion, newest first, each looked at."""
        ...

    async def hide(self, bucket: BucketName, key: str) -> None:
        """Have the store's own clients get nothing under a key. Every version stays."""
        ...

    async def buckets(self) -> Sequence[BucketName]:
        """Every bucket of ours that the store has, by name."""
        ...

    async def latest(self, bucket: BucketName, key: str, among: Collection[str]) -> str | None:
        """Which of these versions of a key was stored last; None when none of them is there."""
        ...

    def notifications(self) -> Notifications:
        """What has the store tell of its clients' doings. Raises NotSupported: this store has none but us."""
        ...

    async def check(self) -> str:
        """One line about the store's health for ``doctor``. Raises StoreUnavailable."""
        ...

    async def close(self) -> None:
        """Let go of connections. Idempotent."""
        ...
