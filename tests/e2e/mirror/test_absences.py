"""What the origin says is not there: remembered where a rule says so, bounded, and given up by purges and new rules."""

from collections.abc import Callable
from threading import Thread

import pytest

from tests.e2e.mirror.site import Site
from tests.harness.behaviour import Gate
from tests.harness.patience import until


def absent(site: Site, path: str, status: int = 404) -> None:
    site.put(path, b"not here", status=status, headers=[("X-Why", "moved")])


@pytest.mark.parametrize("status", [404, 410])
def test_an_absence_is_remembered_and_repeated(site: Site, status: int) -> None:
    site.order(rules=[{"path": "/a/**", "negative_ttl": 3600}])
    for path in ("/a/x", "/b/x"):
        absent(site, path, status)
    for number in (1, 2, 3):
        for path in ("/a/x", "/b/x"):
            answer = site.get(path)
            assert (answer.status, answer.body, answer.headers["x-why"]) == (status, b"not here", "moved")
        assert site.count("/a/x") == 1
        assert site.count("/b/x") == number
    assert "hit; detail=negative" in site.get("/a/x").headers["cache-status"]
    assert (site.head("/a/x").status, site.count("/a/x")) == (status, 1)
    assert site.explain("/a/x")["decision"] == "KnownAbsent"


@pytest.mark.parametrize("status", [403, 500])
def test_other_errors_are_not_remembered(site: Site, status: int) -> None:
    site.order(negative_ttl=3600)
    absent(site, "/a", status)
    assert [site.get("/a").status, site.get("/a").status, site.count("/a")] == [status, status, 2]


def test_a_rule_about_the_status_says_for_how_long(site: Site) -> None:
    site.order(rules=[{"status": [410], "negative_ttl": 3600}])
    absent(site, "/gone", 410)
    absent(site, "/missing", 404)
    for path in ("/gone", "/missing"):
        site.get(path)
        site.get(path)
    assert [site.count("/gone"), site.count("/missing")] == [1, 2]


def test_many_ask_at_once_and_the_origin_is_asked_once(site: Site) -> None:
    site.order(negative_ttl=3600)
    gate = Gate()
    site.put("/a", b"not here", status=404, header_gate=gate)
    opener = Thread(target=lambda: gate.reached.wait(30) and gate.set())
    opener.start()
    answers = site.get_all(["/a"] * 10)
    opener.join()
    assert {answer.status for answer in answers} == {404}
    assert site.count("/a") == 1


@pytest.mark.parametrize("edges_only", [False, True])
def test_a_purge_makes_the_origin_be_asked_again(site: Site, edges_only: bool) -> None:
    site.order(negative_ttl=3600)
    absent(site, "/a")
    assert site.get("/a").status == 404
    site.put("/a", b"here now")
    assert site.get("/a").status == 404
    site.service.json("POST", "/mirrors/purge", {"mirror": site.host, "path": "/a", "edges_only": edges_only})
    assert site.get("/a").body == b"here now"


def test_new_rules_make_the_origin_be_asked_again(site: Site) -> None:
    site.order(negative_ttl=3600)
    absent(site, "/a")
    assert site.get("/a").status == 404
    site.put("/a", b"here now")
    site.order()
    assert site.get("/a").body == b"here now"


def test_what_is_uploaded_is_there_although_the_origin_has_nothing(site: Site) -> None:
    site.order(negative_ttl=3600)
    absent(site, "/a")
    assert site.get("/a").status == 404
    username, _, bucketname = site.bucket.partition("___")
    assert site.service.call("PUT", f"/ceph/{username}/{bucketname}/keys/a", b"mine").status == 201
    assert site.get("/a").body == b"mine"


def test_a_stored_copy_beats_an_absence(site: Site) -> None:
    site.order(mode="revalidate", ttl=0, negative_ttl=3600)
    site.fill("/a", b"kept")
    absent(site, "/a")
    for _ in range(2):
        assert site.get("/a").body == b"kept"


@pytest.mark.stacks("direct")
def test_a_purge_reaches_every_process(own_site: Callable[..., Site]) -> None:
    site = own_site(workers="2")
    site.order(negative_ttl=3600)
    absent(site, "/a")
    until(
        lambda: [site.get("/a").headers.get("cache-status", "") for _ in range(20)],
        lambda seen: all("; hit" in s for s in seen),
    )
    site.put("/a", b"here now")
    site.service.json("POST", "/mirrors/purge", {"mirror": site.host, "path": "/a"})
    until(lambda: [site.get("/a").status for _ in range(20)], lambda seen: set(seen) == {200})
