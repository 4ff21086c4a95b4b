"""Mode ``origin``: a shared cache in front of one origin, by RFC 9111. The origin says how old its answers are (Age),
so that nobody has to wait for anything to grow stale.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.mirror.site import Download, Site, problem_code
from tests.harness.behaviour import Gate, LoggedRequest
from tests.harness.content import MIB, Content
from tests.harness.patience import until

OLD = Content(71, 2 * MIB + 3)
NEW = Content(72, MIB + 1)
STALE = ("Age", "100")
"""With a lifetime of 50 seconds: stale from its first moment, by 50 seconds."""


@pytest.fixture
def cache(site: Site) -> Site:
    """A mirror in mode ``origin``."""
    site.order(mode="origin")
    return site


def says(control: str, *more: tuple[str, str]) -> list[tuple[str, str]]:
    return [("Cache-Control", control), *more]


def filled(site: Site, path: str, body: Content, **behaviour: Any) -> Download:
    """The answer that brought a copy, when the fill is over: until then, readers would share it."""
    answer = site.fill(path, body, **behaviour)
    site.settled(path)
    return answer


def parameters(answer: Download) -> dict[str, str | None]:
    """What Cache-Status says of the proxy."""
    pairs = (each.strip().partition("=") for each in answer.proxy_said.split(";")[1:])
    return {name: value or None for name, _, value in pairs}


@pytest.mark.parametrize(
    "headers",
    [
        says("max-age=3600"),
        says("max-age=0, s-maxage=3600"),
        says("no-store", ("CDN-Cache-Control", "max-age=3600")),
        [("Expires", "Tue, 01 Jan 2099 00:00:00 GMT")],
        says("max-age=3600", STALE),
    ],
    ids=str,
)
def test_a_fresh_copy_costs_the_origin_nothing(cache: Site, headers: list[tuple[str, str]]) -> None:
    filled(cache, "/a", OLD, headers=headers)
    cache.put("/a", NEW)
    answer = cache.get("/a")
    assert answer.body == OLD.read()
    assert cache.count("/a") == 1
    told = parameters(answer)
    assert "hit" in told
    age = int(answer.headers["age"])
    assert age >= (100 if STALE in headers else 0)
    lifetime = 3600 if "Expires" not in dict(headers) else None
    if lifetime is not None:
        assert lifetime - age - 2 <= int(told["ttl"] or "") <= lifetime - age
        assert 0 < cache.explain("/a")["freshness"]["remaining"] <= lifetime - age


@pytest.mark.parametrize(
    "headers",
    [
        [],
        says("max-age=0"),
        says("no-cache, max-age=3600"),
        says("max-age=soon"),
        says("max-age=50", STALE),
        says("s-maxage=50, max-age=3600", STALE),
        says("max-age=3600", ("CDN-Cache-Control", "max-age=50"), STALE),
        [("Expires", "0")],
    ],
    ids=str,
)
def test_a_stale_copy_is_confirmed_and_then_replaced(cache: Site, headers: list[tuple[str, str]]) -> None:
    filled(cache, "/a", OLD, headers=headers, etag='"v1"')
    answer = cache.get("/a")
    assert (answer.status, answer.body) == (200, OLD.read())
    assert answer.proxy_said.startswith("CephStorage; fwd=stale; fwd-status=304")
    assert cache.logged("/a")[1].headers["if-none-match"] == '"v1"'
    cache.put("/a", NEW, headers=headers, etag='"v2"')
    answer = cache.get("/a")
    assert answer.body == NEW.read()
    assert answer.proxy_said.startswith("CephStorage; fwd=stale; stored")
    assert cache.body_bytes("/a") == OLD.size + NEW.size


@pytest.mark.parametrize("control", ["no-store", "private", "max-age=60, private", 'private="x"'])
def test_what_the_origin_keeps_to_itself_is_not_stored(cache: Site, control: str) -> None:
    cache.put("/a", b"a", headers=says(control))
    assert [cache.get("/a").body for _ in range(2)] == [b"a", b"a"]
    assert cache.count("/a") == 2
    assert cache.record("a") is None


def test_a_304_brings_new_headers_and_keeps_the_bytes(cache: Site) -> None:
    """RFC 9111 sections 3.2 and 4.3.4."""
    first = filled(cache, "/a", OLD, headers=says("max-age=50", STALE, ("X-Kept", "1"), ("X-Turn", "1")))
    before = cache.record("a")
    cache.put("/a", OLD, headers=says("max-age=3600", ("X-Turn", "2"), ("Content-Language", "fr")))
    confirmed, again = cache.get("/a"), cache.get("/a")
    assert cache.count("/a") == 2, "fresh again"
    for answer in (confirmed, again):
        assert answer.body == OLD.read()
        assert {name: answer.headers.get(name) for name in ("x-turn", "x-kept", "cache-control")} == {
            "x-turn": "2",
            "x-kept": "1",
            "cache-control": "max-age=3600",
        }
        assert "content-language" not in answer.headers, "the bytes did not come anew"
        assert int(answer.headers["age"]) < 50
        for name in ("etag", "last-modified", "content-length", "content-type"):
            assert answer.headers[name] == first.headers[name]
    after = cache.record("a")
    assert (after["generation"], after["md5"]) == (before["generation"], before["md5"])


def test_a_304_of_another_version_confirms_nothing(cache: Site) -> None:
    """RFC 9111 section 4.3.4: a strong validator that is not the stored one's."""
    filled(cache, "/a", OLD, headers=says("max-age=0"), etag='"v1"')

    def mixed_up(request: LoggedRequest) -> bytes | None:
        return b'HTTP/1.1 304 Not Modified\r\nETag: "v2"\r\n\r\n' if "if-none-match" in request.headers else None

    cache.put("/a", NEW, etag='"v2"', raw=mixed_up)
    assert cache.get("/a").body == NEW.read()


