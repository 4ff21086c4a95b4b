"""Objects that make trouble while they are imported: the real index, and a store that shows what the disk has not."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cephstorage.domain.legacy import LegacyKey
from cephstorage.domain.names import BucketName
from cephstorage.index import SqlIndex, index_at
from cephstorage.ports.store import StoredObject
from cephstorage.services.buckets import Buckets
from cephstorage.services.legacy.findings import Finding, Line, Outcome, Told, Wishes
from cephstorage.services.legacy.keys import KeyImport, Wanted
from cephstorage.services.rehash import Rehash
from cephstorage.store.disk import DiskStore

BUCKET = BucketName("alice", "photos")


class Fleeting(DiskStore):
    """A store that shows objects which came in parts, and which another client removes before they are read."""

    async def current(self, bucket: BucketName, key: str) -> StoredObject | None:
        return StoredObject(bucket, key, "s3.e-2.v1#v1", 5, "", {"source": "s3", "timetag": "1.0"})


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[SqlIndex]:
    opened = index_at("", tmp_path / "cephstorage.db")
    await opened.open()
    yield opened
    await opened.close()


class Marked(DiskStore):
    """A store whose second object bears nonsense in the place of our metadata: a client wrote that on it."""

    async def current(self, bucket: BucketName, key: str) -> StoredObject | None:
        timetag = "1.0" if key == "k1" else "noon"
        return StoredObject(bucket, key, "a.1#v1", 5, "0" * 32, {"source": "upload", "timetag": timetag})


async def imported(index: SqlIndex, store: DiskStore) -> list[tuple[str, Outcome]]:
    """What became of two documents."""
    found = list[Finding]()
    buckets = Buckets(index.buckets, store, lambda: 1.0)
    await buckets.create(BUCKET)
    told = Told(found.append)
    keys = KeyImport(store, buckets, index.adoption, Rehash(index.keys, store), Wishes(), told)
    await keys.take([Wanted(Line("file", n, b""), LegacyKey(BUCKET, f"k{n}", None, None, None, 5)) for n in (1, 2)])
    return [(each.name, each.outcome) for each in found]


async def test_an_object_that_goes_while_it_is_imported_is_missing_and_the_rest_goes_on(
    index: SqlIndex, tmp_path: Path
) -> None:
    found = await imported(index, Fleeting(tmp_path / "objects"))
    assert found == [("k1", Outcome.MISSING), ("k2", Outcome.MISSING)]


async def test_an_object_that_bears_nonsense_is_told_of_and_the_rest_goes_on(index: SqlIndex, tmp_path: Path) -> None:
    found = await imported(index, Marked(tmp_path / "objects"))
    assert sorted(found) == [("k1", Outcome.TAKEN), ("k2", Outcome.DIFFERS)]
