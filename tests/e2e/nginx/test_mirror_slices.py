"""Mirror traffic through slices and cache: right bytes whatever is asked, and kept where it may be kept."""

import json

import pytest

from tests.e2e.mirror.site import Download, Site
from tests.harness.behaviour import Gate
from tests.harness.content import MIB, Content
from tests.harness.patience import until
from tests.harness.stack import Stack

SIZE = 5 * MIB + 12345
BODY = Content(7, SIZE)
HEADERS = (("Link", "<a>; rel=next"), ("X-Frame-Options", "DENY"), ("Content-Language", "de"))


def by_edge(answer: Download) -> str:
    """What the edge says it did."""
    return answer.headers["cache-status"].rpartition(", ")[2]


def stored(site: Site, path: str, body: Content = BODY) -> None:
    """Put a body at the origin, bring it through the mirror and wait until it is stored."""
    site.put(path, body)
    assert site.get(path).body == body.read()
    site.stored(path.removeprefix("/"))


def test_a_cold_object_comes_whole(site: Site) -> None:
    site.put("/big", BODY)
    answer = site.get("/big")
    assert (answer.status, answer.headers["content-length"]) == (200, str(SIZE))
    assert answer.body == BODY.read()
    assert by_edge(answer) == "CephStorage-edge; fwd=uri-miss"


def test_what_has_come_of_a_cold_object_is_passed_on_at_once(site: Site) -> None:
    """One answer for all of it: nothing waits for a slice, nor for one of nginx's buffers, to be full."""
    gate = Gate()
    site.put("/big", BODY, gate=gate, gate_after=2 * MIB + 777)
    with site.open("/big") as answer:
        assert answer.read(2 * MIB + 777) == BODY.read(0, 2 * MIB + 777)
        assert site.count("/big") == 1  # the origin was not silent for too long
        gate.set()
        assert answer.rest() == BODY.read(2 * MIB + 777)
    assert site.count("/big") == 1


def test_a_stored_object_is_kept_by_the_edge_and_then_served_without_a_proxy(site: Site, edged: Stack) -> None:
    stored(site, "/big")
    assert site.get("/big").body == BODY.read()
    again = site.get("/big")
    assert again.body == BODY.read()
    assert by_edge(again) == "CephStorage-edge; hit"


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("0-0", 0, 1),
        ("0-1048575", 0, MIB),
        ("1048575-1048576", MIB - 1, MIB + 1),
        ("1048576-", MIB, SIZE),
        ("3000000-3000009", 3_000_000, 3_000_010),
        ("-1", SIZE - 1, SIZE),
        ("-2000000", SIZE - 2_000_000, SIZE),
        ("-99999999", 0, SIZE),
        ("5242880-99999999", 5 * MIB, SIZE),
    ],
)
@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
def test_any_range(site: Site, asked: str, start: int, end: int, warm: bool) -> None:
    site.put("/big", BODY)
    if warm:
        site.get("/big")
        site.stored("big")
        site.get("/big")
    answer = site.get("/big", {"Range": f"bytes={asked}"})
    assert answer.status == 206
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert answer.body == BODY.read(start, end)


@pytest.mark.parametrize("asked", ["bytes=3000000-3000009,0-1", "bytes=0-1,3000000-3000009", "pages=1-2", "bytes=a-b"])
def test_a_range_that_is_not_one_plain_range_is_ignored(site: Site, asked: str) -> None:
    stored(site, "/big")
    answer = site.get("/big", {"Range": asked})
    assert (answer.status, answer.body) == (200, BODY.read())


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("first", [SIZE, SIZE + MIB])
def test_a_range_beyond_the_end(site: Site, warm: bool, first: int) -> None:
    stored(site, "/big")
    if warm:
        site.get("/big")
    answer = site.get("/big", {"Range": f"bytes={first}-"})
    assert (answer.status, answer.headers["content-range"], answer.body) == (416, f"bytes */{SIZE}", b"")


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
def test_conditions(site: Site, warm: bool) -> None:
    stored(site, "/big")
    etag = site.get("/big").headers["etag"] if warm else site.get("/big", method="HEAD").headers["etag"]
    assert site.get("/big", {"If-None-Match": etag}).status == 304
    assert site.get("/big", {"If-None-Match": '"other"'}).status == 200
    assert site.get("/big", {"If-Match": '"other"'}).status == 412
    assert site.get("/big", {"If-Modified-Since": "Thu, 01 Jan 2099 00:00:00 GMT"}).status == 304
    part = site.get("/big", {"If-Range": etag, "Range": "bytes=2000000-2000001"})
    assert (part.status, part.body) == (206, BODY.read(2_000_000, 2_000_002))
    whole = site.get("/big", {"If-Range": '"other"', "Range": "bytes=2000000-2000001"})
    assert (whole.status, whole.body) == (200, BODY.read())


@pytest.mark.parametrize("mode", ["permanent", "bypass"])
def test_a_client_that_has_the_copy_gets_no_body_of_a_cold_object(site: Site, mode: str) -> None:
    site.order(mode=mode)
    site.put("/big", BODY, etag='"v1"')
    for _ in range(2):
        answer = site.get("/big", {"If-None-Match": '"v1"'})
        assert (answer.status, answer.body) == (304, b"")
    answer = site.get("/big", {"If-None-Match": '"v0"'})
    assert (answer.status, answer.body) == (200, BODY.read())


def test_the_answer_is_the_same_from_origin_store_and_edge(site: Site) -> None:
    site.put("/big", BODY, headers=HEADERS)
    cold = site.get("/big")
    site.stored("big")
    answers = [cold, site.get("/big"), site.get("/big")]
    assert [by_edge(answer) for answer in answers][1:] == [
        "CephStorage-edge; fwd=uri-miss",
        "CephStorage-edge; hit",
    ]
    names = ("etag", "last-modified", "content-type", "content-length", "link", "x-frame-options", "content-language")
    shown = [{name: answer.headers.get(name) for name in names} for answer in answers]
    assert shown[0] == shown[1] == shown[2]
    assert None not in shown[0].values()


def test_an_empty_object(site: Site) -> None:
    site.put("/empty", b"")
    for _ in range(3):
        answer = site.get("/empty")
        assert (answer.status, answer.body) == (200, b"")
    assert site.get("/empty", {"Range": "bytes=0-0"}).status in {200, 416}


def test_head_and_a_body_of_unknown_length(site: Site) -> None:
    site.put("/chunked", BODY, framing="chunked")
    assert site.get("/chunked", method="HEAD").status == 200
    assert site.get("/chunked").body == BODY.read()


def test_an_error_is_never_kept(site: Site) -> None:
    assert site.get("/late").status == 404
    site.put("/late", b"now it is here")
    answer = until(lambda: site.get("/late"), lambda seen: seen.status == 200)
    assert answer.body == b"now it is here"


def test_a_range_of_something_that_is_missing_is_a_clean_404(site: Site) -> None:
    assert site.get("/missing", {"Range": "bytes=5000000-"}).status == 404


@pytest.mark.parametrize(("lines", "status"), [(24, 200), (40, 502)])
def test_a_head_that_is_too_large_for_nginx_is_the_origins_fault_alone(site: Site, lines: int, status: int) -> None:
    """Not the proxies': nginx would count each of them as broken that is asked."""
    long = [("Link", f"<{number}{'x' * 1000}>") for number in range(lines)]
    site.put("/long", b"content", headers=long)
    for answer in (site.get("/long"), site.get("/long")):
        assert answer.status == status
        assert status == 200 or json.loads(answer.body)["code"] == "origin_protocol"
