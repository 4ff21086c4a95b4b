"""What was replaced, deleted or purged is served by no edge any more once the caller has his answer."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cephstorage.domain.edge import SLICE as SLICE_HEADER
from cephstorage.domain.names import encode_key
from tests.e2e.mirror.site import Download, Site
from tests.harness.content import MIB, Content
from tests.harness.edge import Edge
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.ports import free_port
from tests.harness.stack import Stack

OLD, NEW = Content(71, 5 * MIB + 3), Content(72, 4 * MIB + 9)
KEPT = "CephStorage-edge; hit"


@pytest.fixture
def launch_purged(tmp_path: Path, origin: FaultOrigin) -> Iterator[Callable[..., Stack]]:
    """Start a service whose edge is told of purges, and of further ones by their addresses."""
    started: list[Stack] = []

    def start(*more_edges: str, **settings: str) -> Stack:
        told = {"edge_purge": ",".join(more_edges)} if more_edges else {}
        service = Stack(tmp_path / "data", origin_allowed_ports=str(origin.port), **told, **settings)
        started.append(service)
        return service.start()

    yield start
    for service in started:
        service.stop()


@pytest.fixture
def site(launch_purged: Callable[..., Stack], origin: FaultOrigin) -> Site:
    made = Site(launch_purged(), origin, "purged")
    made.order()
    return made


def by_edge(answer: Download) -> str:
    """What the edge says it did."""
    return answer.headers["cache-status"].rpartition(", ")[2]


def keep(site: Site, path: str, body: Content = OLD) -> None:
    """Bring an object through the mirror until the edge serves all of it by itself."""
    site.put(path, body)
    assert site.get(path).body == body.read()
    until(lambda: site.explain(path)["record"])
    assert site.get(path).body == body.read()
    again = site.get(path)
    assert (by_edge(again), again.body) == (KEPT, body.read())


def upload(site: Site, key: str, body: bytes) -> None:
    username, _, bucketname = site.bucket.partition("___")
    reply = site.service.call("PUT", f"/ceph/{username}/{bucketname}/keys/{encode_key(key)}", body)
    assert reply.status == 201


def delete(site: Site, key: str) -> None:
    username, _, bucketname = site.bucket.partition("___")
    assert site.service.call("DELETE", f"/ceph/{username}/{bucketname}/keys/{encode_key(key)}").status == 200


@pytest.mark.parametrize("path", ["/a", "/b%20c/%C3%BC", "/a?v=1", "/x//y", "/~t/a+b"])
def test_after_an_overwrite_no_old_byte_is_served(site: Site, path: str) -> None:
    keep(site, path)
    upload(site, site.explain(path)["key"], NEW.read())
    for wanted in (f"{4 * MIB}-{4 * MIB + 8}", "0-9", f"{2 * MIB}-{3 * MIB}"):
        start, _, last = wanted.partition("-")
        assert site.range(path, wanted).body == NEW.read(int(start), int(last) + 1)
    answer = site.get(path)
    assert answer.body == NEW.read()
    assert site.count(path) == 1


def test_after_a_delete_the_origin_is_asked_again(site: Site) -> None:
    keep(site, "/a")
    site.put("/a", NEW)
    delete(site, "a")
    assert site.get("/a").body == NEW.read()
    site.origin.remove("/a")
    site.stored("a")
    delete(site, "a")
    assert site.get("/a").status == 404


def test_a_purge_by_address(site: Site) -> None:
    keep(site, "/a?v=1")
    wish = {"mirror": site.host, "path": "/a?v=1", "edges_only": True}
    told = site.service.json("POST", "/mirrors/purge", wish)
    assert (told["key"], told["path"]) == ("a?v=1", "/a?v=1")
    assert told["told"] == [site.service.settings["edge_purge"]]
    assert told["later"] == []
    assert by_edge(site.get("/a?v=1")) != KEPT
    assert by_edge(site.get("/a?v=1")) == KEPT
    assert site.count("/a?v=1") == 1


def test_who_may_purge(site: Site) -> None:
    keep(site, "/a")
    wish = {"mirror": site.host, "path": "/a"}
    tokens = {
        name: site.service.json("POST", "/tokens", {"role": "tenant", "username": name})["token"]
        for name in ("mirrors", "mallory")
    }
    body = b'{"mirror": "%s", "path": "/a"}' % site.host.encode()
    headers = {"Content-Type": "application/json"}
    assert site.service.call("POST", "/mirrors/purge", body, headers, token=None).status == 401
    assert site.service.call("POST", "/mirrors/purge", body, headers, token=tokens["mallory"]).status == 403
    assert by_edge(site.get("/a")) == KEPT
    assert site.service.json("POST", "/mirrors/purge", wish, token=tokens["mirrors"])["told"]
    assert by_edge(site.get("/a")) != KEPT
    for wrong in (b'{"mirror": "nobody.test", "path": "/a"}', b'{"mirror": "%s", "path": "a"}' % site.host.encode()):
        assert site.service.call("POST", "/mirrors/purge", wrong, headers).status in {400, 404}


@pytest.mark.parametrize("path", ["/%61", "/a?", "/mirrors/proxy/a"])
def test_what_no_purge_names_is_never_kept(site: Site, path: str) -> None:
    site.fill("/a", OLD)
    answers = [site.get(path) for _ in range(3)]
    assert {answer.body for answer in answers} == {OLD.read()}
    assert KEPT not in {by_edge(answer) for answer in answers}


def test_a_client_can_not_make_the_edge_keep_or_show_anything(site: Site) -> None:
    site.fill("/a", OLD)
    for headers in ({"X-CephStorage-Edge": "x"}, {SLICE_HEADER: "1"}, {"X-Accel-Expires": "99"}):
        answer = site.get("/a", headers)
        assert answer.body == OLD.read()
        assert not [name for name in answer.headers if name.startswith(("x-accel", "x-cephstorage"))]


def test_an_edge_that_was_away_is_told_when_it_is_back(
    launch_purged: Callable[..., Stack], origin: FaultOrigin
) -> None:
    other_purges = f"127.0.0.1:{free_port()}"
    service = launch_purged(f"http://{other_purges}")
    site = Site(service, origin, "purged")
    site.order()
    proxy = service.proxies[0].url.removeprefix("http://")
    other = Edge(service, [proxy], edge_purge_listen=other_purges).start()
    try:
        keep(site, "/a")
        beside = Site(_At(service, other.port), origin, "purged")  # type: ignore[arg-type]
        assert beside.get("/a").body == OLD.read()
        assert by_edge(beside.get("/a")) == KEPT
        other.kill()
        upload(site, "a", NEW.read())
        assert site.get("/a").body == NEW.read()
        told = service.json("POST", "/mirrors/purge", {"mirror": site.host, "path": "/a"})
        assert told["later"] == [f"http://{other_purges}"]
        other.start()
        until(lambda: beside.get("/a").body == NEW.read())
    finally:
        other.stop()


class _At:
    """A service as seen through another edge."""

    def __init__(self, service: Stack, port: int) -> None:
        self._service = service
        self.port = port

    def __getattr__(self, name: str) -> object:
        return getattr(self._service, name)


def test_what_a_mirror_had_is_forgotten_when_it_changes(site: Site) -> None:
    for path in ("/a", "/b?v=1"):
        keep(site, path)
    site.order(private=True)
    for path in ("/a", "/b?v=1"):
        assert site.get(path).status == 401
        assert site.range(path, "3000000-3000009").status == 401
    site.order()
    keep(site, "/a")
    site.order(rules=[{"path": "/a", "mode": "deny"}])
    assert site.get("/a").status == 403
    site.order()
    keep(site, "/a")
    assert site.service.call("DELETE", f"/mirrors/host?mirror_host={site.host}").status == 200
    assert site.get("/a").status == 404


def test_a_new_version_that_a_fill_brings_replaces_the_old_one(site: Site) -> None:
    site.order(mode="revalidate", ttl=100_000)
    keep(site, "/a")
    site.put("/a", NEW, etag='"v2"')
    site.order(mode="revalidate", ttl=0)
    site.service.json("POST", "/mirrors/purge", {"mirror": site.host, "path": "/a"})
    assert site.get("/a").body == NEW.read()
    until(lambda: (site.record("a") or {}).get("etag"), lambda etag: etag == '"v2"')
    assert site.get("/a").body == NEW.read()