def test_stale_while_revalidate_asks_once_behind_the_readers(cache: Site) -> None:
    """RFC 5861 section 3."""
    filled(cache, "/a", OLD, headers=says("max-age=50, stale-while-revalidate=600", STALE))
    gate = Gate()
    cache.put("/a", NEW, etag='"v2"', headers=says("max-age=3600"), header_gate=gate)
    answers = cache.get_all(["/a"] * 8)
    assert {answer.body for answer in answers} == {OLD.read()}
    assert all(answer.proxy_said.startswith("CephStorage; hit; detail=stale-while-revalidate") for answer in answers)
    assert gate.reached.wait(60)
    assert cache.get("/a").body == OLD.read()
    gate.set()
    until(lambda: cache.get("/a").body == NEW.read())
    assert cache.count("/a") == 2


def test_stale_while_revalidate_with_a_304(cache: Site) -> None:
    filled(cache, "/a", OLD, headers=says("max-age=50, stale-while-revalidate=600", STALE))
    cache.put("/a", OLD, headers=says("max-age=3600"))
    assert cache.get("/a").body == OLD.read()
    until(lambda: parameters(cache.get("/a")), lambda told: "detail" not in told)
    assert cache.count("/a") == 2


TROUBLE = [{"status": 500}, {"status": 503}, {"status": 429}, {"hang_up_times": 9}, {"raw": b"nonsense\r\n\r\n"}]


@pytest.mark.parametrize("trouble", TROUBLE, ids=str)
def test_the_copy_stands_in_for_an_origin_that_fails(cache: Site, trouble: dict[str, Any]) -> None:
    """RFC 9111 section 4.2.4."""
    filled(cache, "/a", OLD, headers=says("max-age=50", STALE))
    cache.put("/a", b"trouble", conditional=False, **trouble)
    for _ in range(2):
        answer = cache.get("/a")
        assert (answer.status, answer.body) == (200, OLD.read())
        assert answer.proxy_said.startswith("CephStorage; hit; detail=stale-")


