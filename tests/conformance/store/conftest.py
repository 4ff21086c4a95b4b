"""The stores under test. A new store is one more factory."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cephstorage.domain.names import BucketName
from cephstorage.ports.store import Store
from cephstorage.store.disk import DiskStore

BUCKET = BucketName("alice", "photos")

FACTORIES: dict[str, Callable[[Path], Store]] = {"disk": lambda folder: DiskStore(folder / "objects")}


@pytest.fixture(params=sorted(FACTORIES))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store with one empty bucket."""
    made = FACTORIES[request.param](tmp_path)
    await made.create_bucket(BUCKET)
    return made
