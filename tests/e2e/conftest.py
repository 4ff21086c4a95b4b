"""A real service per test, and per module where tests do not disturb each other; each test over every stack.

``@pytest.mark.stacks("direct")`` (or a module's ``pytestmark``) says over which stacks a test makes sense, with the
reason beside it: what looks into the data folder, or measures one process, has nothing to find behind others.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.harness.bucket import Bucket
from tests.harness.machines import shared_engines
from tests.harness.origin import FaultOrigin
from tests.harness.service import Service
from tests.harness.stack import make

Make = Callable[..., Service]
"""Takes a data folder, and settings by keyword; the service is not started yet."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the stacks that a test does not mean."""
    unwanted = [item for item in items if not _is_meant(item)]
    config.hook.pytest_deselected(items=unwanted)
    items[:] = [item for item in items if item not in set(unwanted)]


def _is_meant(item: pytest.Item) -> bool:
    mark = item.get_closest_marker("stacks")
    callspec = getattr(item, "callspec", None)
    chosen = callspec.params.get("stack") if callspec is not None else None
    return mark is None or chosen is None or chosen in mark.args


@pytest.fixture(scope="module", params=["direct", "edge", "real"])
def stack(request: pytest.FixtureRequest) -> Make:
    """Makes services on what this run of the module's tests stands on (see ``tests.harness.stack``).

    A service on the data folder of another one has its database and buckets, too.
    """
    known: dict[Path, dict[str, str]] = {}

    def engines(data_dir: Path) -> dict[str, str]:
        if data_dir not in known:
            known[data_dir] = shared_engines(request.getfixturevalue("postgres"), request.getfixturevalue("ceph"))
        return known[data_dir]

    return lambda data_dir, **settings: make(request.param, data_dir, lambda: engines(data_dir), **settings)


@pytest.fixture(scope="module")
def started_anew() -> Iterator[None]:
    """The module's services and edges are started as an operator starts them, not forked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Service, "forked", False)
        yield


@pytest.fixture
def launch(tmp_path: Path, origin: FaultOrigin, stack: Make) -> Iterator[Callable[..., Service]]:
    """Start services that may reach the test's origin; settings as keyword arguments, e.g. ``workers="2"``."""
    started: list[Service] = []

    def start(name: str = "data", **settings: str) -> Service:
        settings.setdefault("origin_allowed_ports", str(origin.port))
        service = stack(tmp_path / name, **settings)
        started.append(service)
        return service.start()

    yield start
    for service in started:
        service.stop()


@pytest.fixture
def service(launch: Callable[..., Service]) -> Service:
    """One service with the defaults."""
    return launch()


@pytest.fixture(scope="module")
def shared_origin(stack: Make) -> Iterator[FaultOrigin]:
    """An origin for a module's tests on one stack; each uses paths of its own."""
    with FaultOrigin() as server:
        yield server


@pytest.fixture(scope="module")
def shared(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    shared_origin: FaultOrigin,
    stack: Make,
) -> Iterator[Service]:
    """A service for a module's tests, with the settings that stand in its ``SETTINGS``."""
    settings = {"origin_allowed_ports": str(shared_origin.port), **getattr(request.module, "SETTINGS", {})}
    service = stack(tmp_path_factory.mktemp("shared") / "data", **settings).start()
    yield service
    service.stop()


@pytest.fixture
def bucket(shared: Service) -> Bucket:
    """An empty bucket of a new tenant on the module's service."""
    return Bucket(shared, f"tenant-{uuid4().hex[:12]}")
