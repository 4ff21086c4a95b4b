"""The stores under test. A new store is one more factory."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cephstorage.domain.names import BucketName
from cephstorage.ports.store import Store
from cephstorage.store.disk import DiskStore
from cephstorage.store.live import LiveStore

BUCKET = BucketName("alice", "photos")


def live(folder: Path) -> LiveStore:
    """A store that could be exchanged."""
    made = LiveStore()
    made.use(DiskStore(folder / "objects"))
    return made


FACTORIES: dict[str, Callable[[Path], Store]] = {"disk": lambda folder: DiskStore(folder / "objects"), "live": live}


@pytest.fixture(params=sorted(FACTORIES))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store with one empty bucket."""
    made = FACTORIES[request.param](tmp_path)
    await made.create_bucket(BUCKET)
    return made