@pytest.mark.parametrize("control", ["max-age=50, must-revalidate", "no-cache", "max-age=50, stale-if-error=9"])
def test_unless_the_origin_forbids_it(cache: Site, control: str) -> None:
    """RFC 9111 sections 5.2.2.2 and 5.2.2.4, RFC 5861 section 4."""
    filled(cache, "/a", OLD, headers=says(control, STALE))
    cache.put("/a", b"trouble", conditional=False, status=500)
    answer = cache.get("/a")
    assert (answer.status, answer.body) == (500, b"trouble")
    cache.put("/a", b"trouble", hang_up_times=9)
    answer = cache.get("/a")
    assert (answer.status, problem_code(answer)) == (504, "stale_forbidden")
    cache.put("/a", OLD)
    assert cache.get("/a").body == OLD.read(), "the copy itself is there still"


@pytest.mark.parametrize("status", [403, 404, 410])
def test_what_the_origin_says_of_the_resource_is_its_word(cache: Site, status: int) -> None:
    """RFC 9111 section 4.3.3: only 5xx is a failure to validate."""
    filled(cache, "/a", OLD, headers=says("max-age=50", STALE))
    cache.put("/a", b"no", conditional=False, status=status)
    for _ in range(2):
        answer = cache.get("/a")
        assert (answer.status, answer.body) == (status, b"no")
    cache.put("/a", OLD)
    assert cache.get("/a").body == OLD.read()


@pytest.mark.parametrize(("status", "header"), [(301, ("Location", "/b")), (404, ("X-A", "1")), (204, ("X-A", "1"))])
def test_short_answers_are_repeated_while_they_are_fresh(cache: Site, status: int, header: tuple[str, str]) -> None:
    """RFC 9111 section 3: any final status whose answer says how long it is fresh."""
    cache.order(mode="origin", redirects="pass")
    body = b"" if status == 204 else b"short"
    cache.put("/a", body, status=status, headers=says("max-age=3600", ("Age", "100"), header))
    cache.put("/stale", body, status=status, headers=says("max-age=50", STALE, header))
    cache.put("/private", body, status=status, headers=says("max-age=3600, private", header))
    for path, asked in (("/a", 1), ("/stale", 2), ("/private", 2)):
        for _ in range(2):
            answer = cache.get(path)
            assert (answer.status, answer.body) == (status, body)
            assert answer.headers[header[0].lower()].endswith(header[1])
        assert cache.count(path) == asked
    again = cache.get("/a")
    assert 100 <= int(again.headers["age"]) < 200
    assert "hit" in again.headers["cache-status"]


def test_an_answer_that_sets_a_cookie_is_for_one_client(cache: Site) -> None:
    """Also an error or a redirect: it is passed on as it is."""
    cache.put("/a", b"go", status=302, headers=[("Location", "/b"), ("Set-Cookie", "session=1")])
    cache.order(mode="origin", redirects="pass")
    for number in (1, 2):
        answer = cache.get("/a")
        assert (answer.status, answer.headers["set-cookie"]) == (302, "session=1")
        assert cache.count("/a") == number


def test_only_if_cached(cache: Site) -> None:
    """RFC 9111 section 5.2.1.7."""
    only = {"Cache-Control": "only-if-cached"}
    filled(cache, "/fresh", OLD, headers=says("max-age=3600"))
    filled(cache, "/stale", OLD, headers=says("max-age=50", STALE))
    assert cache.get("/fresh", only).body == OLD.read()
    assert problem_code(cache.get("/stale", only)) == "not_stored"
    assert (cache.count("/fresh"), cache.count("/stale")) == (1, 1)


