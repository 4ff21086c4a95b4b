"""A store on the shared Ceph, and one whose gateway is reached through a proxy with faults."""

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from cephstorage.domain.names import BucketName
from cephstorage.ports.store import StoredObject
from cephstorage.store.ceph import CephConfig, CephStore
from tests.harness.ceph import Ceph
from tests.harness.content import MIB, Content
from tests.harness.fault_proxy import FaultProxy

BIG = Content(1, 40 * MIB + 5)
"""Five parts of 8 MiB and one of 5 bytes."""
_numbers = itertools.count()


def config(node: Ceph, **more: Any) -> CephConfig:
    """How the node is reached."""
    return replace(CephConfig(node.gateway, node.access_key, node.secret_key), **more)


@pytest.fixture
def bucket() -> BucketName:
    """A name that no other test uses."""
    return BucketName(f"t-{uuid4().hex[:12]}", "photos")


@pytest.fixture
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Callable[[CephConfig], CephStore]]:
    """Makes stores that are closed in the end."""
    made: list[CephStore] = []

    def make(settings: CephConfig) -> CephStore:
        made.append(CephStore(settings))
        return made[-1]

    yield make
    for store in made:
        await store.close()


@pytest.fixture
async def store(make: Callable[[CephConfig], CephStore], ceph: Ceph, bucket: BucketName) -> CephStore:
    """A store with the bucket."""
    made = make(config(ceph))
    await made.create_bucket(bucket)
    return made


@pytest.fixture
def proxy(ceph: Ceph) -> Iterator[FaultProxy]:
    """A way to the gateway that can be spoilt."""
    with FaultProxy(urlsplit(ceph.gateway).port or 0) as made:
        yield made


@pytest.fixture
async def shaky(make: Callable[[CephConfig], CephStore], ceph: Ceph, proxy: FaultProxy, store: CephStore) -> CephStore:
    """A store that goes through the proxy and is quickly out of patience."""
    return make(config(ceph, gateway=proxy.address, timeout=2.0))


def planned(store: CephStore, bucket: BucketName, body: Content, key: str = "k", **metadata: str) -> StoredObject:
    """A version that nobody has committed yet."""
    name = store.plan_version(f"transfer{next(_numbers)}-{uuid4().hex[:6]}", 1)
    return StoredObject(bucket, key, name, body.size, body.md5, metadata)


def spooled(folder: Path, body: Content) -> Path:
    """A spool file with these bytes."""
    part = folder / f"{next(_numbers)}.part"
    with part.open("wb") as file:
        for view in body.views(0, body.size):
            file.write(view)
    return part


async def read(store: CephStore, version: StoredObject) -> bytes:
    """All bytes of a version."""
    reader = await store.open(version.bucket, version.key, version.store_version)
    try:
        return await reader.read(0, reader.size)
    finally:
        await reader.close()


async def uploads(store: CephStore, bucket: BucketName) -> list[str]:
    """The unfinished uploads of parts."""
    return [found.upload async for found in store._s3.uploads(str(bucket))]


async def versions(store: CephStore, bucket: BucketName) -> list[str]:
    """The names of all versions."""
    return [found.store_version async for found in store.objects(bucket)]


async def refused(*_: Any) -> None:
    """A note that can't be written."""
    raise RuntimeError
