"""Hits through the edge: their bytes pass no process of ours; a cold object is read once, however many ask."""

import http.client
import re
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.edge.conftest import edge_secret
from tests.e2e.mirror.site import Download, Site
from tests.harness.behaviour import Gate
from tests.harness.bucket import Bucket
from tests.harness.ceph import Ceph
from tests.harness.content import MIB, Content
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.stack import Stack

BODY = Content(91, 24 * MIB + 5)
CLIENTS = 50


@pytest.fixture(params=["disk", "ceph"])
def stack(request: pytest.FixtureRequest, tmp_path: Path, origin: FaultOrigin) -> Iterator[Stack]:
    """One proxy behind an edge, on either store."""
    settings = {"origin_allowed_ports": str(origin.port)}
    if request.param == "ceph":
        node: Ceph = request.getfixturevalue("ceph")
        user = node.add_user(f"{secrets.token_hex(6)}$hits")
        settings |= {
            "store": "ceph",
            "ceph_gateway": node.gateway,
            "ceph_access_key": user.access_key,
            "ceph_secret_key": user.secret_key,
        }
    started = Stack(tmp_path / "data", **settings)
    yield started.start()
    started.stop()


@pytest.fixture
def site(stack: Stack, origin: FaultOrigin) -> Site:
    made = Site(stack, origin, "hits")
    made.order()
    return made


def moved(stack: Stack) -> int:
    """Bytes that the proxy has read or written by any system call, sendfile included (proc(5), io)."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{stack.pid}/io").read_text().splitlines())
    return int(fields["rchar"]) + int(fields["wchar"])


def test_the_bytes_of_hits_do_not_pass_through_the_proxy(site: Site, stack: Stack) -> None:
    site.fill("/a", BODY)
    bucket = Bucket(stack, "published")
    bucket.put("k", BODY.read())
    ways: dict[str, Callable[[], bytes]] = {
        "not kept by the edge, another spelling": lambda: site.get("/%61").body,
        "not kept yet": lambda: site.get("/a").body,
        "kept": lambda: site.get("/a").body,
        "a range": lambda: site.range("/%61", "0-20000000").body,
        "published": lambda: bucket.published("k").body,
    }
    for way, read in ways.items():
        before = moved(stack)
        body = read()
        assert BODY.read().startswith(body), way
        assert len(body) > 20_000_000, way
        assert moved(stack) - before < MIB, way


def decisions(stack: Stack) -> int:
    """How many mirror answers the proxies have decided."""
    said = "".join(proxy.call("GET", "/metrics").body.decode() for proxy in stack.proxies)
    return sum(
        int(float(value)) for value in re.findall(r"^cephstorage_mirror_answers_total\{.*\} (.+)$", said, re.MULTILINE)
    )


@pytest.mark.parametrize("path", ["/a", "/%61"], ids=["kept", "not kept"])
def test_an_answer_costs_one_decision_however_large_it_is(site: Site, stack: Stack, path: str) -> None:
    site.fill("/a", BODY)
    site.get("/a")
    forget(stack, site, "/a")
    before = decisions(stack)
    answer = site.get(path)
    assert answer.body == BODY.read()
    assert (answer.headers["accept-ranges"], answer.headers["content-length"]) == ("bytes", str(len(BODY)))
    assert decisions(stack) == before + 1


def forget(stack: Stack, site: Site, path: str) -> None:
    """Have the edge keep nothing of an object, without anything having changed."""
    assert 200 in stack.edge.purge(edge_secret(stack.proxies[0]), site.host, path, len(BODY))


def to_its_end(answer: Download) -> bytes:
    """What comes, be the end clean or not."""
    try:
        return answer.rest()
    except http.client.IncompleteRead as broken:
        return broken.partial


@pytest.mark.parametrize("read", ["0-9", f"0-{5 * MIB}", f"{3 * MIB}-", None], ids=str)
def test_what_was_decided_before_a_change_decides_nothing_after_it(site: Site, stack: Stack, read: str | None) -> None:
    """Slices that the edge has not fetched yet, of a version that it could still fetch from the store."""
    other = Content(92, 20 * MIB + 7)
    site.fill("/a", BODY)
    site.get("/a")
    forget(stack, site, "/a")
    site.get("/a", {} if read is None else {"Range": f"bytes={read}"})
    username, _, bucketname = site.bucket.partition("___")
    assert site.service.call("PUT", f"/ceph/{username}/{bucketname}/keys/a", other.read()).status == 201
    for start in range(20 * MIB, 0, -4 * MIB):
        assert site.range("/a", f"{start}-{start + 9}").body == other.read(start, min(start + 10, len(other)))
    assert site.get("/a").body == other.read()
    site.origin.remove("/a")
    assert site.service.call("DELETE", f"/ceph/{username}/{bucketname}/keys/a").status == 200
    assert {site.range("/a", f"{start}-{start + 9}").status for start in range(0, 20 * MIB, 5 * MIB)} == {404}
    assert site.get("/a").status == 404


def test_a_change_during_an_answer_is_not_mixed_into_it_and_seen_right_after(site: Site, stack: Stack) -> None:
    other = Content(93, len(BODY))
    site.fill("/a", BODY)
    site.get("/a")
    forget(stack, site, "/a")
    with site.open("/a") as early:
        assert early.read(MIB) == BODY.read(0, MIB)
        username, _, bucketname = site.bucket.partition("___")
        assert site.service.call("PUT", f"/ceph/{username}/{bucketname}/keys/a", other.read()).status == 201
        seen = [site.range("/a", f"{start}-{start + 9}").body for start in range(0, 24 * MIB, MIB)]
        rest = to_its_end(early)
    assert seen == [other.read(start, start + 10) for start in range(0, 24 * MIB, MIB)]
    assert BODY.read(MIB).startswith(rest)
    assert site.get("/a").body == other.read()


def test_fifty_clients_of_a_cold_object_cost_one_read(site: Site) -> None:
    gate = Gate()
    site.put("/cold", BODY, gate=gate, gate_after=3 * MIB)
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = [pool.submit(site.get, "/cold") for _ in range(CLIENTS)]
        until(gate.reached.is_set)
        gate.set()
        assert {(answer.result().status, answer.result().body == BODY.read()) for answer in answers} == {(200, True)}
    site.stored("cold")
    assert site.body_bytes("/cold") == len(BODY)
    assert site.get("/cold").body == BODY.read()
    assert site.body_bytes("/cold") == len(BODY)


def test_a_client_that_comes_in_mid_fill_reads_what_is_there(site: Site) -> None:
    gate = Gate()
    site.put("/slow", BODY, gate=gate, gate_after=3 * MIB)
    with site.open("/slow") as early, site.open("/slow") as late:
        assert early.read(2 * MIB) == late.read(2 * MIB) == BODY.read(0, 2 * MIB)
        gate.set()
        assert early.rest() == late.rest() == BODY.read(2 * MIB)
    site.stored("slow")
    assert site.body_bytes("/slow") == len(BODY)