@pytest.mark.stacks("direct")  # an edge keeps an answer with what was said to the first who asked
def test_requests_of_one_moment_share_one_question(cache: Site) -> None:
    filled(cache, "/a", OLD, headers=says("max-age=50", STALE))
    gate = Gate()
    cache.put("/a", OLD, headers=says("max-age=3600"), header_gate=gate)
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(cache.get, "/a") for _ in range(6)]
        assert gate.reached.wait(60)
        until(lambda: cache.explain("/a")["filling"])
        gate.set()
        answers = [one.result() for one in asked]
    assert {answer.body for answer in answers} == {OLD.read()}
    assert cache.count("/a") == 2
    told = [parameters(answer) for answer in answers if "fwd" in parameters(answer)]
    assert [each["fwd-status"] for each in told] == ["304"] * len(told)
    assert sum("collapsed" not in each for each in told) == 1


def test_a_restart_changes_nothing(own_site: Callable[..., Site]) -> None:
    site = own_site()
    site.order(mode="origin")
    filled(site, "/fresh", OLD, headers=says("max-age=3600", STALE))
    filled(site, "/stale", OLD, headers=says("max-age=50", STALE))
    site.service.stop()
    site.service.start()
    assert int(site.get("/fresh").headers["age"]) >= 100
    assert site.get("/stale").proxy_said.startswith("CephStorage; fwd=stale; fwd-status=304")
    assert (site.count("/fresh"), site.count("/stale")) == (1, 2)


def test_head_of_a_stale_copy_costs_the_origin_no_body(cache: Site) -> None:
    """RFC 9111 section 4.3.5."""
    filled(cache, "/a", OLD, headers=says("max-age=50", STALE))
    cache.put("/a", OLD, headers=says("max-age=3600", ("X-Turn", "2")), conditional=False)
    answer = cache.head("/a")
    assert (answer.status, answer.headers["content-length"]) == (200, str(OLD.size))
    assert answer.proxy_said.startswith("CephStorage; fwd=stale; fwd-status=200")
    assert [request.method for request in cache.logged("/a")] == ["GET", "HEAD"]
    again = cache.get("/a")
    assert (again.body, again.headers["x-turn"]) == (OLD.read(), "2")
    assert cache.count("/a") == 2, "fresh again by what HEAD said"


def test_head_shows_that_a_copy_is_outdated(cache: Site) -> None:
    """RFC 9111 section 4.3.5."""
    filled(cache, "/a", OLD, headers=says("max-age=50", STALE), etag='"v1"')
    cache.put("/a", NEW, headers=says("max-age=3600"), etag='"v2"')
    answer = cache.head("/a")
    assert (answer.headers["etag"], answer.headers["content-length"]) == ('"v2"', str(NEW.size))
    assert cache.explain("/a")["freshness"]["invalidated"] is True
    assert cache.get("/a").body == NEW.read()


def test_head_when_the_origin_fails(cache: Site) -> None:
    for path, control, status in (("/a", "max-age=50", 200), ("/b", "max-age=50, must-revalidate", 504)):
        filled(cache, path, OLD, headers=says(control, STALE))
        cache.put(path, OLD, hang_up_times=9)
        assert cache.head(path).status == status


@pytest.mark.parametrize(
    ("control", "why"), [("no-cache", "request"), ("max-age=0", "request"), ("min-fresh=7200", "request")]
)
def test_requests_have_a_say_where_a_switch_lets_them(cache: Site, control: str, why: str) -> None:
    """RFC 9111 section 5.2.1."""
    filled(cache, "/a", OLD, headers=says("max-age=3600"))
    assert "hit" in parameters(cache.get("/a", {"Cache-Control": control}))
    cache.order(mode="origin", client_control=True)
    answer = cache.get("/a", {"Cache-Control": control})
    assert answer.body == OLD.read()
    assert answer.proxy_said.startswith(f"CephStorage; fwd={why}; fwd-status=304")
    assert "hit" in parameters(cache.get("/a"))


def test_a_guess_where_a_switch_lets_it(cache: Site) -> None:
    """RFC 9111 section 4.2.2."""
    filled(cache, "/a", OLD)
    assert parameters(cache.get("/a"))["fwd"] == "stale"
    cache.order(mode="origin", heuristic=True)
    assert "hit" in parameters(cache.get("/a"))
    assert cache.count("/a") == 2
