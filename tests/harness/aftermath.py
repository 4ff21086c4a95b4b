"""What a data folder holds, looked at from outside: spool, store and index, and whether they agree."""

import asyncio
import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path

from cephstorage.domain.names import BucketName
from cephstorage.domain.records import ListQuery, Record
from cephstorage.index import index_at
from cephstorage.store.disk import DiskStore

_ENTRY = struct.Struct("<QQ")
_HEADER = len("01234567-89ab-cdef-0123-456789abcdef") + 8  # boot id, inode
"""The journal begins with the boot id, then come pairs of begin and end (see ``transfer.journal``)."""


@dataclass(frozen=True)
class Aftermath:
    """The records of a bucket, what the store holds for it, and the buckets whose usage is wrong."""

    records: dict[str, Record]
    stored: set[tuple[str, str]]
    drift: list[str]

    @property
    def named(self) -> set[tuple[str, str]]:
        """What the index says is stored: key and version."""
        return {(record.key, record.store_version) for record in self.records.values()}


def examine(data_dir: Path, bucket: str, database_url: str = "") -> Aftermath:
    """Read index and store of a bucket (full name); the service may run or not."""
    return asyncio.run(_examine(data_dir, BucketName.parse(bucket), database_url))


async def _examine(data_dir: Path, bucket: BucketName, database_url: str) -> Aftermath:
    index = index_at(database_url, data_dir / "cephstorage.db")
    await index.open()
    try:
        page = await index.keys.listing(bucket, ListQuery(recursive=True, limit=100_000))
        stored = {(o.key, o.store_version) async for o in DiskStore(data_dir / "objects").objects(bucket)}
        return Aftermath({record.key: record for record in page.keys}, stored, list(await index.usage_drift()))
    finally:
        await index.close()


def visible_md5(data_dir: Path, bucket: str, key: str) -> str:
    """The md5 of the bytes that the index makes visible, read from the store: no service needed."""
    return asyncio.run(_visible_md5(data_dir, BucketName.parse(bucket), key))


async def _visible_md5(data_dir: Path, bucket: BucketName, key: str) -> str:
    index = index_at("", data_dir / "cephstorage.db")
    await index.open()
    try:
        record = await index.keys.get(bucket, key)
        assert record is not None, f"{key!r} is gone"
        reader = await DiskStore(data_dir / "objects").open(bucket, key, record.store_version)
        try:
            return hashlib.md5(await reader.read(0, record.size), usedforsecurity=False).hexdigest()
        finally:
            await reader.close()
    finally:
        await index.close()


def object_files(data_dir: Path) -> list[str]:
    """Every file of the store, whatever it is, relative to the data folder."""
    return sorted(str(path.relative_to(data_dir)) for path in (data_dir / "objects").rglob("*") if path.is_file())


def spool_files(data_dir: Path) -> list[str]:
    """Every file of the spool."""
    return sorted(path.name for path in (data_dir / "spool").glob("*"))


def spooled_bytes(data_dir: Path) -> int:
    """How many bytes the spool's journals say are held, all spools together."""
    return sum(_journalled(journal) for journal in (data_dir / "spool").glob("*.spans"))


def _journalled(journal: Path) -> int:
    try:
        entries = journal.read_bytes()[_HEADER:]
    except FileNotFoundError:
        return 0
    whole = len(entries) - len(entries) % _ENTRY.size
    return sum(end - begin for begin, end in _ENTRY.iter_unpack(entries[:whole]))
