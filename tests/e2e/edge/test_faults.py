"""Origins that fail, seen through the edge: no wrong byte with a clean end, and nothing broken is kept."""

import base64
import hashlib
from collections.abc import Iterator

import pytest

from tests.e2e.mirror.site import Download, Site
from tests.harness.content import MIB, Content
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.stack import Stack

BODY = Content(101, 5 * MIB + 11)
OTHER = Content(102, 4 * MIB + 7)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, shared_origin: FaultOrigin) -> Iterator[Stack]:
    """One proxy behind an edge."""
    started = Stack(tmp_path_factory.mktemp("faults") / "data", origin_allowed_ports=str(shared_origin.port))
    yield started.start()
    started.stop()


@pytest.fixture
def site(stack: Stack, shared_origin: FaultOrigin, request: pytest.FixtureRequest) -> Site:
    """A mirror host that no other test uses."""
    return Site.of_test(stack, shared_origin, request.node.originalname)


def nothing_wrong(site: Site, path: str, body: Content = BODY) -> Download:
    """Read a body that breaks: an error, or a right beginning without an end."""
    with site.open(path) as answer:
        if answer.status == 200:
            assert body.read().startswith(answer.until_cut())
        else:
            assert answer.status in {502, 503}
    return answer


def right_again(site: Site, path: str, body: Content) -> None:
    """The origin is well: everybody gets all of the body, from whatever was kept meanwhile."""
    site.put(path, body)
    until(lambda: site.get(path).status, lambda status: status == 200)
    until(lambda: site.explain(path)["record"])
    for _ in range(2):
        answer = site.get(path)
        assert (answer.status, answer.body) == (200, body.read())


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("how", ["fin", "rst"])
def test_an_origin_that_dies_and_comes_back_goes_unnoticed(site: Site, how: str, framing: str) -> None:
    site.put("/a", BODY, die_after=MIB + 1, die_times=2, how=how, framing=framing, etag='"v1"')
    answer = site.get("/a")
    assert (answer.status, answer.body) == (200, BODY.read())
    site.stored("a")
    assert site.body_bytes("/a") == len(BODY)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_broken_body_that_can_not_be_resumed(site: Site, framing: str) -> None:
    site.put("/a", BODY, die_after=2 * MIB + 5, etag=None, last_modified=None, framing=framing, how="rst")
    nothing_wrong(site, "/a")
    right_again(site, "/a", OTHER)


@pytest.mark.slow
def test_an_origin_that_stays_down(site: Site) -> None:
    site.put("/a", BODY, die_after=lambda asked: 0 if "range" in asked.headers else 2 * MIB + 5)
    nothing_wrong(site, "/a")
    right_again(site, "/a", OTHER)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_digest_that_does_not_match(site: Site, framing: str) -> None:
    wrong = base64.b64encode(hashlib.md5(b"else", usedforsecurity=False).digest()).decode()
    site.put("/a", BODY, headers=[("Content-MD5", wrong)], framing=framing)
    answer = nothing_wrong(site, "/a")
    assert answer.headers["cache-status"].startswith("CephStorage; ")
    assert site.settled("/a")["record"] is None
    site.put("/a", BODY)
    right_again(site, "/a", BODY)


def test_a_body_that_ends_with_its_connection_is_kept_nowhere(site: Site) -> None:
    site.put("/a", BODY, framing="close", die_after=MIB, how="fin")
    assert site.get("/a").body == BODY.read(0, MIB)  # a cut body looks like this: nobody can tell
    site.put("/a", BODY, framing="close", die_after=MIB, how="rst")
    nothing_wrong(site, "/a")
    right_again(site, "/a", BODY)


def test_ranges_of_what_is_passed_through(site: Site) -> None:
    site.order(mode="bypass")
    site.put("/a", BODY, etag='"v1"')
    part = site.range("/a", f"{2 * MIB + 1}-{4 * MIB + 1}")
    assert (part.status, part.body) == (206, BODY.read(2 * MIB + 1, 4 * MIB + 2))
    assert site.range("/a", f"{len(BODY) + MIB}-").status == 416
    assert site.get("/a").body == BODY.read()
    site.put("/a", BODY, etag=None)
    whole = site.range("/a", f"{2 * MIB + 1}-{4 * MIB + 1}")
    assert whole.body in {BODY.read(), BODY.read(2 * MIB + 1, 4 * MIB + 2)}


def test_an_object_that_changes_in_mid_body_is_never_mixed(site: Site) -> None:
    site.put(
        "/a", BODY, etag='"v1"', die_after=2 * MIB + 5, die_times=1, change_after_bytes=2 * MIB, changed_body=OTHER,
        changed_etag='"v2"',
    )  # fmt: skip
    with site.open("/a") as answer:
        assert answer.headers["etag"] == '"v1"'
        assert BODY.read().startswith(answer.until_cut())
    again = site.get("/a")
    assert (again.headers["etag"], again.body) == ('"v2"', OTHER.read())
    assert site.stored("a")["md5"] == OTHER.md5
    assert site.get("/a").body == OTHER.read()
