"""What rules change on the way: headers both ways, sizes, redirects, keys, and what depends on the origin's answer."""

import json
from typing import Any

import pytest

from tests.e2e.mirror.site import Site, problem_code
from tests.harness.content import MIB, Content
from tests.harness.patience import until


def three_times(site: Site, target: str) -> list[dict[str, str]]:
    """The headers of an answer from the fill, from the store, and from the store again, by then perhaps through an edge's cache."""
    first = site.get(target)
    site.stored(target[1:])
    return [first.headers, site.get(target).headers, site.get(target).headers]


CARRIED = {"set": {"Cache-Control": "public, max-age=60", "Content-Type": "text/x-mine"}, "drop": ["Link"]}
OTHERS = {"set": {"X-Own": "a b", "Cache-Control": "no-transform"}, "drop": ["x-origin"]}


@pytest.mark.parametrize("changes", [CARRIED, OTHERS], ids=["that nginx carries", "that it does not"])
def test_response_headers_are_the_same_from_fill_store_and_edge(site: Site, changes: dict[str, Any]) -> None:
    site.order(rules=[{"path": "/a/**", "response_headers": changes}])
    headers = [("Link", "</l>"), ("X-Origin", "1"), ("Cache-Control", "max-age=1")]
    for path in ("/a/x", "/b/x"):
        site.put(path, b"body", headers=headers, content_type="text/plain")
    for seen in three_times(site, "/a/x"):
        assert {name.lower(): seen[name.lower()] for name in changes["set"]} == {
            name.lower(): value for name, value in changes["set"].items()
        }
        assert not {name.lower() for name in changes["drop"]} & seen.keys()
    for seen in three_times(site, "/b/x"):
        assert {
            "link": "</l>",
            "x-origin": "1",
            "cache-control": "max-age=1",
            "content-type": "text/plain",
        }.items() <= seen.items()


def test_response_headers_of_what_is_not_stored(site: Site) -> None:
    site.order(mode="bypass", response_headers={"set": {"X-Own": "1"}, "drop": ["X-Origin"]})
    site.put("/a", b"body", headers=[("X-Origin", "1")])
    site.put("/missing", b"no", status=404, headers=[("X-Origin", "1")])
    for mode in ("bypass", "permanent"):
        site.order(mode=mode, response_headers={"set": {"X-Own": "1"}, "drop": ["X-Origin"]})
        for path in ("/a", "/missing"):
            answer = site.get(path)
            assert answer.headers["x-own"] == "1"
            assert "x-origin" not in answer.headers


def test_request_headers_of_fills_revalidations_and_what_is_passed_on(site: Site) -> None:
    changes = {"set": {"User-Agent": "mirror/1", "X-Team": "red"}, "drop": ["Accept-Language"]}
    site.order(
        request_headers=changes,
        rules=[{"path": "/b", "mode": "bypass"}, {"path": "/a", "mode": "revalidate", "ttl": 0}],
    )
    for path in ("/a", "/b"):
        site.put(path, b"body")
        site.get(path, {"Accept-Language": "de"})
    site.stored("a")
    site.get("/a", {"Accept-Language": "de"})
    asked = [*site.logged("/a"), *site.logged("/b")]
    assert len(asked) == 3
    assert asked[1].status == 304
    for request in asked:
        assert (request.headers["user-agent"], request.headers["x-team"]) == ("mirror/1", "red")
        assert "accept-language" not in request.headers


def test_a_resumed_fill_asks_with_the_rule_s_headers(site: Site) -> None:
    site.order(request_headers={"set": {"X-Team": "red"}})
    body = Content(1, 3 * MIB)
    site.put("/a", body, die_after=MIB, die_times=1)
    assert site.get("/a").body == body.read()
    assert site.count("/a") > 1
    assert {request.headers["x-team"] for request in site.logged("/a")} == {"red"}


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_what_is_larger_than_a_rule_allows_is_passed_through(site: Site, framing: str) -> None:
    site.order(rules=[{"suffix": ".iso", "max_size": MIB}])
    body = Content(2, 2 * MIB)
    for path in ("/large.iso", "/large.tar"):
        site.put(path, body, framing=framing)
    site.put("/small.iso", Content(3, MIB), framing=framing)
    for path in ("/large.iso", "/large.tar", "/small.iso"):
        assert site.get(path).body == (body if "large" in path else Content(3, MIB)).read()
    site.stored("large.tar")
    site.stored("small.iso")
    assert site.settled("/large.iso")["record"] is None
    assert site.get("/large.iso").body == body.read()


