"""``explain``: what a mirror would do and why, from the edges to the origin; asking changes nothing."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from tests.e2e.mirror.site import Site
from tests.harness.content import MIB, Content
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.service import Service
from tests.harness.stack import Stack


def explained(site: Site, target: str, **query: str) -> Any:
    more = "".join(f"&{name}={value}" for name, value in query.items())
    return site.service.json("GET", f"/mirrors/explain?url={quote(f'http://{site.host}{target}', safe='')}{more}")


def test_a_copy_from_its_validators_to_the_lifetime_at_an_edge(site: Site) -> None:
    site.fill("/a", b"12345", etag='"v1"', headers=[("X-More", "1")])
    told = explained(site, "/a")
    assert (told["decision"], told["edge"]["lifetime"], told["origin"]) == ("StoreHit", 86_400, None)
    record = told["record"]
    assert (record["etag"], record["origin_etag"], record["invalidated_at"]) == ('"v1"', '"v1"', None)
    assert ["X-More", "1"] in record["headers"]
    assert explained(site, "/%61")["edge"]["lifetime"] == 0
    assert explained(site, "/not-there")["edge"]["lifetime"] == 0
    site.service.json("POST", "/mirrors/purge", {"mirror": site.host, "key": "a", "soft": True})
    told = explained(site, "/a")
    assert (told["decision"], told["edge"]["lifetime"]) == ("Revalidate", 0)
    assert told["record"]["invalidated_at"] >= record["validated_at"]
    assert site.count("/a") == 1


def test_the_origin_is_asked_if_that_is_wished(site: Site) -> None:
    behaviour = site.put("/a", b"12345", etag='"v1"')
    site.get("/a")
    site.stored("a")
    told = explained(site, "/a", ask="true")["origin"]
    assert (told["status"], told["etag"], told["content_length"], told["same_version"]) == (200, '"v1"', "5", True)
    assert told["url"] == f"{site.origin.url}{site.prefix}/a"
    behaviour.etag = '"v2"'
    assert explained(site, "/a", ask="true")["origin"]["same_version"] is False
    assert [request.method for request in site.logged("/a")] == ["GET", "HEAD", "HEAD"]
    gone = explained(site, "/not-there", ask="true")["origin"]
    assert (gone["status"], gone["same_version"]) == (404, None)


def test_an_origin_that_does_not_answer_is_said(own_site: Callable[..., Site]) -> None:
    site = own_site()
    with site.origin_down():
        assert explained(site, "/a", ask="true")["origin"]["error"]["code"] == "origin_unreachable"


@pytest.mark.parametrize(
    "query", ["?url=", "?url=nothing", "?url=http://x.test/&ask=perhaps", "", "?url=http://nobody.test/"]
)
def test_bad_questions_are_refused(site: Site, query: str) -> None:
    assert site.service.call("GET", f"/mirrors/explain{query}").status in {400, 404}


@pytest.mark.stacks("edge", "real")
def test_which_edge_keeps_it(launch: Callable[..., Service], origin: FaultOrigin) -> None:
    gone = "http://127.0.0.1:1"
    service = launch(edge_purge=gone)
    assert isinstance(service, Stack)
    site = Site(service, origin, "mirror")
    site.order()
    here = f"http://127.0.0.1:{service.edge.purge_port}"
    site.fill("/a?v=1", Content(5, 2 * MIB))
    kept = {each["edge"]: each["keeps"] for each in explained(site, "/a?v=1")["edge"]["edges"]}
    assert kept[gone] is None
    until(lambda: site.get("/a?v=1").headers["cache-status"].endswith("CephStorage-edge; hit"))
    for _ in range(2):
        kept = {each["edge"]: each["keeps"] for each in explained(site, "/a?v=1")["edge"]["edges"]}
        assert kept == {here: True, gone: None}
    assert explained(site, "/other")["edge"]["edges"][0]["keeps"] is False
    site.service.json("POST", "/mirrors/purge", {"mirror": site.host, "path": "/a?v=1", "edges_only": True})
    assert explained(site, "/a?v=1")["edge"]["edges"][0] == {"edge": here, "keeps": False}
    told = site.service.json("POST", "/mirrors/purge", {"mirror": site.host, "all": True})
    report = {each["edge"]: each for each in told["edges"]}
    assert (report[here]["told"], report[here]["pending"], report[here]["unreachable"]) == (1, 0, 0)
    assert (report[gone]["told"], report[gone]["unreachable"]) == (0, 1)
