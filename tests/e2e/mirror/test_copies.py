"""Purges by key, prefix, type and age: stored copies go, are marked, or are refreshed; uploads are never touched."""

import json
from typing import Any

import pytest

from tests.e2e.mirror.site import Site, problem_code
from tests.harness.bucket import Bucket
from tests.harness.content import MIB, Content
from tests.harness.patience import until


def purge(site: Site, **wish: Any) -> Any:
    """A purge, seen to its end."""
    return ended(site, site.service.json("POST", "/mirrors/purge", {"mirror": site.host, **wish}))


def ended(site: Site, job: Any) -> Any:
    """A job as it is when it has ended."""
    found = until(
        lambda: site.service.json("GET", f"/mirrors/jobs/{job['job']}"), lambda now: now["state"] != "inprogress"
    )
    assert found["error"] is None
    return found


def upload(site: Site, key: str, body: bytes) -> None:
    username, _, bucketname = site.bucket.partition("___")
    assert site.service.call("PUT", f"/ceph/{username}/{bucketname}/keys/{key}", body).status == 201


def usage(site: Site) -> tuple[int, int]:
    shown = site.service.json("GET", "/ceph/" + site.bucket.replace("___", "/"))
    return shown["size"], shown["keyamount"]


def test_a_purged_address_is_fetched_anew(site: Site) -> None:
    site.fill("/a?v=1", b"old")
    site.put("/a?v=1", b"newer")
    assert site.get("/a?v=1").body == b"old"
    told = site.service.json("POST", "/mirrors/purge", {"mirror": site.host, "path": "/a?v=1"})
    assert (told["msg"], told["path"], told["key"]) == ("mirror_purged", "/a?v=1", "a?v=1")
    assert (told["state"], told["counts"]) == ("success", {"seen": 1, "removed": 1, "bytes": 3})
    assert usage(site) == (0, 0)
    assert site.get("/a?v=1").body == b"newer"


def test_a_prefix_and_a_type_and_an_age_say_which_copies_go(site: Site) -> None:
    for path, kind in (("/d/1", "image/png"), ("/d/2", "text/plain; charset=x"), ("/e/3", "image/jpeg")):
        site.fill(path, b"12345", content_type=kind)
    assert purge(site, older_than=3600)["counts"] == {"seen": 3}
    assert purge(site, prefix="d/", content_type="image/*")["counts"] == {"seen": 2, "removed": 1, "bytes": 5}
    assert site.keys() == ["d/2", "e/3"]
    assert purge(site, content_type="text/plain")["counts"]["removed"] == 1
    assert purge(site, older_than=0)["counts"]["removed"] == 1
    assert site.keys() == []


def test_everything_goes_in_steps_but_what_was_uploaded(site: Site) -> None:
    paths = [f"/p/{number:03}" for number in range(230)]
    for path in paths:
        site.put(path, b"x")
    site.get_all(paths[:115])
    site.get_all(paths[115:])
    until(site.keys, lambda keys: len(keys) == 230)
    upload(site, "p/own", b"kept")
    done = purge(site, all=True)
    assert done["counts"] == {"seen": 231, "removed": 230, "bytes": 230}
    assert (site.keys(), usage(site)) == (["p/own"], (4, 1))
    assert purge(site, key="p/own")["counts"] == {"seen": 1}
    assert purge(site, key="p/own", soft=True)["counts"] == {"seen": 1}
    assert site.record("p/own")["size"] == 4


def test_a_marked_copy_is_confirmed_or_replaced_at_the_next_request(site: Site) -> None:
    site.fill("/a", b"same")
    site.fill("/b", b"old")
    assert purge(site, all=True, soft=True)["counts"] == {"seen": 2, "marked": 2}
    assert site.count("/a") == site.count("/b") == 1
    assert site.get("/a").body == b"same"
    assert [request.status for request in site.logged("/a")] == [200, 304]
    site.put("/b", b"newer")
    assert site.get("/b").body == b"newer"
    until(lambda: site.record("b")["size"], lambda size: size == 5)
    for path, body in (("/a", b"same"), ("/b", b"newer")):
        assert site.get(path).body == body
        assert site.count(path) == 2


def test_a_marked_copy_beats_an_origin_that_fails(own_site: Any) -> None:
    site = own_site()
    site.fill("/a", b"kept")
    purge(site, key="a", soft=True)
    with site.origin_down():
        for _ in range(2):
            assert site.get("/a").body == b"kept"
    assert site.explain("/a")["record"] is not None


