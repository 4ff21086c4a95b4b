"""A service behind its own edge per module, and per test where it is harmed."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.e2e.mirror.site import Site
from tests.e2e.nginx.stored import BODY, NOISE, TARGET, Stored
from tests.e2e.nginx.wire import Wire
from tests.harness.bucket import Bucket
from tests.harness.edge import Edge
from tests.harness.origin import FaultOrigin
from tests.harness.service import Service
from tests.harness.stack import Stack


@pytest.fixture(scope="module")
def shared_origin() -> Iterator[FaultOrigin]:
    """The module's origin, whatever stands before it."""
    with FaultOrigin() as server:
        yield server


@pytest.fixture(scope="module")
def edged(tmp_path_factory: pytest.TempPathFactory, shared_origin: FaultOrigin) -> Iterator[Stack]:
    """The module's service and edge."""
    folder = tmp_path_factory.mktemp("edged")
    service = Stack(folder / "data", origin_allowed_ports=str(shared_origin.port)).start()
    yield service
    service.stop()


@pytest.fixture
def bucket(edged: Stack) -> Bucket:
    """An empty bucket of a new tenant on the module's service."""
    return Bucket(edged, f"tenant-{uuid4().hex[:12]}")


@pytest.fixture
def site(edged: Stack, shared_origin: FaultOrigin, request: pytest.FixtureRequest) -> Site:
    """A mirror host that no other test uses, on the module's service."""
    return Site.of_test(edged, shared_origin, request.node.originalname)


@pytest.fixture
def launch_edged(tmp_path: Path, origin: FaultOrigin) -> Iterator[Callable[..., Stack]]:
    """Start services with edges; settings as keyword arguments."""
    started: list[Stack] = []

    def start(name: str = "data", **settings: str) -> Stack:
        settings.setdefault("origin_allowed_ports", str(origin.port))
        service = Stack(tmp_path / name, **settings)
        started.append(service)
        return service.start()

    yield start
    for service in started:
        service.stop()


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """The module's edge whose proxy is a fault origin."""
    with FaultOrigin() as proxy:
        service = Service(tmp_path_factory.mktemp("wire") / "data")
        edge = Edge(service, [f"127.0.0.1:{proxy.port}"]).start()
        yield Wire(edge, proxy)
        edge.stop()


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Edge, FaultOrigin, FaultOrigin]]:
    """The module's edge, its proxy and its store."""
    with FaultOrigin() as proxy, FaultOrigin() as store:
        folder = tmp_path_factory.mktemp("stored")
        service = Service(folder / "data", store="ceph", ceph_gateway=f"http://127.0.0.1:{store.port}")
        edge_ = Edge(service, [f"127.0.0.1:{proxy.port}"]).start()
        yield edge_, proxy, store
        edge_.stop()


@pytest.fixture
def stored(engines: tuple[Edge, FaultOrigin, FaultOrigin]) -> Stored:
    """A store that has its object, and a proxy that nothing was asked."""
    made = Stored(*engines)
    made.proxy.reset_counters()
    made.store.reset_counters()
    made.store.put(TARGET, BODY, headers=NOISE, etag='"store"')
    return made


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Wire]:
    """An edge for one test alone."""
    with FaultOrigin() as proxy:
        edge = Edge(Service(tmp_path / "data"), [f"127.0.0.1:{proxy.port}"]).start()
        yield Wire(edge, proxy)
        edge.stop()
