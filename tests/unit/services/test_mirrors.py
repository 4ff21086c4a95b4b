"""What a process knows of the mirrors by heart."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from cephstorage.domain.mirrors import Mirror
from cephstorage.domain.names import BucketName
from cephstorage.index import index_at
from cephstorage.index.mirrors import SqlMirrorTable
from cephstorage.services.buckets import Buckets
from cephstorage.services.mirrors import Mirrors
from cephstorage.services.origins import OriginSecrets
from cephstorage.services.sealing import Seal, SealedSettings
from cephstorage.store.disk import DiskStore

BUCKET = BucketName("alice", "photos")


class SlowTable(SqlMirrorTable):
    """A table of mirrors whose first answer comes late: ``answer`` lets it through."""

    def __init__(self, table: SqlMirrorTable) -> None:
        self.__dict__.update(table.__dict__)
        self.read, self.answer = asyncio.Event(), asyncio.Event()

    async def all(self) -> Sequence[Mirror]:
        found = await super().all()
        if not self.read.is_set():
            self.read.set()
            await self.answer.wait()
        return found


async def test_what_was_read_before_a_change_is_not_taken_over_after_it(tmp_path: Path) -> None:
    """The watch reads the mirrors just before one is added; its answer comes last."""
    index = index_at("", tmp_path / "cephstorage.db")
    await index.open()
    await index.buckets.create(BUCKET, 1.0)
    slow = SlowTable(index.mirrors)
    buckets = Buckets(index.buckets, DiskStore(tmp_path / "objects"), lambda: 1.0)
    secrets = OriginSecrets(SealedSettings(index.settings, Seal(["k" * 32])))
    mirrors = Mirrors(slow, buckets, secrets, lambda: "http://s.example", lambda: 1.0)
    before = asyncio.create_task(mirrors.refresh())
    await slow.read.wait()
    await index.mirrors.put(Mirror("m.example", BUCKET, "http://o.example"))
    after = asyncio.create_task(mirrors.refresh())
    await asyncio.wait({after}, timeout=0.5)  # it would be over by now if it did not wait for its turn
    slow.answer.set()
    await asyncio.gather(before, after)
    assert set(mirrors.hosts()) == {"m.example"}
    await index.close()
