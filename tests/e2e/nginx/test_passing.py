"""What nginx passes on to its proxy: the target untouched, the client as it is, and no word of the edge's own."""

import json
import re

import pytest

from cephstorage.domain import edge
from tests.e2e.nginx.wire import MIRROR, Wire
from tests.harness.names import NASTY_KEYS

TARGETS = (
    "/",
    "//",
    "///a",
    "/a//b",
    "/a/",
    "/a%2Fb",
    "/a%2fb",
    "/a/./b",
    "/a/../b",
    "/a/%2e%2E/b",
    "/a/b/..",
    "/g++_12.deb",
    "/g%2B%2B",
    "/%7Euser/~user",
    "/caf%C3%A9",
    "/a%20b",
    "/a%0Ab",
    "/a%25b%2525",
    "/a?",
    "/a??b",
    "/a?b=/../c&d=%2F",
    "/a;b=c,d",
    "/a\\b",
    "/a|b{c}^`\"<>'",
    "/$host$uri",
    "/${host}",
    "/_store",
    "/_disk/../etc/passwd",
    "/_disk/x",
    "/_store_failed",
    "/ask",
    "/store",
    "/fetch/ask",
    "/fetched",
    "/purge",
    "/edge-health",
)


@pytest.mark.parametrize("host", [MIRROR, "localhost"])
@pytest.mark.parametrize("target", TARGETS)
def test_a_target_arrives_as_it_was_written(wire: Wire, target: str, host: str) -> None:
    wire.proxy.reset_counters()
    wire.ask(target, host)
    assert [entry.target for entry in wire.proxy.logged()] == [target]


@pytest.mark.parametrize("name", NASTY_KEYS)
def test_the_targets_of_nasty_keys_arrive(wire: Wire, name: str) -> None:
    written = "".join(
        chr(byte) if chr(byte).isalnum() or chr(byte) in "/._-~+" else f"%{byte:02X}"
        for byte in NASTY_KEYS[name].encode()
    )
    for prefix, host in (("/ceph/alice/photos/keys/", "localhost"), ("/objects/alice___photos/", "localhost")):
        wire.proxy.reset_counters()
        wire.ask(prefix + written, host)
        assert [entry.target for entry in wire.proxy.logged()] == [prefix + written]


@pytest.mark.parametrize("target", ["/../a", "/a/../../b", "/%2e%2e/b", "/a%00b"])
def test_what_nginx_itself_refuses(wire: Wire, target: str) -> None:
    """A path that climbs above the root, or holds NUL: nginx parses every target and has no switch for that."""
    wire.proxy.reset_counters()
    assert wire.ask(target).status == 400
    assert wire.proxy.logged() == []


@pytest.mark.parametrize(
    "request_head",
    [
        "GET /x HTTP/1.1\r\n",
        "GET /x HTTP/1.1\r\nHost: \r\n",
        "GET /x HTTP/1.1\r\nHost: a b\r\n",
        "GET /x HTTP/1.1\r\nHost: a/b\r\n",
        "GET /x y HTTP/1.1\r\nHost: a\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n",
        "GET /x HTTP/9.9\r\nHost: a\r\n",
        "GET x HTTP/1.1\r\nHost: a\r\n",
    ],
)
def test_what_is_not_http_is_refused(wire: Wire, request_head: str) -> None:
    wire.proxy.reset_counters()
    assert wire.raw(request_head.encode() + b"Connection: close\r\n\r\n").status in {400, 501, 505}
    assert wire.proxy.logged() == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("host", [MIRROR, "localhost"])
@pytest.mark.parametrize("path", ["/x", "/objects/a___b/c", "/ceph/a/b/keys/c"])
def test_no_word_of_the_edge_comes_from_a_client(wire: Wire, method: str, host: str, path: str) -> None:
    spoofed = [
        *((name, "spoofed") for name in (edge.EDGE, edge.SLICE, edge.STORE_FAILED, edge.TARGET, edge.STORE_TARGET)),
        *((name, "spoofed") for name in (edge.STORE_HOST, edge.STORE_RANGE, edge.STORE_KEY, edge.ACCEL_REDIRECT)),
        *((name, "spoofed") for name in (edge.ACCEL_EXPIRES, "X-CephStorage-Stage", "Forwarded", "X-Real-IP")),
        *((name, "spoofed") for name in ("X-Forwarded-Host", "X-Forwarded-Port", "Cephstorage-Forwarded")),
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Forwarded-Proto", "spoofed"),
        ("X_CephStorage_Edge", "spoofed"),
    ]
    wire.proxy.reset_counters()
    wire.ask(path, host, method, spoofed)
    (seen,) = wire.proxy.logged()
    assert seen.target == path
    assert [name for name, value in seen.headers.items() if value == "spoofed"] == []
    assert seen.headers["x-forwarded-for"] == "127.0.0.1"
    assert seen.headers["x-forwarded-proto"] == "http"
    assert re.fullmatch(r"[0-9a-f]{64}", seen.headers[edge.EDGE])
    ours = {name for name in seen.headers if name.startswith(edge.INTERNAL_PREFIX)}
    assert ours <= {edge.EDGE, edge.SLICE}


