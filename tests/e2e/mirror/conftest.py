"""One service and one origin per module; a mirror host of its own per test."""

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.mirror.site import Site
from tests.harness.origin import FaultOrigin
from tests.harness.service import Service


@pytest.fixture(scope="module")
def shared_origin() -> Iterator[FaultOrigin]:
    """The module's origin; each site has a folder of its own there."""
    with FaultOrigin() as server:
        yield server


@pytest.fixture(scope="module")
def shared_service(
    tmp_path_factory: pytest.TempPathFactory, shared_origin: FaultOrigin, stack: Callable[..., Service]
) -> Iterator[Service]:
    """The module's service, with the defaults."""
    folder = tmp_path_factory.mktemp("mirror")
    service = stack(folder / "data", origin_allowed_ports=str(shared_origin.port)).start()
    yield service
    service.stop()


@pytest.fixture
def site(shared_service: Service, shared_origin: FaultOrigin, request: pytest.FixtureRequest) -> Site:
    """A mirror host that no other test uses, on the module's service."""
    return Site.of_test(shared_service, shared_origin, request.node.originalname)


@pytest.fixture
def own_site(launch: Callable[..., Service], origin: FaultOrigin) -> Callable[..., Site]:
    """A mirror on a service and an origin of its own; settings of the service as keyword arguments."""

    def start(**settings: str) -> Site:
        made = Site(launch(**settings), origin, "mirror")
        made.order()
        return made

    return start
