"""The disk store after a crash inside a commit."""

from pathlib import Path

from cephstorage.domain.names import BucketName
from cephstorage.ports.store import StoredObject
from cephstorage.store.disk import DiskStore

BUCKET = BucketName.parse("alice___photos")


async def test_half_a_commit_is_no_object_and_can_be_removed(tmp_path: Path) -> None:
    store, part = DiskStore(tmp_path / "objects"), tmp_path / "part"
    await store.create_bucket(BUCKET)
    for key in ("whole", "half"):
        part.write_bytes(b"bytes")
        await store.commit(part, StoredObject(BUCKET, key, "v.1", 5, "0" * 32))
    [half] = [path for path in tmp_path.rglob("*.json") if '"half"' in path.read_text()]
    half.with_suffix("").unlink()
    half.write_bytes(half.read_bytes()[:7])
    assert [found.key async for found in store.objects(BUCKET)] == ["whole"]
    await store.delete(BUCKET, "half", "v.1")
    assert not half.exists()