def test_redirects_that_are_passed_on_lead_back_to_the_mirror(site: Site) -> None:
    site.order(redirects="pass", rules=[{"path": "/by/**", "mode": "bypass"}])
    places = {
        "/relative": ("other", "other"),
        "/rooted": (f"{site.prefix}/b", "/b"),
        "/absolute": (f"{site.origin.url}{site.prefix}/b?c", "/b?c"),
        "/elsewhere": ("http://elsewhere.test/b", "http://elsewhere.test/b"),
        "/by/absolute": (f"{site.origin.url}{site.prefix}/b", "/b"),
    }
    for path, (location, shown) in places.items():
        site.put(path, redirect=location, redirect_status=307)
        answer = site.get(path)
        assert (answer.status, answer.headers["location"]) == (307, shown)
        assert site.record(path[1:]) is None


def test_redirects_that_are_refused(site: Site) -> None:
    site.put("/b", b"body")
    site.put("/a", redirect="b")
    for mode in ("permanent", "bypass"):
        site.order(rules=[{"path": "/a", "redirects": "refuse", "mode": mode}])
        answer = site.get("/a")
        assert (answer.status, problem_code(answer)) == (502, "redirect_refused")
    assert site.count("/b") == 0
    assert site.get("/b").status == 200


def test_several_addresses_share_one_key(site: Site) -> None:
    """The origin is asked for what the first client asked for; the others have its copy."""
    site.order(rules=[{"path": "/dl/**", "key": {"regex": "/dl/[0-9]+/(.+)", "to": "/files/$1"}}])
    for number in (1, 2, 3):
        site.put(f"/dl/{number}/x.iso", b"the file")
    for number in (2, 1, 3, 1):
        answer = site.get(f"/dl/{number}/x.iso")
        assert answer.body == b"the file"
        site.stored("files/x.iso")
    assert [site.count(f"/dl/{number}/x.iso") for number in (1, 2, 3)] == [0, 1, 0]
    assert site.get("/files/x.iso").body == b"the file"
    assert site.keys() == ["files/x.iso"]


def test_addresses_of_one_key_share_a_fill(site: Site) -> None:
    site.order(key={"prefix": "/b/", "to": "/a/"})
    body = Content(4, 2 * MIB)
    for path in ("/a/x", "/b/x"):
        site.put(path, body, rate=8 * MIB)
    answers = site.get_all(["/a/x", "/b/x", "/b/x", "/a/x"])
    assert {answer.body for answer in answers} == {body.read()}
    assert site.body_bytes("/a/x") + site.body_bytes("/b/x") == len(body)


def test_rules_about_the_answer(site: Site) -> None:
    site.order(
        rules=[
            {"content_type": "application/x-evil", "mode": "deny"},
            {"content_type": "text/html", "mode": "bypass", "response_headers": {"set": {"X-Page": "1"}}},
            {"content_type": "text/css", "cookies": "drop"},
            {"path": "/odd/**", "mode": "bypass"},
        ]
    )
    site.put("/evil", b"evil", content_type="application/x-evil")
    site.put("/odd/evil", b"evil", content_type="application/x-evil")
    site.put("/page", b"page", content_type="text/html; charset=utf-8")
    site.put("/style", b"style", content_type="text/css", headers=[("Set-Cookie", "a=b")])
    site.put("/file", b"file", content_type="text/plain")
    for path in ("/evil", "/odd/evil"):
        answer = site.get(path)
        assert (answer.status, problem_code(answer)) == (403, "path_denied")
    for number in (1, 2):
        answer = site.get("/page")
        assert (answer.body, answer.headers["x-page"]) == (b"page", "1")
        assert site.count("/page") == number
    for path in ("/style", "/file"):
        assert [seen.get("x-page") for seen in three_times(site, path)] == [None, None, None]
        assert site.count(path) == 1
    assert site.settled("/page")["record"] is None


