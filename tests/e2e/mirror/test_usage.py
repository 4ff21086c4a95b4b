"""A mirror's figures: what clients got, what it cost the origin, and what went wrong, of all processes together."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.mirror.site import Site
from tests.e2e.mirror.test_warming import warm
from tests.harness.behaviour import Gate
from tests.harness.content import MIB, Content
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.service import Service
from tests.harness.stack import Stack

BODY = Content(31, 2 * MIB)


def usage(site: Site, query: str = "") -> Any:
    return site.service.json("GET", f"/mirrors/host/{site.host}/usage{query}")


def counted(site: Site, requests: int, fills: int = 0) -> Any:
    """The figures as soon as that many requests, and ends of fills, are in the database."""
    return until(lambda: usage(site), lambda told: told["requests"] >= requests and told["fills"] >= fills)


@pytest.mark.stacks("direct")  # an edge answers some of it, and knows heads; see below
def test_what_clients_cost_the_origin(site: Site) -> None:
    site.fill("/a", BODY)
    for _ in range(3):
        site.get("/a")
    site.get("/not-there")
    site.head("/a")
    told = counted(site, 6, 2)
    assert (told["requests"], told["edge_hits"], told["store_hits"], told["fills"]) == (6, 0, 4, 2)
    assert told["errors"] == {"404": 1}
    assert told["origin_bytes"] == BODY.size
    assert 4 * BODY.size <= told["bytes_served"] < 4 * BODY.size + 1000
    assert told["origin_bytes_per_served_byte"] == round(BODY.size / told["bytes_served"], 4)
    assert sum(point["requests"] for point in told["series"]) == 6
    metrics = site.service.call("GET", "/metrics").body.decode()
    assert f'cephstorage_mirror_total{{figure="answers.store_hit",mirror="{site.host}"}} 4.0' in metrics


@pytest.mark.stacks("direct")
def test_readers_of_one_fill_are_collapsed_and_visits_are_nobodys_requests(site: Site) -> None:
    gate = Gate()
    site.put("/a", BODY, gate=gate, gate_after=MIB)
    downloads = [site.open("/a") for _ in range(8)]
    gate.set()
    assert {download.rest() for download in downloads} == {BODY.read()}
    for download in downloads:
        download.close()
    site.stored("a")
    site.put("/b", b"12345")
    warm(site, targets=["/a", "/b"])
    told = counted(site, 8, 2)
    assert (told["requests"], told["fills"], told["collapsed"]) == (8, 2, 7)
    assert told["origin_bytes"] == BODY.size + 5


@pytest.mark.stacks("direct")
def test_an_origin_that_fails_is_named(own_site: Callable[..., Site]) -> None:
    site = own_site()
    with site.origin_down():
        assert site.get("/a").status == 502
    told = counted(site, 1, 1)
    assert told["errors"] == {"502": 1}
    assert told["origin_failures"] == {"origin_unreachable": 1}


@pytest.mark.stacks("direct")
def test_processes_add_up_and_a_stop_loses_nothing(launch: Callable[..., Service], origin: FaultOrigin) -> None:
    service = launch(workers="3")
    site = Site(service, origin, "mirror")
    site.order()
    service.stop()
    service.start()  # now every process knows the mirror
    site.fill("/a", b"12345")
    for _ in range(30):
        site.get("/a")
    before = service.json("GET", f"/mirrors/host/{site.host}/usage")
    assert service.stop() == 0
    service.start()
    after = counted(site, 31)
    assert (after["requests"], after["store_hits"], after["bytes_served"]) == (31, 30, 31 * 5)
    assert before["requests"] <= 31


@pytest.mark.parametrize(
    "query", ["?since=1e400", "?since=nan", "?since=-1e12", "?since=10&until=5", "?step=0", "?step=1", "?until=x"]
)
def test_bad_periods_are_refused(site: Site, query: str) -> None:
    reply = site.service.call("GET", f"/mirrors/host/{site.host}/usage{query}")
    assert (reply.status, reply.json()["code"]) == (400, "invalid_request")


def test_whose_figures(site: Site) -> None:
    stranger = site.service.json("POST", "/tokens", {"role": "tenant", "username": "mallory"})["token"]
    target = f"/mirrors/host/{site.host}/usage"
    assert site.service.call("GET", target, token=stranger).status == 403
    assert site.service.call("GET", target, token=None).status == 401
    assert site.service.call("GET", "/mirrors/host/nobody.test/usage").json()["code"] == "mirror_not_found"


@pytest.mark.stacks("edge", "real")
def test_an_edges_hits_are_counted_from_its_log(launch: Callable[..., Service], origin: FaultOrigin) -> None:
    service = launch()
    assert isinstance(service, Stack)
    site = Site(service, origin, "mirror")
    site.order()
    site.fill("/a", BODY)
    site.get("/a")
    for _ in range(5):
        assert site.get("/a").body == BODY.read()
    site.get("/not-there")
    told = counted(site, 8, 2)
    assert (told["requests"], told["edge_hits"], told["fills"], told["errors"]) == (8, 5, 2, {"404": 1})
    assert 7 * BODY.size < told["bytes_served"] < 7 * BODY.size + 8 * 2000
    assert told["origin_bytes"] == BODY.size
    service.edge.kill()
    service.edge.start()
    for _ in range(2):
        site.get("/a")
    assert counted(site, 10)["requests"] == 10
