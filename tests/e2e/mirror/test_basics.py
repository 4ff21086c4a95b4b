"""Mirrors are made, replaced and deleted; a known Host makes a request mirror traffic, whatever its path."""

import json
import socket

import pytest

from tests.e2e.mirror.site import Site, problem_code
from tests.harness.content import MIB, Content
from tests.harness.service import Service


def test_a_mirror_is_made_with_its_bucket_listed_and_deleted(site: Site) -> None:
    call = site.service.json
    [mirror] = call("GET", f"/mirrors/host?bucket_name={site.bucket}")["mirrors"]
    assert mirror["mirror_host"] == site.host
    assert mirror["bucket_name"] == site.bucket
    assert mirror["real_host"] == site.origin.url + site.prefix
    assert mirror["mode"] == "permanent"
    assert mirror["private"] is False
    bucket = call("GET", "/ceph/" + site.bucket.replace("___", "/"))
    assert (bucket["size"], bucket["keyamount"]) == (0, 0)

    site.fill("/kept", b"kept")
    assert call("DELETE", f"/mirrors/host?mirror_host={site.host}") == {"msg": "mirror_deleted"}
    assert call("GET", f"/mirrors/host?bucket_name={site.bucket}") == {"mirrors": []}
    assert site.service.call("DELETE", f"/mirrors/host?mirror_host={site.host}").status == 404
    assert site.record("kept")["size"] == 4
    assert problem_code(site.get("/mirrors/proxy/kept")) == "mirror_not_found"


def test_posting_again_replaces_and_leaves_other_mirrors_alone(site: Site) -> None:
    site.put("/old/a", b"old")
    site.put("/new/a", b"new")
    site.put("/new/b", b"new")
    site.order(origin=f"{site.origin.url}{site.prefix}/old")
    assert site.get("/a").body == b"old"
    other = Site(site.service, site.origin, f"other-{site.host.removesuffix('.test')}", f"{site.prefix}/old")
    other.order(bucket=site.bucket)

    replaced = site.order(origin=f"{site.origin.url}{site.prefix}/new/", mode="revalidate", ttl=60)
    assert replaced["real_host"] == f"{site.origin.url}{site.prefix}/new"
    assert replaced["mode"] == "revalidate"
    listed = site.service.json("GET", f"/mirrors/host?bucket_name={site.bucket}")["mirrors"]
    assert {mirror["mirror_host"] for mirror in listed} == {site.host, other.host}
    assert site.get("/b").body == b"new"
    assert site.count("/old/a") == 1


def test_an_origin_may_be_a_bare_host_with_port(site: Site) -> None:
    site.put("/a", b"bare")
    made = site.order(origin=f"127.0.0.1:{site.origin.port}{site.prefix}")
    assert made["real_host"] == site.origin.url + site.prefix
    assert site.get("/a").body == b"bare"


@pytest.mark.parametrize("own", ["127.0.0.1", "localhost", "LOCALHOST", "127.0.0.1:8080", "localhost."])
def test_our_own_address_is_no_mirror_host(site: Site, own: str) -> None:
    order = {"mirror": own, "origin": site.origin.url, "bucket": site.bucket}
    reply = site.service.call("POST", "/mirrors/host", json.dumps(order).encode(), {"Content-Type": "application/json"})
    assert (reply.status, reply.json()["code"]) == (400, "invalid_mirror")
    assert site.service.call("GET", "/healthz", token=None).json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("mirror", "no host name", "invalid_name"),
        ("mirror", "[::1]", "invalid_name"),
        ("origin", "ftp://127.0.0.1/", "invalid_url"),
        ("origin", "http://127.0.0.1/?a=b", "invalid_url"),
        ("bucket", "nobucket", "invalid_name"),
        ("bucket", "Upper___case", "invalid_name"),
        ("preset", "nosuch", "invalid_mirror"),
    ],
)
def test_bad_orders_are_refused(site: Site, field: str, value: str, code: str) -> None:
    order = {"mirror": f"x.{site.host}", "origin": site.origin.url, "bucket": site.bucket, field: value}
    reply = site.service.call("POST", "/mirrors/host", json.dumps(order).encode(), {"Content-Type": "application/json"})
    assert (reply.status, reply.json()["code"]) == (400, code)


@pytest.mark.parametrize(
    "target",
    [
        "/healthz",
        "/readyz",
        "/metrics",
        "/docs",
        "/openapi.json",
        "/console/",
        "/config",
        "/tokens",
        "/ceph/alice/photos",
        "/ceph/alice/photos/keys/a",
        "/ceph/progress/a",
        "/mirrors/host?bucket_name=a___b",
        "/objects/alice___photos/a?expires=1&signature=x",
        "/explain?url=a",
        "/",
    ],
)
def test_a_mirror_host_never_reaches_the_api(site: Site, target: str) -> None:
    site.put(target, f"origin {target}".encode())
    assert site.get(target).body == f"origin {target}".encode()
    assert site.count(target) == 1
    site.put(target, b"changed")
    assert site.get(target).body == f"origin {target}".encode()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_a_mirror_only_reads(site: Site, method: str) -> None:
    site.put("/ceph/alice/photos", b"origin")
    answer = site.get("/ceph/alice/photos", {"Content-Length": "0"}, method)
    assert answer.status == 405
    assert problem_code(answer) == "method_not_allowed"
    assert site.count("/ceph/alice/photos") == 0


