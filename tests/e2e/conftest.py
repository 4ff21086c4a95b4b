"""A real service per test, and per module where tests do not disturb each other."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.harness.bucket import Bucket
from tests.harness.origin import FaultOrigin
from tests.harness.service import Service


@pytest.fixture
def launch(tmp_path: Path, origin: FaultOrigin) -> Iterator[Callable[..., Service]]:
    """Start services that may reach the test's origin; settings as keyword arguments, e.g. ``workers="2"``."""
    started: list[Service] = []

    def start(name: str = "data", **settings: str) -> Service:
        settings.setdefault("origin_allowed_ports", str(origin.port))
        service = Service(tmp_path / name, **settings).start()
        started.append(service)
        return service

    yield start
    for service in started:
        service.stop()


@pytest.fixture
def service(launch: Callable[..., Service]) -> Service:
    """One service with the defaults."""
    return launch()


@pytest.fixture(scope="module")
def shared_origin() -> Iterator[FaultOrigin]:
    """An origin for a module's tests; each uses paths of its own."""
    with FaultOrigin() as server:
        yield server


@pytest.fixture(scope="module")
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, shared_origin: FaultOrigin
) -> Iterator[Service]:
    """A service for a module's tests, with the settings that stand in its ``SETTINGS``."""
    settings = {"origin_allowed_ports": str(shared_origin.port), **getattr(request.module, "SETTINGS", {})}
    service = Service(tmp_path_factory.mktemp("shared") / "data", **settings).start()
    yield service
    service.stop()


@pytest.fixture
def bucket(shared: Service) -> Bucket:
    """An empty bucket of a new tenant on the module's service."""
    return Bucket(shared, f"tenant-{uuid4().hex[:12]}")
