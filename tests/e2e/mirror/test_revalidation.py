"""When a stored copy is asked for again: never, after its time, or at every request, by mode and by rule."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.mirror.site import Site, problem_code
from tests.harness.behaviour import DEFAULT_MODIFIED, Gate
from tests.harness.content import MIB, Content

OLD = Content(51, 3 * MIB)
NEW = Content(52, 2 * MIB + 1)
RULES = [
    {"path": "/always/**", "mode": "revalidate", "ttl": 0},
    {"path": "/hourly/**", "mode": "revalidate", "ttl": 3600},
    {"path": "/never/**", "mode": "immutable"},
    {"path": "/live/**", "mode": "bypass"},
    {"path": "/closed/**", "mode": "deny"},
]


@pytest.fixture
def ruled(site: Site) -> Site:
    """The site with one folder per mode."""
    site.order(rules=RULES)
    return site


def test_permanent_and_immutable_never_ask_again(ruled: Site) -> None:
    for path in ("/a", "/never/a", "/hourly/a"):
        ruled.fill(path, OLD, headers=[("Cache-Control", "max-age=0")])
        ruled.put(path, NEW)
        for headers in ({}, {"Cache-Control": "no-cache"}, {"Pragma": "no-cache"}):
            assert ruled.get(path, headers).body == OLD.read()
        assert ruled.count(path) == 1
    ruled.fill("/never/b", OLD)
    assert "immutable" in ruled.get("/never/b").headers["cache-control"]


@pytest.mark.stacks("direct")  # behind an edge a range of what is never kept comes as a whole
def test_bypass_always_asks_and_never_stores(ruled: Site) -> None:
    for body in (OLD, NEW):
        ruled.put("/live/a", body)
        assert ruled.get("/live/a").body == body.read()
        assert ruled.range("/live/a", "5-9").body == body.read(5, 10)
    assert ruled.count("/live/a") == 4
    assert ruled.record("live/a") is None


@pytest.mark.parametrize("told", ["bytes 0-4/9", "bytes 6-10/*", "nonsense"])
def test_a_wrong_range_of_the_origin_is_not_passed_through(ruled: Site, told: str) -> None:
    ruled.put("/live/a", OLD, wrong_content_range=told)
    answer = ruled.range("/live/a", "5-9")
    assert (answer.status, answer.body) == (200, OLD.read())


def test_denied_is_refused_without_asking(ruled: Site) -> None:
    ruled.put("/closed/a", b"a")
    for method in ("GET", "HEAD"):
        assert ruled.get("/closed/a", method=method).status == 403
    assert problem_code(ruled.get("/closed/a")) == "path_denied"
    assert ruled.count("/closed/a") == 0


@pytest.mark.parametrize(
    ("etag", "modified", "condition"),
    [
        ('"v1"', DEFAULT_MODIFIED, "if-none-match"),
        ('W/"v1"', None, "if-none-match"),
        (None, DEFAULT_MODIFIED, "if-modified-since"),
    ],
)
def test_a_304_serves_the_stored_copy(ruled: Site, etag: str | None, modified: str | None, condition: str) -> None:
    filled = ruled.fill("/always/a", OLD, etag=etag, last_modified=modified)
    generation = ruled.record("always/a")["generation"]
    answer = ruled.get("/always/a")
    assert (answer.status, answer.body) == (200, OLD.read())
    assert answer.headers["etag"] == filled.headers["etag"]
    assert answer.proxy_said == "CephStorage; fwd=stale; fwd-status=304"
    first, second = ruled.logged("/always/a")
    assert condition not in first.headers
    assert second.headers[condition] == (etag or modified if condition == "if-none-match" else modified)
    assert (second.status, second.sent) == (304, 0)
    assert ruled.record("always/a")["generation"] == generation


def test_clients_of_one_moment_share_one_conditional_request(ruled: Site) -> None:
    ruled.fill("/always/a", b"content")
    gate = Gate()
    ruled.put("/always/a", b"content", header_gate=gate)
    before = ruled.count("/always/a")
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ruled.get, "/always/a") for _ in range(8)]
        assert gate.reached.wait(60)
        assert ruled.explain("/always/a")["filling"] is True
        assert ruled.count("/always/a") == before + 1
        gate.set()
        assert {one.result().body for one in asked} == {b"content"}


@pytest.mark.stacks("direct")  # nginx ends an answer whose next slice is of another version
def test_a_new_version_replaces_the_old_one_and_old_readers_end_whole(ruled: Site) -> None:
    big = Content(53, 24 * MIB)
    ruled.fill("/always/a", big, etag='"v1"')
    first = ruled.record("always/a")["generation"]
    with ruled.open("/always/a") as old:
        assert old.headers["etag"] == '"v1"'
        start = old.read(MIB)
        ruled.put("/always/a", NEW, etag='"v2"')
        answer = ruled.get("/always/a")
        assert (answer.headers["etag"], answer.body) == ('"v2"', NEW.read())
        ruled.settled("/always/a")
        assert start + old.rest() == big.read()
    record = ruled.record("always/a")
    assert (record["generation"], record["md5"], record["size"]) == (first + 1, NEW.md5, NEW.size)
    bucket = ruled.service.json("GET", "/ceph/" + ruled.bucket.replace("___", "/"))
    assert (bucket["size"], bucket["keyamount"]) == (NEW.size, 1)
    assert ruled.get("/always/a").body == NEW.read()


@pytest.mark.parametrize(
    "trouble",
    [
        {"status": 500},
        {"status": 404},
        {"status": 403, "framing": "chunked"},
        {"hang_up_times": 9},
        {"hang_up_times": 9, "how": "rst"},
        {"raw": b"nonsense\r\n\r\n"},
        {"redirect": "a"},
        {"redirect": "http://127.0.0.1:1/"},
    ],
    ids=str,
)
def test_a_stored_copy_beats_any_trouble_of_the_origin(ruled: Site, trouble: dict[str, object]) -> None:
    ruled.fill("/always/a", OLD)
    ruled.put("/always/a", b"trouble", **{"conditional": False, **trouble})
    ruled.get("/always/a")
    asked = ruled.count("/always/a")
    for _ in range(3):
        answer = ruled.get("/always/a")
        assert (answer.status, answer.body) == (200, OLD.read())
        assert answer.proxy_said.startswith("CephStorage; hit; detail=stale-")
    assert ruled.count("/always/a") == asked, "the origin gets a moment of peace"


def test_an_unreachable_origin_and_a_restart(own_site: Callable[..., Site]) -> None:
    site = own_site()
    site.order(mode="revalidate", ttl=0)
    site.fill("/a", OLD)
    with site.origin_down():
        answer = site.get("/a")
        assert answer.body == OLD.read()
        assert answer.proxy_said == "CephStorage; hit; detail=stale-origin_unreachable"
        site.service.stop()
        site.service.start()
        assert site.get("/a").body == OLD.read()
    site.put("/a", NEW)
    site.service.stop()
    site.service.start()
    assert site.get("/a").body == NEW.read()


def test_an_unstorable_new_version_is_passed_through_and_the_copy_stays(ruled: Site) -> None:
    ruled.fill("/always/a", OLD, etag='"v1"')
    ruled.put("/always/a", NEW, etag='"v2"', headers=[("Cache-Control", "no-store")])
    assert ruled.get("/always/a").body == NEW.read()
    ruled.settled("/always/a")
    assert ruled.record("always/a")["etag"] == '"v1"'


def test_only_if_cached_asks_nobody(ruled: Site) -> None:
    """RFC 9111 section 5.2.1.7."""
    ruled.put("/cold", b"cold")
    ruled.fill("/always/a", OLD)
    only = {"Cache-Control": "only-if-cached"}
    assert problem_code(ruled.get("/cold", only)) == "not_stored"
    assert ruled.get("/always/a", only).body == OLD.read()
    assert (ruled.count("/cold"), ruled.count("/always/a")) == (0, 1)
