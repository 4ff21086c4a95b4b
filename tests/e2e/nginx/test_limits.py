"""Slow, oversized and stalled requests are the edge's to end; uploads flow through without lying on its disk."""

import hashlib
import json
import os
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.nginx.wire import MIRROR, Wire
from tests.harness.behaviour import Gate
from tests.harness.content import MIB, Content
from tests.harness.edge import Edge
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.service import Service
from tests.harness.stack import Stack


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """An edge with short patience."""
    with FaultOrigin() as proxy:
        service = Service(tmp_path_factory.mktemp("strict") / "data")
        patience = {f"edge_{name}_timeout": "1" for name in ("header", "body", "send", "answer")}
        edge = Edge(service, [f"127.0.0.1:{proxy.port}"], **patience, edge_client_connections="8").start()
        yield Wire(edge, proxy)
        edge.stop()


def ends(sock: socket.socket) -> bytes:
    """Everything until the other side closes or resets."""
    received = b""
    try:
        while data := sock.recv(65536):
            received += data
    except ConnectionResetError:
        pass
    return received


def connect(wire: Wire, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", wire.edge.port), timeout=30, source_address=(source, 0))


@pytest.mark.parametrize("part", [b"", b"G", b"GET /x HTTP/1.1\r\nHost: files.test\r\nX-Slow: "])
def test_a_head_that_does_not_come_is_not_waited_for(strict: Wire, part: bytes) -> None:
    strict.proxy.reset_counters()
    with connect(strict) as sock:
        sock.sendall(part)
        assert b" 200 " not in ends(sock)
    assert strict.proxy.logged() == []


@pytest.mark.parametrize("path", ["/ceph/a/b/keys/x", "/mirrors/host"])
def test_a_body_that_stalls_is_not_waited_for(strict: Wire, path: str) -> None:
    method = "PUT" if "keys" in path else "POST"
    with connect(strict) as sock:
        sock.sendall(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nbegin".encode())
        assert b" 20" not in ends(sock)[:20]


def test_a_proxy_that_is_silent_is_not_waited_for(strict: Wire) -> None:
    gate = Gate()
    strict.put("/silent", b"late", header_gate=gate)
    answer = strict.ask("/silent")
    gate.set()
    assert (answer.status, json.loads(answer.body)["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("head", "statuses"),
    [
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: files.test\r\n\r\n", {414}),
        (b"GET / HTTP/1.1\r\nHost: files.test\r\nX-Big: " + b"a" * 20_000 + b"\r\n\r\n", {400, 431}),
        (b"GET / HTTP/1.1\r\nHost: files.test\r\n" + b"X-Many: 1\r\n" * 10_000 + b"\r\n", {400, 431}),
    ],
    ids=["target", "header", "many headers"],
)
def test_an_oversized_head_is_refused(wire: Wire, head: bytes, statuses: set[int]) -> None:
    wire.proxy.reset_counters()
    answer = wire.raw(head)
    assert answer.status in statuses
    assert json.loads(answer.body)["status"] == answer.status
    assert wire.proxy.logged() == []


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_head_that_only_the_front_has_room_for_is_refused_clearly(wire: Wire, method: str) -> None:
    """The target travels on in a header of its own, which is longer by its name."""
    answer = wire.ask("/" + "a" * 16_360, method=method)
    assert (answer.status, json.loads(answer.body)["status"]) == (431, 431)


def test_the_longest_target_that_a_mirror_takes_passes(wire: Wire) -> None:
    target = "/" + "a" * 8000
    wire.ask(target)
    assert wire.last().target == target


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_oversized_api_call_is_refused_unread(wire: Wire, framing: str) -> None:
    wire.proxy.reset_counters()
    head = b"POST /mirrors/host HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    if framing == "length":
        answer = wire.raw(head + b"Content-Length: 20000000\r\n\r\n", "POST")
    else:
        piece = b"100000\r\n" + b" " * MIB + b"\r\n"
        answer = wire.raw(head + b"Transfer-Encoding: chunked\r\n\r\n" + piece * 12 + b"0\r\n\r\n", "POST")
    assert answer.status == 413
    assert json.loads(answer.body)["code"] == "body_too_large"
    assert wire.proxy.logged() == []


def test_one_address_gets_so_many_requests_at_a_time(strict: Wire) -> None:
    gate = Gate()
    strict.put("/held", b"", header_gate=gate)
    held = [connect(strict) for _ in range(8)]
    try:
        for number, sock in enumerate(held):
            sock.sendall(f"HEAD /held HTTP/1.1\r\nHost: held{number}.test\r\n\r\n".encode())
        gate.reached.wait(30)
        until(lambda: len(strict.proxy.logged("/held")) == 8)
        for host in (MIRROR, "localhost"):
            answer = strict.ask("/other", host)
            assert (answer.status, json.loads(answer.body)["code"]) == (429, "too_many_requests")
            assert answer.headers["retry-after"] == "1"
    finally:
        gate.set()
        for sock in held:
            sock.close()


@pytest.mark.parametrize("path", ["/import", "/keys", "/keys/a/b", "/deletions"])
def test_lists_of_keys_may_be_long(wire: Wire, path: str) -> None:
    """How long is the proxy's to say; imports have no bound at all."""
    wire.proxy.reset_counters()
    wire.ask(f"/ceph/a/b{path}", "localhost", "POST", body=b"x" * (11 * MIB))
    assert wire.last().body_size == 11 * MIB


def test_addresses_are_counted_one_by_one(strict: Wire) -> None:
    gate = Gate()
    strict.put("/of-many", b"", header_gate=gate)
    held = [connect(strict, f"127.0.0.{number}") for number in range(2, 12)]
    try:
        for number, sock in enumerate(held):
            sock.sendall(f"HEAD /of-many HTTP/1.1\r\nHost: many{number}.test\r\n\r\n".encode())
        until(lambda: len(strict.proxy.logged("/of-many")) >= len(held))
    finally:
        gate.set()
        for sock in held:
            sock.close()


def test_no_proxy_at_all_is_a_503_that_says_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    with FaultOrigin() as proxy:
        address = f"127.0.0.1:{proxy.port}"
    edge = Edge(Service(tmp_path_factory.mktemp("alone") / "data"), [address]).start()
    try:
        lonely = Wire(edge, proxy)
        for host in (MIRROR, "localhost"):
            for method, path in (("GET", "/x"), ("HEAD", "/x"), ("PUT", "/ceph/a/b/keys/c"), ("POST", "/x")):
                assert lonely.ask(path, host, method).status == 503
    finally:
        edge.stop()


def test_a_large_upload_flows_through_without_lying_on_the_edges_disk(
    launch_edged: Callable[..., Stack],
) -> None:
    service = launch_edged()
    service.json("PUT", "/ceph/alice/photos")
    body = Content(5, 256 * MIB)
    spool, cache = service.data_dir / "spool", service.edge.folder / "cache"
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as sock:
        head = f"PUT /ceph/alice/photos/keys/large HTTP/1.1\r\nHost: localhost\r\nContent-Length: {body.size}\r\n"
        sock.sendall(f"{head}Authorization: Bearer {service.admin_token}\r\nConnection: close\r\n\r\n".encode())
        half = body.size // 2
        for view in body.views(0, half):
            sock.sendall(view)
        until(lambda: size_of(spool) > half - 16 * MIB)
        assert size_of(cache) < MIB
        for view in body.views(half, body.size):
            sock.sendall(view)
        answer = ends(sock)
    assert answer.startswith(b"HTTP/1.1 201 ")
    record = service.json("GET", "/ceph/alice/photos/keys/large")
    assert (record["size"], record["md5"]) == (body.size, body.md5)


def size_of(folder: os.PathLike[str]) -> int:
    """Bytes that the files below a folder hold on disk."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(place, name)).st_blocks * 512  # noqa: PTH116, PTH118
            except FileNotFoundError:
                continue
    return total


def test_an_upload_that_breaks_off_stores_nothing(launch_edged: Callable[..., Stack]) -> None:
    service = launch_edged(edge_body_timeout="1")
    service.json("PUT", "/ceph/alice/photos")
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as sock:
        sock.sendall(
            b"PUT /ceph/alice/photos/keys/half HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n"
            + f"Authorization: Bearer {service.admin_token}\r\n\r\n".encode()
            + b"x" * 50_000
        )
        assert b" 201 " not in ends(sock)
    assert service.call("GET", "/ceph/alice/photos/keys/half").status == 404
    until(lambda: not list((service.data_dir / "spool").glob("*.part")))


def test_a_refused_upload_is_told_why(launch_edged: Callable[..., Stack]) -> None:
    service = launch_edged()
    body = b"x" * (8 * MIB)
    assert service.call("PUT", "/ceph/alice/nowhere/keys/x", body).status == 404
    assert service.call("PUT", "/ceph/alice/nowhere/keys/x", body, token=None).status == 401
    service.json("PUT", "/ceph/alice/photos")
    wrong = {"Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}
    assert service.call("PUT", "/ceph/alice/photos/keys/x", body, wrong).status == 400
    good = service.call("PUT", "/ceph/alice/photos/keys/x", body)
    assert (good.status, good.json()["md5"]) == (201, hashlib.md5(body, usedforsecurity=False).hexdigest())
