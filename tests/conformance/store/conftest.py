"""The stores under test. A new store is one more factory."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from cephstorage.domain.names import BucketName
from cephstorage.ports.store import Store
from cephstorage.store.ceph import CephConfig, CephStore
from cephstorage.store.disk import DiskStore
from cephstorage.store.live import LiveStore
from cephstorage.store.patient import PatientStore
from tests.harness.ceph import Ceph

BUCKET = BucketName("alice", "photos")
OTHER = BucketName("bob", "photos")


@asynccontextmanager
async def disk(folder: Path, _: pytest.FixtureRequest) -> AsyncIterator[Store]:
    yield DiskStore(folder / "objects")


@asynccontextmanager
async def live(folder: Path, _: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """A store that could be exchanged."""
    made = LiveStore()
    made.use(DiskStore(folder / "objects"))
    yield made


@asynccontextmanager
async def ceph(_: Path, request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """The gateway is shared by all tests of a worker process, other suites' among them: each finds no bucket there."""
    node: Ceph = request.getfixturevalue("ceph")
    store = CephStore(CephConfig(node.gateway, node.access_key, node.secret_key))
    await _wipe(store)
    yield store
    await _wipe(store)
    await store.close()


async def _wipe(store: CephStore) -> None:
    for bucket in (BUCKET, OTHER):
        for left in [version async for version in store.objects(bucket)]:
            await store.delete(bucket, left.key, left.store_version)
        await store.delete_bucket(bucket)


@asynccontextmanager
async def patient(folder: Path, request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """Ceph as the service uses it: what may pass is tried again."""
    async with ceph(folder, request) as store:
        yield PatientStore(store)


Factory = Callable[[Path, pytest.FixtureRequest], AbstractAsyncContextManager[Store]]
FACTORIES: dict[str, Factory] = {"disk": disk, "live": live, "ceph": ceph, "patient": patient}


@pytest.fixture(params=sorted(FACTORIES))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A store with one empty bucket."""
    async with FACTORIES[request.param](tmp_path, request) as made:
        await made.create_bucket(BUCKET)
        yield made
