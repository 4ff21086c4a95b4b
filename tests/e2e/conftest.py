"""A real service per test, and per module where tests do not disturb each other."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

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
