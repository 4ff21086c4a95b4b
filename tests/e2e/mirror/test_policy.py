"""What may be stored, what travels to the origin, and what a query string means: by the origin's word and by rule."""

from collections.abc import Callable

import pytest

from tests.e2e.mirror.site import Site, problem_code
from tests.harness.content import MIB, Content
from tests.harness.patience import until

UNSTORABLE: dict[str, list[tuple[str, str]]] = {
    "no-store": [("Cache-Control", "max-age=60, No-Store")],
    "private": [("Cache-Control", "private")],
    "private fields": [("Cache-Control", 'private="x-user"')],
    "Set-Cookie": [("Set-Cookie", "a=b")],
    "Vary star": [("Vary", "accept, *")],
}


@pytest.mark.parametrize("headers", UNSTORABLE.values(), ids=UNSTORABLE.keys())
def test_what_the_origin_forbids_is_passed_through(site: Site, headers: list[tuple[str, str]]) -> None:
    site.put("/a", b"for you only", headers=headers)
    for number in (1, 2):
        answer = site.get("/a")
        assert (answer.status, answer.body) == (200, b"for you only")
        assert all(answer.headers[name.lower()] == value for name, value in headers)
        assert site.settled("/a")["record"] is None
        assert site.count("/a") == number


def test_a_rule_drops_cookies_and_stores(site: Site) -> None:
    site.order(rules=[{"path": "/static/**", "cookies": "drop"}])
    for path in ("/static/a", "/a"):
        site.put(path, b"with a cookie", headers=[("Set-Cookie", "session=secret")])
    for _ in range(2):
        answer = site.get("/static/a")
        assert answer.body == b"with a cookie"
        assert "set-cookie" not in answer.headers
    assert site.stored("static/a")
    assert site.count("/static/a") == 1
    assert site.get("/a").headers["set-cookie"] == "session=secret"
    assert site.record("a") is None


def test_what_a_client_says_of_itself_stays_here(site: Site) -> None:
    """Credentials, cookies and hop-by-hop headers do not reach the origin; Via and CDN-Loop do."""
    secrets = {
        "Authorization": "Bearer secret",
        "Cookie": "session=secret",
        "Proxy-Authorization": "Basic secret",
        "X-Api-Key": "secret",
        "X-Forwarded-For": "10.0.0.1",
        "Referer": "http://intranet/secret",
        "Connection": "keep-alive, X-Hop",
        "Keep-Alive": "timeout=5",
        "X-Hop": "secret",
        "TE": "trailers",
        "Upgrade": "h2c",
    }
    site.order(rules=[{"path": "/bypass/**", "mode": "bypass"}])
    for path in ("/a", "/bypass/a"):
        site.put(path, b"a")
        assert site.get(path, secrets).body == b"a"
        [asked] = site.logged(path)
        assert not ({name.lower() for name in secrets} - {"connection"}) & asked.headers.keys()
        assert "secret" not in str(asked.headers)
        assert asked.headers["host"] == f"127.0.0.1:{site.origin.port}"
        assert asked.headers["accept-encoding"] == "identity"
        assert "cephstorage-" in asked.headers["via"]
        assert asked.headers["cdn-loop"] in asked.headers["via"]
    assert site.stored("a")


