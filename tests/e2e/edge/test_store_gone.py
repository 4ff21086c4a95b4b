"""Ceph's gateway is gone: mirrors go on from their origins where these have the very same version, or say so."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.mirror.site import Download, Site, problem_code
from tests.harness.bucket import Bucket
from tests.harness.ceph import Ceph, Daemon
from tests.harness.content import MIB, Content
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.stack import Stack

pytestmark = pytest.mark.stacks("direct")  # it brings its own edge and engines

BODY, OTHER = Content(81, 5 * MIB + 21), Content(82, 5 * MIB + 21)
GATEWAY: Daemon = "rgw"


@pytest.fixture(scope="module")
def node(ceph_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    """A Ceph of this module's own, to be harmed."""
    with Ceph(tmp_path_factory.mktemp("harmed-ceph") / "node").start() as started:
        yield started


@pytest.fixture(scope="module")
def stack(node: Ceph, tmp_path_factory: pytest.TempPathFactory, shared_origin: FaultOrigin) -> Iterator[Stack]:
    """Proxy and edge on that Ceph."""
    settings = {
        "origin_allowed_ports": str(shared_origin.port),
        "store": "ceph",
        "ceph_gateway": node.gateway,
        "ceph_access_key": node.access_key,
        "ceph_secret_key": node.secret_key,
    }
    started = Stack(tmp_path_factory.mktemp("gone") / "data", **settings)
    yield started.start()
    started.stop()


class Gone:
    """Two mirrors with the same objects, one asked through the edge and one past it, and what was published."""

    def __init__(self, stack: Stack, origin: FaultOrigin) -> None:
        self.sites: dict[str, Site] = {}
        self.plain: dict[str, Download] = {}
        for name, seen in {"edge": stack, "direct": stack.proxies[0]}.items():
            site = self.sites[name] = Site(seen, origin, f"gone-{name}", f"/gone-{name}")
            site.order()
            self.plain[name] = site.fill("/a", BODY, headers=[("X-Checksum-Sha1", "abc")])
            site.fill("/rangeless", BODY, ranges=False)
            for path in ("/breaking", "/nowhere", *CHANGED):
                site.fill(path, BODY, etag='"v1"')
        self.published = Bucket(stack, "published")
        self.published.put("k", b"bytes")


CHANGED: dict[str, dict[str, Any]] = {
    "/etag": {"etag": '"v2"'},
    "/weak": {"etag": 'W/"v1"'},
    "/none": {"etag": None, "last_modified": None},
    "/longer": {"etag": '"v1"'},
    "/liar": {"etag": '"v2"', "honours_if_range": False},
}
"""What the origin has by now in place of what was stored."""


@pytest.fixture(scope="module")
def gone(stack: Stack, node: Ceph, shared_origin: FaultOrigin) -> Gone:
    """Everything is stored, nothing kept by the edge; then the gateway is killed."""
    prepared = Gone(stack, shared_origin)
    node.kill(GATEWAY)
    return prepared


@pytest.fixture(params=["edge", "direct"])
def name(request: pytest.FixtureRequest) -> str:
    """Which way is asked."""
    return str(request.param)


@pytest.fixture
def site(gone: Gone, name: str) -> Site:
    """The mirror that is asked that way."""
    return gone.sites[name]


def refused(answer: Download) -> bool:
    assert answer.status == 503
    assert problem_code(answer) == "store_unavailable"
    assert int(answer.headers["retry-after"]) >= 1
    return True


def test_a_hit_comes_from_the_origin_meanwhile(gone: Gone, site: Site, name: str) -> None:
    plain, asked = gone.plain[name], site.count("/a")
    answer = site.get("/a")
    assert (answer.status, answer.body) == (200, BODY.read())
    assert "store_unavailable" in answer.headers["cache-status"]
    for shown in ("etag", "last-modified", "content-type", "content-length", "x-checksum-sha1"):
        assert answer.headers[shown] == plain.headers[shown], shown
    start, end = 2 * MIB - 3, 3 * MIB + 5
    part = site.range("/a", f"{start}-{end - 1}")
    assert (part.status, part.body) == (206, BODY.read(start, end))
    assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{len(BODY)}"
    assert site.count("/a") > asked


def test_answers_without_bytes_need_neither_store_nor_origin(gone: Gone, site: Site, name: str) -> None:
    with site.origin_down():
        assert site.head("/a").headers["content-length"] == str(len(BODY))
        assert site.head("/a", {"If-None-Match": gone.plain[name].headers["etag"]}).status == 304
        assert site.range("/a", f"{8 * MIB}-").status == 416


def test_an_origin_that_knows_no_ranges_serves_too(site: Site) -> None:
    assert site.get("/rangeless").body == BODY.read()
    assert site.range("/rangeless", f"{4 * MIB}-{4 * MIB + 9}").body == BODY.read(4 * MIB, 4 * MIB + 10)


@pytest.mark.parametrize("path", CHANGED)
def test_another_version_is_no_substitute(site: Site, path: str) -> None:
    site.put(path, Content(82, 9 * MIB) if path == "/longer" else OTHER, **CHANGED[path])
    assert refused(site.get(path))
    assert refused(site.range(path, "1000000-3000000"))


def test_neither_store_nor_origin(site: Site) -> None:
    with site.origin_down():
        assert refused(site.get("/nowhere"))


def test_an_origin_that_breaks_off_meanwhile_gives_no_wrong_bytes(site: Site, name: str) -> None:
    site.put("/breaking", BODY, etag='"v1"', die_after=MIB // 2, how="rst")
    with site.open("/breaking") as answer:
        if name == "edge":
            assert answer.status == 502
        else:
            assert BODY.read().startswith(answer.until_cut())


def test_a_published_key_has_to_wait(gone: Gone) -> None:
    reply = gone.published.published("k")
    assert (reply.status, reply.json()["code"]) == (503, "store_unavailable")
    assert int(reply.headers["retry-after"]) >= 1


def test_when_the_gateway_is_back_the_store_serves_again(gone: Gone, node: Ceph) -> None:
    node.launch(GATEWAY)
    node.wait()
    for site in gone.sites.values():
        assert until(lambda site=site: site.get("/a").headers, lambda seen: "store_unavailable" not in str(seen))
        asked = site.count("/a")
        assert site.get("/a").body == BODY.read()
        assert site.count("/a") == asked
    assert until(lambda: gone.published.published("k").status, lambda status: status == 200)
