"""Warm-ups: lists, sitemaps, Packages indexes and folders are brought as clients would bring them."""

import json
import lzma
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.mirror.site import Site
from tests.e2e.mirror.test_copies import ended
from tests.harness.behaviour import Gate
from tests.harness.content import MIB, Content


def warm(site: Site, **wish: Any) -> Any:
    """A warm-up, seen to its end."""
    return ended(site, site.service.json("POST", "/mirrors/warm", {"mirror": site.host, **wish}))


def test_a_list_is_brought_and_what_is_there_is_not_fetched_again(site: Site) -> None:
    site.fill("/there", b"there")
    site.put("/big", Content(4, 3 * MIB))
    site.put("/empty", b"")
    site.put("/secret", b"x", headers=[("Cache-Control", "no-store")])
    site.put("/q?a=1", b"query")
    done = warm(
        site,
        targets=[
            "# a remark", "", "/there", f"http://{site.host}/big", "/empty", f"{site.origin.url}{site.prefix}/q?a=1",
            "/not-there", "/secret", "/big",
        ],
    )  # fmt: skip
    assert done["counts"] == {
        "total": 6, "done": 6, "stored": 1, "fetched": 3, "failed": 1, "unstored": 1, "bytes": 3 * MIB + 5,
    }  # fmt: skip
    assert {error["what"] for error in done["errors"]} == {"/not-there", "/secret"}
    assert site.keys() == ["big", "empty", "q?a=1", "there"]
    assert site.body_bytes("/big") == 3 * MIB
    assert site.count("/there") == 1
    assert site.get("/big").proxy_said == "CephStorage; hit"


def test_a_warm_up_and_clients_share_a_fill(site: Site) -> None:
    gate = Gate()
    body = Content(9, 4 * MIB)
    site.put("/a", body, gate=gate, gate_after=MIB)
    job = site.service.json("POST", "/mirrors/warm", {"mirror": site.host, "targets": ["/a"], "wait": 0})
    assert job["state"] == "inprogress"
    assert gate.reached.wait(60)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(site.get, "/a")
        gate.set()
        assert reading.result().body == body.read()
    assert ended(site, job)["counts"]["fetched"] == 1
    assert site.count("/a") == 1


def test_a_sitemap_of_sitemaps(site: Site) -> None:
    site.put("/robots/index.xml", b"<sitemapindex><sitemap><loc>/robots/1.xml</loc></sitemap></sitemapindex>")
    site.put("/robots/1.xml", f"<urlset><url><loc>http://{site.host}/page</loc></url></urlset>".encode())
    site.put("/page", b"page")
    done = warm(site, sitemap=f"http://{site.host}/robots/index.xml")
    assert done["counts"] == {"total": 3, "done": 3, "indexes": 2, "fetched": 1, "bytes": 4}
    assert site.record("page")["size"] == 4


def test_a_packages_index(site: Site) -> None:
    paths = [f"/deb/pool/{number}.deb" for number in range(1203)]
    index = b"\n\n".join(b"Package: x\nFilename: %s" % path.removeprefix("/deb/").encode() for path in paths)
    site.put("/deb/dists/s/main/binary-amd64/Packages.xz", lzma.compress(index))
    for path in paths[:-1]:
        site.put(path, b"deb")
    done = warm(site, packages="/deb/dists/s/main/binary-amd64/Packages.xz", concurrency=16)
    assert [error["what"] for error in done["errors"]] == [paths[-1]], done["errors"]
    assert done["counts"] == {
        "total": 1204, "done": 1204, "indexes": 1, "fetched": 1202, "failed": 1, "bytes": 3 * 1202,
    }  # fmt: skip
    assert sum(site.count(path) for path in paths[:-1]) == 1202


def test_a_folder_down_to_its_depth_and_bound(site: Site) -> None:
    site.put("/d/", b'<a href="../">up</a><a href="1">1</a><a href="e/">e</a>', content_type="text/html")
    site.put("/d/e/", b'<a href="2">2</a><a href="f/">f</a>', content_type="text/html")
    site.put("/d/e/f/", b'<a href="3">3</a>', content_type="text/html")
    for path in ("/d/1", "/d/e/2", "/d/e/f/3"):
        site.put(path, b"x")
    done = warm(site, folder="/d/", depth=1)
    assert done["counts"] == {"total": 4, "done": 4, "indexes": 2, "fetched": 2, "bytes": 2}
    assert site.count("/d/e/f/") == 0
    done = warm(site, folder="/d/", most=3)
    assert (done["counts"]["total"], done["counts"]["dropped"]) == (3, 2)


def test_a_broken_index_is_an_error_of_its_own(site: Site) -> None:
    site.put("/s.xml", b"<!DOCTYPE x><urlset/>")
    done = warm(site, sitemap="/s.xml")
    assert done["counts"] == {"total": 1, "done": 1, "failed": 1}
    assert [error["code"] for error in done["errors"]] == ["invalid_index"]
    assert warm(site, sitemap="/not-there.xml")["counts"]["failed"] == 1


def test_a_cancelled_warm_up_begins_nothing_more(site: Site) -> None:
    gate = Gate()
    for number in range(9):
        site.put(f"/{number}", b"x", header_gate=gate)
    targets = [f"/{number}" for number in range(9)]
    wish = {"mirror": site.host, "targets": targets, "concurrency": 1, "wait": 0}
    job = site.service.json("POST", "/mirrors/warm", wish)
    assert gate.reached.wait(60)
    assert site.service.json("DELETE", f"/mirrors/jobs/{job['job']}")["msg"] == "job_cancelled"
    gate.set()
    shown = site.service.json("GET", f"/mirrors/jobs/{job['job']}")
    assert (shown["state"], shown["error"]["code"]) == ("fail", "cancelled")
    site.stored("0")
    assert [site.count(target) for target in targets] == [1] + [0] * 8


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"targets": ["/a"], "sitemap": "/s"},
        {"targets": ["http://elsewhere.test/a"]},
        {"targets": ["a"]},
        {"targets": ["http://[broken"]},
        {"targets": ["/a", "/b"], "most": 1},
        {"folder": "/a"},
        {"folder": "/a/", "depth": -1},
        {"packages": "//elsewhere.test/Packages"},
    ],
)
def test_bad_wishes_are_refused(site: Site, wish: dict[str, Any]) -> None:
    body = json.dumps({"mirror": site.host, **wish}).encode()
    reply = site.service.call("POST", "/mirrors/warm", body, {"Content-Type": "application/json"})
    assert (reply.status, reply.json()["code"]) == (400, "invalid_request")
