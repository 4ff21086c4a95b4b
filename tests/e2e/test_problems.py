"""Errors: always problem details with a code and a sentence, never a 500, whatever is sent."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness import raw
from tests.harness.bucket import Bucket
from tests.harness.service import Reply, Service

JSON = {"Content-Type": "application/json"}
BODIES = ["/ceph/alice/photos/keys", "/ceph/alice/photos/keys/k", "/tokens", "/mirrors/host", "/config"]
"""Where JSON is taken."""


def method_of(path: str) -> str:
    return "PUT" if path == "/config" else "POST"


@pytest.fixture(scope="module", autouse=True)
def no_crash(shared: Service) -> Iterator[None]:
    """The service has a bucket to be wrong about, and its log shows no crash at the end."""
    Bucket(shared, "alice").put("k", b"x")
    yield
    assert shared.call("GET", "/healthz").status == 200
    assert "Traceback" not in shared.log()


def problem(reply: Reply, status: int, code: str | None = None) -> Any:
    """Check that an answer is a problem (RFC 9457) with this status and code; its document."""
    assert reply.status == status, reply.body
    assert reply.headers["content-type"] == "application/problem+json"
    shown = json.loads(reply.body.decode("utf-8"))
    assert shown["status"] == status
    assert shown["type"] == "about:blank"
    assert shown["title"]
    assert shown["detail"] == shown["msg"]
    assert shown["msg"].strip().endswith((".", "?", ")")), shown["msg"]
    assert code is None or shown["code"] == code
    return shown


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/ceph", "/ceph/", "/ceph/a/b/c", "/docs/", "/tokens/", "//", "/%00"]
)
def test_unknown_routes(path: str, shared: Service) -> None:
    reply = raw.ask(shared, "GET", path.encode())
    assert reply.status in {400, 404}
    problem(reply, reply.status)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/healthz"),
        ("DELETE", "/ceph/alice"),
        ("PATCH", "/ceph/alice/photos"),
        ("PUT", "/ceph/alice/photos/keys"),
        ("PATCH", "/ceph/alice/photos/keys/k"),
        ("PUT", "/tokens"),
        ("POST", "/openapi.json"),
        ("PATCH", "/healthz"),
        ("OPTIONS", "/ceph/alice/photos"),
    ],
)
def test_wrong_methods(method: str, path: str, shared: Service) -> None:
    reply = raw.ask(shared, method, path.encode())
    problem(reply, 405, "method_not_allowed")
    # RFC 9110 section 15.5.6
    offered = reply.headers["allow"].split(", ")
    assert offered
    assert method not in offered


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    "body", [b"", b"{", b"nonsense", b"\xff\xfe", b"[1,", b"NaN", b"\x00", b'{"a": "\xff"}', b"[]", b"7"]
)
def test_what_is_no_json_or_no_object(body: bytes, path: str, shared: Service) -> None:
    problem(shared.call(method_of(path), path, body, JSON), 400, "invalid_request")


@pytest.mark.parametrize("path", BODIES)
def test_deep_json(path: str, shared: Service) -> None:
    for body in (b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000):
        problem(shared.call(method_of(path), path, body, JSON), 400, "invalid_request")
    deep = b'{"key_name": "k", "key_url": ' + b"[" * 500 + b"]" * 500 + b"}"
    problem(shared.call(method_of(path), path, deep, JSON), 400, "invalid_request")


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("media_type", ["application/json", "text/plain", "application/x-ndjson"])
def test_huge_bodies(path: str, media_type: str, shared: Service) -> None:
    body = b'{"key_name": "' + b"x" * (17 << 20) + b'"}'
    problem(
        raw.ask(shared, method_of(path), path.encode(), body, [f"Content-Type: {media_type}"]), 413, "body_too_large"
    )


@pytest.mark.parametrize("path", BODIES)
def test_huge_bodies_in_chunks(path: str, shared: Service) -> None:
    chunk = b"%x\r\n%b\r\n" % (1 << 20, b" " * (1 << 20))
    fields = ["Transfer-Encoding: chunked", "Content-Type: application/json"]
    with raw.connect(shared) as sock:
        raw.send(sock, raw.head(shared, method_of(path), path.encode(), fields) + 17 * chunk)
        problem(raw.answer(sock), 413, "body_too_large")


def test_large_numbers(shared: Service) -> None:
    wish = b'{"key_name": "k", "key_url": "http://example.org/", "timetag": %s}'
    for number in (b"9" * 5000, b"1e999", b"-1e999", b"9" * 400, b"NaN", b"Infinity", b"-Infinity", b"true", b"[]"):
        reply = shared.call("POST", "/ceph/alice/photos/keys", wish % number, JSON)
        problem(reply, 400)


@pytest.mark.parametrize(
    "query", ["q=%FF", "q=%", "q=%ZZ", "prefix=%C3", "cursor=%ED%A0%80", "%FF=1", "vfolder=%00&x=%E9"]
)
@pytest.mark.parametrize("path", ["/ceph/alice/photos/keys", "/healthz", "/mirrors/host"])
def test_queries_that_are_not_utf_8(path: str, query: str, shared: Service) -> None:
    problem(raw.ask(shared, "GET", f"{path}?{query}".encode()), 400)


@pytest.mark.parametrize(
    "query", ["limit=" + "9" * 5000, "limit=1.5", "limit=", "recursive=2", "q=%00", "prefix=%00", "vfolder=%00"]
)
def test_odd_queries(query: str, shared: Service) -> None:
    reply = shared.call("GET", f"/ceph/alice/photos/keys?{query}")
    assert reply.status in {200, 400}
    if reply.status == 400:
        problem(reply, 400)


@pytest.mark.parametrize("value", ["0", "-1", "x", "1e3", "9" * 30, "315360001", ""])
def test_bad_expires_in(value: str, shared: Service) -> None:
    problem(shared.call("GET", f"/ceph/alice/photos/keys/k?expires_in={value}"), 400, "invalid_request")


@pytest.mark.parametrize(
    "header",
    ["Content-Type: \xff", "Content-Type: a\x01b", "Authorization: Bearer \xff\xfe", "If-Match: \xff", "Timetag: \xff",
     "Content-MD5: \xff", "Repr-Digest: \xff", "Idempotency-Key: \xff", "Range: \xff", "Host: \xff", "X: " + "y" * 60_000],
)  # fmt: skip
def test_odd_headers(header: str, shared: Service) -> None:
    for method, path in (
        ("PUT", "/ceph/alice/photos/keys/odd"),
        ("GET", "/ceph/alice/photos/keys"),
        ("GET", "/objects/a/b"),
    ):
        fields = [f"Host: 127.0.0.1:{shared.port}", "Connection: close", "Content-Length: 0"]
        kept = [field for field in fields if field.partition(":")[0] != header.partition(":")[0]]
        with raw.connect(shared) as sock:
            sock.sendall((f"{method} {path} HTTP/1.1\r\n" + "\r\n".join([*kept, header, "", ""])).encode("latin-1"))
            assert 400 <= raw.answer(sock).status < 500


@pytest.mark.stacks("direct")  # nginx answers for itself
def test_a_request_that_is_not_http(shared: Service) -> None:
    for garbage in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
        b"HELO\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n\r\n\x00\r\n",
    ):
        with raw.connect(shared) as sock:
            sock.sendall(garbage)
            problem(raw.answer(sock), 400, "invalid_request")


def test_a_problem_names_what_is_wrong(shared: Service) -> None:
    shown = problem(shared.call("GET", "/ceph/alice/photos/keys/missing%0Akey"), 404, "key_not_found")
    assert "missing" in shown["msg"]
    assert "alice___photos" in shown["msg"]
    shown = problem(shared.call("POST", "/tokens", b'{"role": "king"}', JSON), 400, "invalid_request")
    assert "role" in shown["msg"]


def test_secrets_are_not_echoed(shared: Service) -> None:
    for token in ("cs_secret_that_is_wrong", "x"):
        shown = problem(shared.call("GET", "/config", token=token), 401, "unauthenticated")
        assert token not in shown["msg"].split()
