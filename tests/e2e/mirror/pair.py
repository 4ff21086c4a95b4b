"""A mirror with two origins, for modules that take these fixtures in place of the package's own."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.mirror.site import Site
from tests.harness.content import Content
from tests.harness.origin import FaultOrigin
from tests.harness.service import Service


@pytest.fixture(scope="module")
def spare() -> Iterator[FaultOrigin]:
    with FaultOrigin() as server:
        yield server


@pytest.fixture(scope="module")
def shared_service(
    tmp_path_factory: pytest.TempPathFactory,
    shared_origin: FaultOrigin,
    spare: FaultOrigin,
    stack: Callable[..., Service],
) -> Iterator[Service]:
    ports = f"{shared_origin.port},{spare.port}"
    service = stack(tmp_path_factory.mktemp("origins") / "data", origin_allowed_ports=ports).start()
    yield service
    service.stop()


class Pair:
    """A mirror with two origins; both have its files under its own folder."""

    def __init__(self, site: Site, spare: FaultOrigin) -> None:
        self.site = site
        self.spare = spare
        self.order()

    def order(self, **more: Any) -> Any:
        wish = {"mirror": self.site.host, "bucket": self.site.bucket, "origins": self.origins(), **more}
        return self.site.service.json("POST", "/mirrors/host", wish)

    def origins(self, *options: dict[str, Any]) -> list[dict[str, Any]]:
        urls = (self.site.origin.url + self.site.prefix, self.spare.url + self.site.prefix)
        return [{"url": url, **more} for url, more in zip(urls, options or ({}, {}), strict=True)]

    def put_spare(self, path: str, body: Content, **behaviour: Any) -> None:
        self.spare.put(self.site.prefix + path, body, **behaviour)

    def sent(self, path: str) -> int:
        return self.site.body_bytes(path) + self.spare.body_bytes(self.site.prefix + path)


@pytest.fixture
def pair(site: Site, spare: FaultOrigin) -> Iterator[Pair]:
    yield Pair(site, spare)
    for server in (site.origin, spare):
        server.listen_again()
