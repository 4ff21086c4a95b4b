"""Bytes that nginx fetches from the store by itself: the proxy's headers, the store's bytes, and what happens when it fails.

Proxy and store are fault origins here, so that every answer and every death is chosen; the same with a
real Ceph stands in ``tests/e2e/edge``.
"""

import hashlib

import pytest

from cephstorage.domain import edge
from tests.e2e.nginx.stored import BODY, NOISE, TARGET, Stored, check
from tests.e2e.nginx.wire import MIRROR
from tests.harness.behaviour import LoggedRequest
from tests.harness.content import MIB, Content
from tests.harness.edge import Edge
from tests.harness.origin import FaultOrigin
from tests.harness.service import Service
from tests.harness.tls import TlsFront, make_certificate

CLIENT = [("Authorization", "Bearer secret"), ("Cookie", "a=b"), ("X-Amz-Security-Token", "evil")]


@pytest.mark.parametrize("host", [MIRROR, "localhost"])
@pytest.mark.parametrize("key", [None, "version-key"])
def test_the_proxys_headers_with_the_stores_bytes(stored: Stored, host: str, key: str | None) -> None:
    path = stored.point(host=host, key=key and f"{key}-{host}-whole")
    check(stored.ask(path, host, headers=CLIENT), BODY.read(), 200)
    check(
        stored.ask(path, host, headers=[*CLIENT, ("Range", f"bytes={MIB + 1}-{3 * MIB}")]),
        BODY.read(MIB + 1, 3 * MIB + 1),
        206,
    )
    for seen in stored.store.logged():
        assert (seen.target, seen.headers["host"]) == (TARGET, "rgw.test:7480")
        assert {"authorization", "cookie", "x-amz-security-token"} & seen.headers.keys() == set()
        assert not [name for name in seen.headers if name.startswith(("x-ceph", "x-forw", "if-"))]


def test_mirror_slices_come_from_the_store_one_by_one(stored: Stored) -> None:
    path = stored.point(keep=600)
    check(stored.ask(path), BODY.read(), 200)
    asked = [entry.headers["range"] for entry in stored.store.logged()]
    assert asked == [f"bytes={start}-{start + MIB - 1}" for start in range(0, BODY.size, MIB)]
    stored.proxy.reset_counters()
    check(stored.ask(path), BODY.read(), 200)
    assert stored.proxy.logged() == []


def test_a_signed_objects_bytes_are_kept_and_its_permission_is_not(stored: Stored) -> None:
    path = stored.point(host="localhost", key="kept-1")
    for _ in range(3):
        check(stored.ask(path, "localhost"), BODY.read(), 200)
    assert len(stored.proxy.logged()) == 3
    assert len(stored.store.logged()) == 5
    stored.proxy.put(path, b"no", status=403)
    assert stored.ask(path, "localhost").status == 403
    stored.point(host="localhost", key="kept-2")
    other = Content(22, BODY.size)
    stored.store.put(TARGET, other, headers=NOISE, etag='"store2"')
    check(stored.ask(path, "localhost"), other.read(), 200)


@pytest.mark.parametrize("key", [None, "failing"])
@pytest.mark.parametrize("status", [400, 403, 404, 412, 429, 500, 503])
def test_a_store_that_refuses_is_told_to_the_proxy(stored: Stored, status: int, key: str | None) -> None:
    stored.store.put(TARGET, b"<Error/>", status=status)
    path = stored.point(host="localhost", key=key and f"{key}-{status}")
    answer = stored.ask(path, "localhost")
    assert (answer.status, answer.headers["etag"], answer.headers["x-by"]) == (200, '"own"', "proxy")
    assert hashlib.sha256(answer.body).hexdigest() == BODY.sha256
    assert stored.last().headers[edge.STORE_FAILED] == str(status)
    assert len(stored.proxy.logged()) == 2


def test_a_store_that_can_not_be_reached_is_told_to_the_proxy(stored: Stored) -> None:
    path = stored.point(host="localhost")
    stored.store.stop_listening(cut=True)
    try:
        answer = stored.ask(path, "localhost")
        again = stored.ask(path, "localhost", headers=[("Range", "bytes=5-9")])
    finally:
        stored.store.listen_again()
    assert (answer.status, answer.body) == (200, BODY.read())
    assert (again.status, again.body) == (206, BODY.read(5, 10))
    assert stored.last().headers[edge.STORE_FAILED] == "502"


def test_a_mirror_whose_store_is_gone_goes_on(stored: Stored) -> None:
    path = stored.point()
    stored.store.stop_listening(cut=True)
    try:
        answer = stored.ask(path)
    finally:
        stored.store.listen_again()
    assert (answer.status, answer.body) == (200, BODY.read())


@pytest.mark.parametrize("key", [None, "dying"])
@pytest.mark.parametrize("host", [MIRROR, "localhost"])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_store_that_dies_inside_a_slice_sends_no_wrong_byte(
    stored: Stored, number: int, host: str, key: str | None
) -> None:
    def dies(request: LoggedRequest) -> int | None:
        if "range" not in request.headers:
            return number * MIB + 100_000
        return 100_000 if request.headers["range"].startswith(f"bytes={number * MIB}-") else None

    stored.store.put(TARGET, BODY, headers=NOISE, etag='"store"', die_after=dies)
    path = stored.point(host=host, key=key and f"{key}-{host}-{number}")
    answer = stored.ask(path, host)
    assert answer.status == 200
    assert answer.body == BODY.read(0, len(answer.body))
    assert len(answer.body) < BODY.size


def test_a_proxy_that_points_to_the_store_for_ever_does_not_end_in_a_loop(stored: Stored) -> None:
    stored.store.put(TARGET, b"<Error/>", status=404)
    headers = [(edge.ACCEL_REDIRECT, edge.STORE_LOCATION), (edge.STORE_TARGET, TARGET), (edge.STORE_HOST, "x")]
    stored.proxy.put("/objects/loop", b"", headers=headers)
    assert stored.ask("/objects/loop", "localhost").status >= 500
    assert 1 < len(stored.proxy.logged()) <= 10


@pytest.mark.parametrize("trusted", [True, False])
def test_a_gateway_over_tls_is_verified(tmp_path_factory: pytest.TempPathFactory, trusted: bool) -> None:
    folder = tmp_path_factory.mktemp("tls")
    ours, other = folder / "ours", folder / "other"
    ours.mkdir()
    other.mkdir()
    certificate = make_certificate(ours)
    ca = certificate.cert if trusted else make_certificate(other).cert
    with FaultOrigin() as proxy, FaultOrigin() as store, TlsFront(store.port, certificate) as front:
        gateway = f"https://localhost:{front.port}"
        service = Service(folder / "data", store="ceph", ceph_gateway=gateway, ceph_ca_file=str(ca))
        edge_ = Edge(service, [f"127.0.0.1:{proxy.port}"]).start()
        try:
            stored = Stored(edge_, proxy, store)
            store.put(TARGET, BODY)
            path = stored.point(host="localhost")
            answer = stored.ask(path, "localhost")
        finally:
            edge_.stop()
        assert (answer.status, answer.body) == (200, BODY.read())
        assert (answer.headers.get("x-by") == "proxy") is not trusted
        assert (store.count() > 0) is trusted
