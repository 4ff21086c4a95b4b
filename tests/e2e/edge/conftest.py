"""Mirrors asked as the edge asks, and the module's service and origin."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from cephstorage.bootstrap.secret_key import sealed_settings
from cephstorage.bootstrap.settings import Settings
from cephstorage.domain.edge import EDGE, SECRET_SETTING, SLICE, STORE_FAILED
from cephstorage.index import SqliteIndex
from tests.e2e.mirror.site import Download, Site
from tests.harness.origin import FaultOrigin
from tests.harness.service import Service

SLICE_SIZE = 1 << 20


def edge_secret(service: Service) -> str:
    """The secret that the service and its edges share."""

    async def read() -> str:
        index = SqliteIndex(service.data_dir / "cephstorage.db")
        await index.open()
        try:
            return await sealed_settings(Settings(data_dir=service.data_dir), index).made(SECRET_SETTING)
        finally:
            await index.close()

    return asyncio.run(read())


class Edge:
    """Speaks to a service as nginx does: with the secret, in slices."""

    def __init__(self, site: Site, secret: str) -> None:
        self.site = site
        self.secret = secret

    def headers(self, more: dict[str, str] | None = None) -> dict[str, str]:
        return {EDGE: self.secret, **(more or {})}

    def get(self, target: str, headers: dict[str, str] | None = None, method: str = "GET") -> Download:
        """A request that is no slice."""
        return self.site.get(target, self.headers(headers), method)

    def open_slice(self, target: str, number: int = 0) -> Download:
        """A slice whose head has come."""
        start = number * SLICE_SIZE
        wanted = f"bytes={start}-{start + SLICE_SIZE - 1}"
        return self.site.open(target, self.headers({SLICE: "1", "Range": wanted}))

    def slice(self, target: str, number: int = 0) -> Download:
        """One slice, read to its clean end."""
        with self.open_slice(target, number) as answer:
            answer.body = answer.rest()
            return answer

    def again(self, target: str, status: int, headers: dict[str, str] | None = None) -> Download:
        """What nginx asks when the store has answered its request with ``status``."""
        return self.get(target, {STORE_FAILED: str(status), **(headers or {})})


@pytest.fixture(scope="module")
def shared_origin() -> Iterator[FaultOrigin]:
    """The module's origin, whatever stands before it."""
    with FaultOrigin() as server:
        yield server


@pytest.fixture(scope="module")
def shared_service(tmp_path_factory: pytest.TempPathFactory, shared_origin: FaultOrigin) -> Iterator[Service]:
    """The module's service, with the defaults."""
    folder: Path = tmp_path_factory.mktemp("edge")
    service = Service(folder / "data", origin_allowed_ports=str(shared_origin.port)).start()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def secret(shared_service: Service) -> str:
    """The module's edge secret."""
    return edge_secret(shared_service)


@pytest.fixture
def site(shared_service: Service, shared_origin: FaultOrigin, request: pytest.FixtureRequest) -> Site:
    """A mirror host that no other test uses, on the module's service."""
    return Site.of_test(shared_service, shared_origin, request.node.originalname)


@pytest.fixture
def edge(site: Site, secret: str) -> Edge:
    """The edge in front of the test's mirror."""
    return Edge(site, secret)