def test_a_rule_about_the_content_type_says_when_a_copy_is_outdated(site: Site) -> None:
    site.order(rules=[{"content_type": "text/html", "mode": "revalidate", "ttl": 0}])
    site.put("/page", b"one", content_type="text/html")
    site.put("/file", b"one", content_type="text/plain")
    for path in ("/page", "/file"):
        site.get(path)
        site.stored(path[1:])
        site.put(path, b"two", content_type="text/html" if path == "/page" else "text/plain")
    assert site.get("/page").body == b"two"
    assert site.get("/file").body == b"one"
    told = site.explain("/page")
    assert (told["rule"], told["rule_number"]) == ("/**; content type text/html", 1)
    assert site.explain("/file")["rule_number"] is None


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an expression that explodes": ({"regex": "/(a+)+"}, "Rule 2, field 'regex'"),
    "two patterns": ({"path": "/a", "prefix": "/b"}, "Rule 2"),
    "no pattern": ({"mode": "deny"}, "Rule 2"),
    "an unknown mode": ({"path": "/a", "mode": "sometimes"}, "Rule 2, field 'mode'"),
    "an unknown field": ({"path": "/a", "colour": "red"}, "Rule 2, field 'colour'"),
    "a negative ttl": ({"path": "/a", "negative_ttl": -1}, "Rule 2, field 'negative_ttl'"),
    "more than all": ({"path": "/a", "finish_from": 101}, "Rule 2, field 'finish_from'"),
    "a header that is ours": ({"path": "/a", "response_headers": {"set": {"ETag": "x"}}}, "Rule 2, field 'response_headers'"),
    "a header over two lines": ({"path": "/a", "request_headers": {"set": {"X": "a\nb"}}}, "Rule 2, field 'request_headers'"),
    "a status by number": ({"status": [99]}, "Rule 2, field 'status'"),
    "an origin that is none": ({"path": "/a", "origin": "ftp://x"}, "Rule 2, field 'origin'"),
    "half a rewrite": ({"path": "/a", "key": {"to": "/x"}}, "Rule 2, field 'key'"),
    "a query by status": ({"status": [404], "query": "ignore"}, "Rule 2, field 'query'"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_bad_rule_is_named_by_number_and_field(site: Site, name: str) -> None:
    rule, said = WRONG[name]
    wish = {"mirror": site.host, "origin": site.origin.url, "bucket": site.bucket, "rules": [{"path": "/x"}, rule]}
    reply = site.service.call("POST", "/mirrors/host", json.dumps(wish).encode(), {"Content-Type": "application/json"})
    assert reply.status in {400, 422}, reply.body
    assert said in json.loads(reply.body)["msg"]


def test_a_mirror_shows_its_rules_as_they_were_written(site: Site) -> None:
    rules = [
        {"prefix": "/a/", "negative_ttl": 5, "key": {"prefix": "/a/", "to": "/b/"}, "digest": ".sha256"},
        {"regex": "/c/.*", "request_headers": {"set": {"X": "y"}, "drop": []}, "redirects": "pass", "finish_from": 50},
        {"path": "/**", "status": ["404", "5xx"], "negative_ttl": 9},
        {"suffix": ".iso", "max_size": 7, "response_headers": {"set": {}, "drop": ["X"]}},
    ]
    shown = site.order(rules=rules, max_size=100)
    assert shown["rules"] == rules
    assert (shown["max_size"], shown["mode"]) == (100, "permanent")
    [listed] = site.service.json("GET", f"/mirrors/host?bucket_name={site.bucket}")["mirrors"]
    assert listed["rules"] == rules


@pytest.mark.stacks("direct")  # what stops a process stops it on every stack
@pytest.mark.parametrize("pattern", [{"path": "/**/a/**/a/**/a/**/a/**/b"}, {"path": "**a**a**a**a*b"}])
def test_no_pattern_stops_the_service(site: Site, pattern: dict[str, str]) -> None:
    site.order(rules=[{**pattern, "mode": "deny"}])
    assert site.get("/a" * 3000).status in {400, 404}
    assert until(lambda: site.get("/x").status) == 404
