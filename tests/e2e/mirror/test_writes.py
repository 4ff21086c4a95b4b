"""Requests that are neither GET nor HEAD: refused, or passed on with their bodies where a mirror is told to."""

import hashlib
import http.client
import json

import pytest

from tests.e2e.mirror.site import Site, problem_code
from tests.harness.content import MIB, Content

BODY = Content(81, 5 * MIB + 7)
FRESH = [("Cache-Control", "max-age=3600")]


@pytest.fixture
def writable(site: Site) -> Site:
    """A mirror in mode ``origin`` that passes writes on."""
    site.order(mode="origin", methods="pass")
    return site


def send(
    site: Site, method: str, target: str, body: object = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """A request with a body; an iterable goes in chunks."""
    connection = http.client.HTTPConnection("127.0.0.1", site.service.port, timeout=60)
    try:
        connection.request(method, target, body, {"Host": site.host, **(headers or {})})  # type: ignore[arg-type]
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_a_mirror_refuses_them_unless_told_otherwise(site: Site, method: str) -> None:
    site.put("/a", b"a")
    answer = site.get("/a", method=method)
    assert (answer.status, problem_code(answer)) == (405, "method_not_allowed")
    assert site.count("/a") == 0


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_arrives_whole(writable: Site, chunked: bool) -> None:
    writable.put("/a", b"taken", status=201)
    data = BODY.read()
    body = (data[start : start + 70_000] for start in range(0, len(data), 70_000)) if chunked else data
    status, headers, answer = send(writable, "POST", "/a", body, {"Content-Type": "x/y", "X-Token": "t", "Cookie": "c"})
    assert (status, answer) == (201, b"taken")
    assert "fwd=method" in headers["cache-status"]
    (request,) = writable.logged("/a")
    assert (request.method, request.body_size, request.body_md5) == ("POST", BODY.size, BODY.md5)
    assert ("transfer-encoding" in request.headers) is chunked
    assert request.headers["content-type"] == "x/y"
    assert not {"cookie", "x-token", "x-forwarded-for"} & request.headers.keys()


def test_without_a_body_and_with_any_status(writable: Site) -> None:
    for method, status in (("DELETE", 204), ("PUT", 303), ("OPTIONS", 200), ("PATCH", 422)):
        writable.put("/b", b"" if status == 204 else b"x", status=status, headers=[("Location", "/elsewhere")])
        told, headers, _ = send(writable, method, "/b")
        assert told == status
        assert headers["location"] == "/elsewhere"
    assert [request.body_size for request in writable.logged("/b")] == [0, 0, 0, 0]


def test_a_tunnel_and_a_trace_never_pass(writable: Site) -> None:
    writable.put("/a", b"a")
    assert send(writable, "TRACE", "/a")[0] == 405
    assert writable.count("/a") == 0


def test_a_write_makes_what_is_stored_invalid(writable: Site) -> None:
    """RFC 9111 section 4.4: the target, and what Location and Content-Location name on the same host."""
    for path in ("/list", "/made", "/told", "/other"):
        writable.fill(path, b"old", headers=FRESH)
        writable.settled(path)
        assert writable.get(path).body == b"old"
        writable.put(path, b"new", headers=FRESH)
    origin = writable.origin.url + writable.prefix
    named = [("Location", f"{origin}/made"), ("Content-Location", f"{writable.prefix}/told")]
    writable.put("/list", b"no", status=409, headers=named)
    assert send(writable, "POST", "/list", b"x")[0] == 409
    assert [writable.get(path).body for path in ("/list", "/made", "/told")] == [b"old"] * 3
    writable.put("/list", b"yes", status=201, headers=named)
    assert send(writable, "POST", "/list", b"x")[0] == 201
    writable.put("/list", b"new", headers=FRESH)
    assert [writable.get(path).body for path in ("/list", "/made", "/told")] == [b"new"] * 3
    assert writable.get("/other").body == b"old"
    assert writable.count("/other") == 1


def test_what_is_invalid_is_not_served_when_the_origin_fails(writable: Site) -> None:
    writable.fill("/a", b"old", headers=FRESH)
    writable.settled("/a")
    writable.put("/a", b"", status=204)
    assert send(writable, "DELETE", "/a")[0] == 204
    assert writable.explain("/a")["freshness"]["invalidated"] is True
    writable.put("/a", b"", hang_up_times=9)
    assert problem_code(writable.get("/a")) == "stale_forbidden"


def test_credentials_of_the_origin_and_writes_do_not_go_together(site: Site) -> None:
    origin = site.origin.url.replace("http://", "http://user:secret@")
    wish = {"mirror": "creds.test", "bucket": "mirrors___creds", "methods": "pass", "origin": origin}
    body, headers = json.dumps(wish).encode(), {"Content-Type": "application/json"}
    reply = site.service.call("POST", "/mirrors/host", body, headers)
    assert reply.status == 400, reply.body
    assert "methods" in reply.json()["msg"]


def test_the_harness_reads_bodies(writable: Site) -> None:
    writable.put("/a", b"a")
    send(writable, "PUT", "/a", b"hello")
    assert writable.logged("/a")[0].body_md5 == hashlib.md5(b"hello", usedforsecurity=False).hexdigest()