def test_the_host_is_that_of_the_request(wire: Wire) -> None:
    for line, host, wanted in (
        ("GET /x HTTP/1.1", "Files.Test:8088", "files.test"),
        ("GET http://files.test/x HTTP/1.1", "other.test", "files.test"),
        ("GET http://Files.Test:81/x HTTP/1.1", "files.test", "files.test"),
    ):
        wire.proxy.reset_counters()
        wire.raw(f"{line}\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        assert [(entry.target, entry.headers["host"]) for entry in wire.proxy.logged()] == [("/x", wanted)]


@pytest.mark.parametrize(
    "line", ["NO REQUEST AT ALL", "GET", "get /x HTTP/1.1", "GET /%zz HTTP/1.1", "GET /../x HTTP/1.1"]
)
def test_what_is_no_request_gets_a_clear_answer(wire: Wire, line: str) -> None:
    answer = wire.raw(f"{line}\r\nHost: files.test\r\nConnection: close\r\n\r\n".encode())
    assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")
    assert json.loads(answer.body)["code"] == "invalid_request"


def test_two_hosts_are_not_mixed(wire: Wire) -> None:
    """Whichever nginx takes, the cache's key and the proxy's Host are the same one."""
    wire.put("/two", b"content", keep=60)
    wire.proxy.reset_counters()
    answer = wire.raw(b"GET /two HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\nConnection: close\r\n\r\n")
    hosts = {entry.headers["host"] for entry in wire.proxy.logged()}
    if answer.status == 400:
        assert hosts == set()
        return
    (taken,) = hosts
    other = ({"a.test", "b.test"} - hosts).pop()
    wire.proxy.reset_counters()
    wire.ask("/two", taken)
    assert wire.proxy.logged() == []
    wire.ask("/two", other)
    assert [entry.headers["host"] for entry in wire.proxy.logged()] == [other]


def test_a_body_with_a_get_is_dropped_before_it_could_poison_the_cache(wire: Wire) -> None:
    wire.put("/fat", b"content", keep=60)
    wire.proxy.reset_counters()
    answer = wire.raw(b"GET /fat HTTP/1.1\r\nHost: files.test\r\nConnection: close\r\nContent-Length: 4\r\n\r\nevil")
    assert answer.body == b"content"
    (seen,) = wire.proxy.logged()
    assert "content-length" not in seen.headers


def test_credentials_go_past_the_cache(wire: Wire) -> None:
    wire.put("/private", b"for alice", keep=60)
    wire.proxy.reset_counters()
    for _ in range(2):
        assert wire.ask("/private", headers=[("Authorization", "Bearer alice")]).body == b"for alice"
    assert [entry.headers.get("authorization") for entry in wire.proxy.logged()] == ["Bearer alice"] * 2
    assert edge.SLICE not in wire.last().headers


@pytest.mark.parametrize("header", [edge.STORE_TARGET, edge.STORE_KEY, edge.STORE_HOST, edge.STORE_RANGE])
@pytest.mark.parametrize("host", [MIRROR, "localhost"])
def test_no_word_of_the_edge_reaches_a_client(wire: Wire, header: str, host: str) -> None:
    wire.put("/words", b"content", headers=[(header, "secret"), (edge.ACCEL_EXPIRES, "0"), ("X-Accel-Charset", "x")])
    for method in ("GET", "HEAD"):
        answer = wire.ask("/words", host, method)
        assert answer.status == 200
        assert [name for name in answer.headers if name.startswith(("x-cephstorage", "x-accel"))] == []


def test_the_api_can_not_send_nginx_anywhere(wire: Wire) -> None:
    wire.put("/ceph/x", b"content", headers=[(edge.ACCEL_REDIRECT, "/_disk/../../etc/passwd")])
    assert wire.ask("/ceph/x", "localhost").body == b"content"
