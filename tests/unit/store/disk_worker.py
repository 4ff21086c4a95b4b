"""A process of its own for the disk store's bad days: it fails, then is healed, and prints what it saw.

python -m tests.unit.store.disk_worker full <folder> <part>   no file may grow past 4 KiB, then any may
python -m tests.unit.store.disk_worker unwritable <folder>    the folder may not be written, by a plain user
"""

import asyncio
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from cephstorage.domain.errors import CephStorageError, StoredBytesMissing
from cephstorage.domain.names import BucketName
from cephstorage.ports.store import StoredObject
from cephstorage.store.disk import DiskStore

BUCKET = BucketName("alice", "photos")
LIMIT = 4096
NOBODY = 65534


def _set_limit(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


async def _code(work: Any) -> str | None:
    try:
        await work
    except CephStorageError as error:
        return error.code
    return None


async def full(folder: Path, part: Path) -> dict[str, Any]:
    """Commit with no room for the side file or the copy, look, then commit again with room."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store = DiskStore(folder / "objects")
    await store.create_bucket(BUCKET)
    size = part.stat().st_size
    metadata = {} if size > LIMIT else {"target": "x" * 2 * LIMIT}
    version = StoredObject(BUCKET, "k", store.plan_version("a", 1), size, "0" * 32, metadata)
    _set_limit(LIMIT)
    seen: dict[str, Any] = {"first": await _code(store.commit(part, version))}
    _set_limit(resource.RLIM_INFINITY)
    seen["half"] = [found.key async for found in store.objects(BUCKET)], await store.holds(version)
    try:
        await store.open(BUCKET, "k", version.store_version)
    except StoredBytesMissing as error:
        seen["open"] = error.code
    seen["copies"] = [path.name for path in (folder / "objects").rglob("*.tmp")]
    seen["second"] = await _code(store.commit(part, version))
    seen["after"] = [found == version async for found in store.objects(BUCKET)], await store.holds(version)
    await store.delete(BUCKET, "k", version.store_version)
    seen["left"] = sorted(str(path.relative_to(folder)) for path in (folder / "objects").rglob("*") if path.is_file())
    return seen


async def unwritable(folder: Path) -> dict[str, Any]:
    """Everything that writes, as a user who may not. The parents need not be open to that user."""
    part = folder.parent / "given.part"
    os.chdir(folder)
    await asyncio.to_thread(int)  # what threads need is imported before the rights are gone
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
    store = DiskStore(Path("objects"))
    version = StoredObject(BUCKET, "k", store.plan_version("a", 1), 1, "0" * 32)
    works = {
        "create_bucket": store.create_bucket(BUCKET),
        "commit": store.commit(part, version),
        "check": store.check(),
    }
    return {name: await _code(work) for name, work in works.items()}


if __name__ == "__main__":
    verb, *paths = sys.argv[1:]
    print(json.dumps(asyncio.run({"full": full, "unwritable": unwritable}[verb](*map(Path, paths)))))
