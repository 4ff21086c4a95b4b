"""The failure matrix: what an origin may do to a mirror, over every stack.

    fault                         | comes back | another origin | stays down
    killed at each 10 % (2 ways)  | whole      | whole          | cut, nothing stored
    ETag changes in mid-slice     | the old version is cut, the next reader has the new one
    chunked                       | whole, also when killed
    ignores Range                 | right parts, also when killed
    wrong Content-Range           | right parts, or an error
    redirects to 169.254.169.254  | refused before any packet: tests/isolated/test_mirror.py
    redirects in a loop           | an error; a stored copy beats it
    429 storm                     | the stored copy, or the refusal; the origin is left alone

Nobody ever gets wrong bytes with a clean end, and nothing wrong is ever stored.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.mirror.pair import Pair, pair, shared_service, spare
from tests.e2e.mirror.site import Site, problem_code
from tests.harness.behaviour import LoggedRequest
from tests.harness.content import MIB, Content
from tests.harness.patience import until

__all__ = ["pair", "shared_service", "spare"]

BODY = Content(101, 8 * MIB + 77)
NEW = Content(102, 8 * MIB + 77)
PERCENT = range(0, 100, 10)
FRAMING = ("length", "chunked")


def at(percent: int) -> int:
    return BODY.size * percent // 100


def nothing_is_stored(site: Site, path: str) -> None:
    assert site.settled(path)["record"] is None
    assert site.record(path.removeprefix("/")) is None


def outcome(site: Site, path: str, body: Content, headers: dict[str, str] | None = None) -> bytes | None:
    """The bytes that came, all of them right; None when there was an error instead of a body."""
    with site.open(path, headers) as answer:
        if answer.status != 200:
            assert answer.status in {502, 503, 504}
            return None
        received = answer.until_cut()
    assert body.read().startswith(received)
    return received


# -- killed at each 10 %


@pytest.mark.parametrize("framing", FRAMING)
@pytest.mark.parametrize("percent", PERCENT)
def test_killed_and_back(site: Site, percent: int, framing: str) -> None:
    for how in ("fin", "rst"):
        site.put(f"/{how}", BODY, die_after=at(percent), die_times=1, how=how, framing=framing, etag='"v1"')
        answer = site.get(f"/{how}")
        assert (answer.status, answer.body == BODY.read()) == (200, True)
        assert site.stored(how)["md5"] == BODY.md5
        assert site.body_bytes(f"/{how}") == BODY.size


@pytest.mark.parametrize("framing", FRAMING)
@pytest.mark.parametrize("percent", PERCENT)
def test_killed_and_another_origin_goes_on(pair: Pair, percent: int, framing: str) -> None:
    def once(request: LoggedRequest) -> int:
        return 0 if "range" in request.headers else at(percent)

    pair.site.put("/a", BODY, die_after=once, how="rst", framing=framing, etag='"v1"')
    pair.put_spare("/a", BODY, framing=framing, etag='"v1"')
    answer = pair.site.get("/a")
    assert (answer.status, answer.body == BODY.read()) == (200, True)
    assert pair.site.stored("a")["md5"] == BODY.md5
    assert pair.sent("/a") == BODY.size


@pytest.mark.slow
@pytest.mark.parametrize("framing", FRAMING)
def test_killed_for_good(site: Site, framing: str) -> None:
    def dies_at(percent: int) -> Any:
        return lambda request: 0 if "range" in request.headers else at(percent)

    for percent in PERCENT:
        site.put(f"/{percent}", BODY, die_after=dies_at(percent), how="rst", framing=framing, etag='"v1"')

    def client(percent: int) -> int:
        return len(outcome(site, f"/{percent}", BODY) or b"")

    with ThreadPoolExecutor(len(PERCENT)) as pool:
        received = dict(zip(PERCENT, pool.map(client, PERCENT), strict=True))
    assert all(size <= at(percent) for percent, size in received.items())
    for percent in PERCENT:
        nothing_is_stored(site, f"/{percent}")


@pytest.mark.parametrize("percent", PERCENT)
def test_killed_and_another_origin_has_another_version(pair: Pair, percent: int) -> None:
    """It is passed over: the first one, which is back, goes on with its own."""
    pair.site.put("/a", BODY, die_after=at(percent), die_times=1, how="rst", etag='"v1"')
    pair.put_spare("/a", NEW, etag='"v2"')
    answer = pair.site.get("/a")
    assert (answer.headers["etag"], answer.body == BODY.read()) == ('"v1"', True)
    assert pair.site.stored("a")["md5"] == BODY.md5


# -- the ETag changes in mid-slice


@pytest.mark.parametrize("place", [MIB // 2, MIB + MIB // 2, 5 * MIB + 3])
@pytest.mark.parametrize("honours", [True, False], ids=["If-Range", "ignores If-Range"])
@pytest.mark.parametrize("framing", FRAMING)
def test_the_etag_changes_in_mid_slice(site: Site, framing: str, honours: bool, place: int) -> None:
    site.put(
        "/a", BODY, etag='"v1"', die_after=place, die_times=1, change_after_bytes=place, changed_body=NEW,
        changed_etag='"v2"', honours_if_range=honours, framing=framing,
    )  # fmt: skip
    with site.open("/a") as answer:
        version = answer.headers["etag"]
        if version == '"v1"':
            assert BODY.read().startswith(answer.until_cut())
        else:
            assert answer.rest() == NEW.read()
    answer = site.get("/a")
    assert (answer.headers["etag"], answer.body == NEW.read()) == ('"v2"', True)
    record = until(lambda: site.record("a"), lambda found: found is not None and found["etag"] == '"v2"')
    assert record["md5"] == NEW.md5


# -- chunked, and without ranges


@pytest.mark.parametrize(
    "behaviour", [{"framing": "chunked"}, {"ranges": False}, {"framing": "chunked", "ranges": False}]
)
@pytest.mark.parametrize("killed", [False, True], ids=["whole", "killed"])
def test_parts_of_what_can_not_be_asked_for_in_parts(site: Site, behaviour: dict[str, Any], killed: bool) -> None:
    faults = {"die_after": at(50), "die_times": 1} if killed else {}
    site.put("/a", BODY, etag='"v1"', **behaviour, **faults)
    for wanted, part in (("0-9", BODY.read(0, 10)), (f"{MIB - 5}-{MIB + 4}", BODY.read(MIB - 5, MIB + 5))):
        answer = site.range("/a", wanted)
        assert answer.status in {200, 206}
        assert answer.body == (part if answer.status == 206 else BODY.read())
    assert site.stored("a")["md5"] == BODY.md5
    answer = site.range("/a", "-7")
    assert (answer.status, answer.body) == (206, BODY.read(BODY.size - 7))


# -- wrong Content-Range


@pytest.mark.parametrize(
    "told",
    [
        f"bytes 0-{BODY.size - 1}/{BODY.size}",
        f"bytes 1-10/{BODY.size}",
        f"bytes {5 * MIB}-{BODY.size}/{BODY.size + 1}",
        f"bytes {5 * MIB}-{5 * MIB + 9}/*",
        f"bytes */{BODY.size}",
        "bytes nonsense",
        "items 0-9/10",
    ],
)
@pytest.mark.parametrize("when", ["first", "resuming"])
def test_a_wrong_content_range(site: Site, told: str, when: str) -> None:
    """The client's own range first, or the rest after a break: no byte is taken from where it is not."""
    broken = {"die_after": at(40), "die_times": 1} if when == "resuming" else {}
    site.put("/a", BODY, etag='"v1"', wrong_content_range=told, **broken)
    if when == "first":
        answer = site.range("/a", f"{5 * MIB}-{5 * MIB + 9}")
        assert (answer.status, answer.body) == (206, BODY.read(5 * MIB, 5 * MIB + 10))
    answer = site.get("/a")
    assert (answer.status, answer.body == BODY.read()) == (200, True)
    assert site.stored("a")["md5"] == BODY.md5