def test_the_proxy_path_is_the_same_as_the_path_itself(site: Site) -> None:
    site.put("/a/b?c=d", b"one object")
    assert site.get("/mirrors/proxy/a/b?c=d").body == b"one object"
    assert site.get("/a/b?c=d").body == b"one object"
    assert site.count("/a/b?c=d") == 1


def test_host_is_read_without_port_case_and_trailing_dot(site: Site) -> None:
    site.put("/a", b"once")
    for host in (site.host, site.host.upper(), f"{site.host}:{site.service.port}", f"{site.host}:80", f"{site.host}."):
        assert site.get("/a", {"Host": host}).body == b"once"
    assert site.count("/a") == 1


def test_an_absolute_form_target_names_the_mirror(site: Site) -> None:
    """RFC 9112 section 3.2.2: the target's host wins over Host."""
    site.put("/ceph/a?b=c", b"absolute")
    for host in (site.host, "other.test", f"127.0.0.1:{site.service.port}"):
        request = f"GET http://{site.host}/ceph/a?b=c HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        assert site.raw(request.encode()) == (200, b"absolute")
    assert site.count("/ceph/a?b=c") == 1


def test_an_unknown_host_is_not_a_mirror(site: Site) -> None:
    answer = site.get("/mirrors/proxy/a", {"Host": "nobody.test"})
    assert (answer.status, problem_code(answer)) == (404, "mirror_not_found")
    assert site.get("/a", {"Host": "nobody.test"}).status == 404
    assert site.get("/mirrors/proxy/a", {"Host": f"127.0.0.1:{site.service.port}"}).status == 404
    assert site.get("/healthz", {"Host": "nobody.test"}).body == b'{"status":"ok"}'


def _token(service: Service, **wish: str) -> dict[str, str]:
    return {"Authorization": "Bearer " + service.json("POST", "/tokens", wish)["token"]}


def test_a_private_mirrors_tokens_are_never_passed_on(site: Site) -> None:
    rule = {"path": "/**", "pass_headers": ["Authorization"]}
    order = {"mirror": site.host, "origin": site.origin.url, "bucket": site.bucket, "private": True, "rules": [rule]}
    reply = site.service.call("POST", "/mirrors/host", json.dumps(order).encode(), {"Content-Type": "application/json"})
    assert (reply.status, reply.json()["code"]) == (400, "invalid_mirror")


def test_a_private_mirror_needs_a_token(site: Site) -> None:
    site.order(private=True)
    site.put("/secret", b"secret")
    tenant = site.bucket.partition("___")[0]
    foreign = _token(site.service, role="tenant", username="somebody")
    for headers, status in (({}, 401), ({"Authorization": "Bearer wrong"}, 401), (foreign, 403)):
        for method in ("GET", "HEAD"):
            assert site.get("/secret", headers, method).status == status
            assert site.get("/mirrors/proxy/secret", headers, method).status == status
    assert site.count("/secret") == 0

    for headers in (_token(site.service, role="tenant", username=tenant), _token(site.service, role="admin")):
        assert site.get("/secret", headers).body == b"secret"
    assert site.get("/secret").status == 401
    [asked] = site.logged("/secret")
    assert "authorization" not in asked.headers


def test_only_an_administrator_orders_mirrors(site: Site) -> None:
    order = json.dumps({"mirror": "x.test", "origin": site.origin.url, "bucket": site.bucket}).encode()
    typed = {"Content-Type": "application/json"}
    for token, status in ((None, 401), ("wrong", 401)):
        assert site.service.call("POST", "/mirrors/host", order, typed, token=token).status == status
        assert site.service.call("GET", "/mirrors/host", token=token).status == status
        assert site.service.call("DELETE", f"/mirrors/host?mirror_host={site.host}", token=token).status == status
    tenant = _token(site.service, role="tenant", username="mirrors")
    assert site.service.call("POST", "/mirrors/host", order, {**typed, **tenant}, token=None).status == 403
    assert site.service.call("DELETE", f"/mirrors/host?mirror_host={site.host}", None, tenant, None).status == 403
    assert len(site.service.json("GET", f"/mirrors/host?bucket_name={site.bucket}")["mirrors"]) == 1


@pytest.mark.stacks("direct")  # an edge asks us one thing at a time
def test_requests_that_are_sent_ahead_are_answered_one_after_the_other(site: Site) -> None:
    """As apt does. The bodies are large enough to go from the file to the socket by themselves."""
    bodies = [Content(seed, 2 * MIB + seed) for seed in range(3)]
    for number, body in enumerate(bodies):
        site.put(f"/{number}", body)
        assert site.get(f"/{number}").body == body.read()
        site.stored(str(number))
    with socket.create_connection((site.service.host, site.service.port), timeout=60) as sock:
        asked = (f"GET /{number} HTTP/1.1\r\nHost: {site.host}\r\n\r\n" for number in range(3))
        sock.sendall("".join(asked).encode())
        with sock.makefile("rb") as stream:
            for body in bodies:
                head = b"".join(iter(stream.readline, b"\r\n"))
                assert head.startswith(b"HTTP/1.1 200 "), head
                assert stream.read(body.size) == body.read()
