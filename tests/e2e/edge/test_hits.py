"""Hits through the edge: their bytes pass no process of ours; a cold object is read once, however many ask."""

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.mirror.site import Site
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