# -- redirects


def test_a_redirect_loop(site: Site) -> None:
    site.order(mode="revalidate", ttl=0)
    site.fill("/kept", BODY)
    for path, following in (("/kept", "/b"), ("/a", "/b"), ("/b", "/a"), ("/self", "/self")):
        site.put(path, redirect=site.origin.url + site.prefix + following)
    for path in ("/a", "/self"):
        answer = site.get(path)
        assert (answer.status, problem_code(answer)) == (502, "too_many_redirects")
        nothing_is_stored(site, path)
        assert site.count(path) <= 4  # an edge asks once more
    kept = site.get("/kept")
    assert (kept.status, kept.body == BODY.read()) == (200, True)
    assert "stale-too_many_redirects" in kept.headers["cache-status"]


def test_a_redirect_away_is_followed_by_the_service_and_carries_no_credentials(pair: Pair) -> None:
    origins = pair.origins({"credentials": {"kind": "bearer", "token": "hush"}}, {})
    pair.order(origins=origins[:1])
    pair.site.put("/a", redirect=f"{pair.spare.url}{pair.site.prefix}/there")
    pair.put_spare("/there", BODY)
    assert pair.site.get("/a").body == BODY.read()
    assert pair.site.logged("/a")[0].headers["authorization"] == "Bearer hush"
    assert "authorization" not in pair.spare.logged(pair.site.prefix + "/there")[0].headers


# -- 429 storm


@pytest.mark.parametrize("status", [429, 503])
def test_a_storm_of_refusals_leaves_the_origin_alone(site: Site, status: int) -> None:
    site.order(rules=[{"path": "/fresh/**", "mode": "revalidate", "ttl": 0}])
    kept, cold = ("/stored", "/fresh/stored"), [f"/cold/{number}" for number in range(20)]
    for path in kept:
        site.fill(path, BODY)
    for path in (*kept, *cold):
        site.put(path, BODY, refuse_times=1000, refuse_status=status, retry_after=200)
    assert site.get("/cold/0").status == status
    asked = sum(site.count(path) for path in (*kept, *cold))
    answers = site.get_all([*kept * 10, *cold])
    assert {(answer.status, answer.body == BODY.read()) for answer in answers[:20]} == {(200, True)}
    assert {(answer.status, 100 < int(answer.headers["retry-after"]) <= 200) for answer in answers[20:]} == {
        (status, True)
    }
    assert sum(site.count(path) for path in (*kept, *cold)) == asked, "the origin had asked for patience"


@pytest.mark.parametrize("status", [429, 503])
def test_the_origin_is_asked_again_when_its_patience_is_over(site: Site, status: int) -> None:
    site.put("/a", BODY, refuse_times=1, refuse_status=status, retry_after=1)
    assert site.get("/a").status == status
    answer = until(lambda: site.get("/a"), lambda found: found.status == 200)
    assert answer.body == BODY.read()
    assert site.count("/a") <= 3