def test_a_refresh_asks_the_origin_now(site: Site) -> None:
    for path in ("/same", "/changed", "/gone"):
        site.fill(path, b"old")
    site.put("/changed", Content(3, 2 * MIB))
    site.put("/gone", b"", status=404)
    done = purge(site, all=True, refresh=True)
    counts = done["counts"]
    assert {name: counts[name] for name in ("seen", "confirmed", "fetched", "failed", "bytes")} == {
        "seen": 3, "confirmed": 1, "fetched": 1, "failed": 1, "bytes": 2 * MIB,
    }  # fmt: skip
    assert [error["what"] for error in done["errors"]] == ["gone"]
    assert [request.status for request in site.logged("/same")] == [200, 304]
    assert site.record("changed")["size"] == 2 * MIB
    assert site.get("/changed").proxy_said == "CephStorage; hit"
    assert site.get("/gone").body == b"old"


def test_a_refresh_of_a_private_mirror_needs_no_token_of_a_reader(site: Site) -> None:
    site.fill("/a", b"old")
    site.order(private=True)
    site.put("/a", b"newer")
    assert purge(site, key="a", refresh=True)["counts"]["fetched"] == 1
    assert site.record("a")["size"] == 5
    assert site.get("/a").status == 401


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({}, "invalid_request"),
        ({"all": True, "prefix": "a"}, "invalid_request"),
        ({"key": "a", "prefix": "a"}, "invalid_request"),
        ({"path": "/a", "key": "a"}, "invalid_request"),
        ({"path": "a"}, "invalid_key"),
        ({"key": ""}, "invalid_key"),
        ({"all": True, "soft": True, "refresh": True}, "invalid_request"),
        ({"all": True, "content_type": "image"}, "invalid_request"),
        ({"content_type": "*/*"}, "invalid_request"),
        ({"older_than": -1}, "invalid_request"),
        ({"older_than": 1e300}, "invalid_request"),
        ({"all": True, "concurrency": 0}, "invalid_request"),
        ({"all": True, "rate": 0}, "invalid_request"),
        ({"all": True, "wait": 1e9}, "invalid_request"),
        ({"all": True, "more": 1}, "invalid_request"),
        ({"all": True, "mirror": "nobody.test"}, "mirror_not_found"),
    ],
)
def test_bad_wishes_are_refused(site: Site, wish: dict[str, Any], code: str) -> None:
    site.fill("/a", b"kept")
    body = json.dumps({"mirror": site.host, **wish}).encode()
    reply = site.service.call("POST", "/mirrors/purge", body, {"Content-Type": "application/json"})
    assert (reply.status, reply.json()["code"]) == (404 if "not_found" in code else 400, code)
    assert site.keys() == ["a"]


def test_jobs_are_listed_and_belong_to_their_tenant(site: Site) -> None:
    first, second = purge(site, all=True), purge(site, prefix="x")
    listed = site.service.json("GET", f"/mirrors/jobs?mirror={site.host}")["jobs"]
    assert [job["job"] for job in listed] == [second["job"], first["job"]]
    assert listed[0]["prefix"] == "x"
    stranger = site.service.json("POST", "/tokens", {"role": "tenant", "username": "mallory"})["token"]
    for method, target in (
        ("GET", f"/mirrors/jobs/{first['job']}"),
        ("DELETE", f"/mirrors/jobs/{first['job']}"),
        ("GET", f"/mirrors/jobs?mirror={site.host}"),
    ):
        assert site.service.call(method, target, token=stranger).status == 403
        assert site.service.call(method, target, token=None).status == 401
    assert site.service.call("GET", "/mirrors/jobs/nobody").json()["code"] == "job_not_found"
    reply = site.service.call("DELETE", f"/mirrors/jobs/{first['job']}")
    assert (reply.status, reply.json()["code"]) == (409, "job_ended")


def test_copies_of_another_bucket_stay(site: Site) -> None:
    other = Bucket(site.service, f"other-{site.host.partition('.')[0][-20:].strip('-')}")
    other.put("a", b"kept")
    site.fill("/a", b"gone")
    purge(site, all=True)
    assert other.record("a")["size"] == 4
    assert problem_code(site.get("/a", method="DELETE")) == "method_not_allowed"