def test_hop_by_hop_headers_of_the_origin_stay_there(site: Site) -> None:
    hops = [
        ("Connection", "X-Hop, close"),
        ("X-Hop", "1"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Authenticate", "Basic"),
        ("Trailer", "X-T"),
        ("Upgrade", "h2c"),
        ("X-Accel-Redirect", "/internal/secret"),
        ("X-End", "kept"),
    ]
    site.order(rules=[{"path": "/bypass/**", "mode": "bypass"}])
    for path in ("/a", "/bypass/a"):
        site.put(path, b"a", headers=hops)
        for _ in range(2):
            answer = site.get(path)
            assert answer.headers["x-end"] == "kept"
            assert answer.headers.get("connection") in {None, "close", "keep-alive"}
            assert not {name.lower() for name, _ in hops[1:-1]} & answer.headers.keys()


def test_a_rule_that_passes_credentials_never_stores(site: Site) -> None:
    site.order(rules=[{"path": "/mine/**", "pass_headers": ["Authorization", "X-Api-Key"]}])
    site.put("/mine/a", b"mine")
    for number in (1, 2):
        answer = site.get("/mine/a", {"Authorization": "Bearer me", "X-Api-Key": "k", "Cookie": "c=d"})
        assert answer.body == b"mine"
        asked = site.logged("/mine/a")[-1].headers
        assert (asked["authorization"], asked["x-api-key"]) == ("Bearer me", "k")
        assert "cookie" not in asked
        assert site.record("mine/a") is None
        assert site.count("/mine/a") == number
    assert site.get("/mine/a").body == b"mine"
    assert site.stored("mine/a")


def test_query_strings(site: Site) -> None:
    site.order(
        rules=[
            {"path": "/ignore/**", "query": "ignore"},
            {"path": "/listed/**", "query": "listed", "query_names": ["v", "lang"]},
        ]
    )
    for path in ("/include/a", "/ignore/a", "/listed/a"):
        for query in ("", "?v=1", "?v=2", "?v=1&session=9", "?session=9&v=1"):
            site.put(path + query, f"{path}{query}".encode())
    for query in ("", "?v=1", "?v=2", "?v=1&session=9", "?session=9&v=1"):
        assert site.get(f"/include/a{query}").body == f"/include/a{query}".encode()
        assert site.get(f"/ignore/a{query}").body == b"/ignore/a"
    assert len(site.logged("/ignore/a")) == 1
    for query, kept in (("?v=1&session=9", "?v=1"), ("?session=8&v=1", "?v=1"), ("?v=2&x=y", "?v=2"), ("?x=y", "")):
        assert site.get(f"/listed/a{query}").body == f"/listed/a{kept}".encode()
    assert sorted(asked.target for asked in site.logged("/listed/a")) == [
        f"{site.prefix}/listed/a{query}" for query in ("", "?v=1", "?v=2")
    ]


@pytest.mark.parametrize("order", [("/a?b", "/a%3Fb"), ("/a%3Fb", "/a?b")])
def test_two_targets_of_one_key_are_never_mixed(site: Site, order: tuple[str, str]) -> None:
    for target in order:
        site.put(target, target.encode())
    for _ in range(2):
        for target in order:
            assert site.get(target).body == target.encode()
            assert site.head(target).headers["content-length"] == str(len(target))
    assert site.stored("a?b")["size"] == len(order[0])
    assert site.count(order[0], "GET") == 1


def test_a_folder_is_not_a_file(site: Site) -> None:
    bodies = {"/dir": b"file", "/dir/": b"listing", "/dir//": b"odd", "/": b"root"}
    for target, body in bodies.items():
        site.put(target, body)
    for _ in range(2):
        assert {target: site.get(target).body for target in bodies} == bodies
    assert {site.count(target) for target in bodies} == {1}
    assert until(lambda: sorted(site.keys()), lambda keys: len(keys) == 4) == ["/", "dir", "dir/", "dir//"]


def test_redirects_are_followed_inside(site: Site) -> None:
    body = Content(41, MIB)
    site.put("/final", body, etag='"f"')
    site.put("/relative", redirect="final")
    site.put("/absolute", redirect=f"{site.origin.url}{site.prefix}/relative", redirect_status=301)
    for status in (302, 303, 307, 308):
        site.put(f"/by{status}", redirect="final", redirect_status=status)
    for path in ("/relative", "/absolute", "/by302", "/by303", "/by307", "/by308"):
        for _ in range(2):
            answer = site.get(path)
            assert (answer.status, answer.body, answer.headers["etag"]) == (200, body.read(), '"f"')
            assert "location" not in answer.headers
        assert site.stored(path[1:])["md5"] == body.md5
        assert site.count(path) == 1


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:1/",
        "http://127.0.0.1:22/",
    ],
)
@pytest.mark.parametrize("mode", ["permanent", "bypass"])
def test_a_redirect_to_a_forbidden_port_is_refused(site: Site, location: str, mode: str) -> None:
    site.order(mode=mode)
    site.put("/a", redirect=location)
    answer = site.get("/a")
    assert (answer.status, problem_code(answer)) == (502, "forbidden_address")
    assert site.settled("/a")["record"] is None


@pytest.mark.parametrize("location", ["loop", "other"])
def test_a_redirect_loop_ends(site: Site, location: str) -> None:
    site.put("/loop", redirect=location)
    site.put("/other", redirect="loop")
    answer = site.get("/loop")
    assert (answer.status, problem_code(answer)) == (502, "too_many_redirects")
    assert site.count("/loop") == 1


@pytest.mark.stacks("direct")  # an edge's address is told from others by Via: it answers 508
def test_our_own_address_is_no_origin(own_site: Callable[..., Site]) -> None:
    """Even where the operator allows the network and the port."""
    site = own_site()
    port = site.service.port
    site.service.stop()
    site.service.settings["origin_allowed_ports"] = f"{site.origin.port},{port}"
    site.service.start()
    site.order(origin=f"http://127.0.0.1:{port}/mirrors/proxy")
    answer = site.get("/a")
    assert (answer.status, problem_code(answer)) == (502, "forbidden_address")


def test_a_loop_over_another_host_is_seen(site: Site) -> None:
    """Whoever leads back to us hands on our name in Via or CDN-Loop."""
    site.put("/a", b"a")
    site.get("/a")
    [asked] = site.logged("/a")
    for name in ("via", "cdn-loop"):
        answer = site.get("/b", {name: asked.headers[name]})
        assert (answer.status, problem_code(answer)) == (508, "loop_detected")
    assert site.get("/a", {"Via": "1.1 somebody-else"}).status == 200
    assert site.count("/b") == 0


@pytest.mark.parametrize("limit", [{"transfer_max_object_size": str(MIB)}, {"transfer_spool_quota": str(MIB)}])
def test_what_is_too_large_is_passed_through(own_site: Callable[..., Site], limit: dict[str, str]) -> None:
    site = own_site(**limit)
    body = Content(42, 3 * MIB)
    site.put("/large", body)
    site.fill("/small", Content(43, MIB))
    for number in (1, 2):
        answer = site.get("/large")
        assert (answer.status, answer.body) == (200, body.read())
        assert site.count("/large") == number
    assert site.settled("/large")["record"] is None
