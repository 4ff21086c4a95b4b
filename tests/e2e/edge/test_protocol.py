"""What the proxy says to its edge, and only to its edge: tested without nginx, header by header."""

import http.client
import time
from pathlib import Path

import pytest

from cephstorage.domain.edge import (
    EDGE,
    FURTHER,
    INTERNAL_PREFIX,
    KEEP_UNTIL,
    SLICE,
    STORE_FAILED,
    STORE_KEY,
    STORE_TARGET,
)
from cephstorage.domain.handover import EDGE_LIFETIME
from tests.e2e.edge.conftest import SLICE_SIZE, Edge
from tests.e2e.mirror.site import Download, Site, problem_code
from tests.harness.behaviour import Gate, LoggedRequest
from tests.harness.bucket import Bucket
from tests.harness.content import MIB, Content
from tests.harness.patience import until
from tests.harness.service import Service

BODY = Content(61, 4 * MIB + 11)
OTHER = Content(62, 3 * MIB + 7)
LAST = len(BODY) // SLICE_SIZE


def _file(service: Service, answer: Download) -> bytes:
    """The bytes of the file that nginx is sent to."""
    place = answer.headers["x-accel-redirect"]
    assert place.startswith("/_disk/")
    return (service.data_dir / "objects" / place.removeprefix("/_disk/")).read_bytes()


def _commands(answer: Download) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith(("x-accel-", INTERNAL_PREFIX))}


@pytest.mark.parametrize("shown", [{}, {EDGE: "guessed"}, {SLICE: "1"}, {EDGE: ""}], ids=str)
def test_others_get_what_they_always_got(site: Site, shown: dict[str, str]) -> None:
    plain = site.fill("/a", BODY)
    for answer in (site.get("/a", shown), site.get("/a", {**shown, "Range": "bytes=0-9"}), site.head("/a", shown)):
        assert _commands(answer) == {}
        assert answer.headers["etag"] == plain.headers["etag"]
    assert site.get("/a", shown).body == BODY.read()
    assert site.get("/missing", shown).status == 404


def test_a_hit_is_handed_over(site: Site, edge: Edge) -> None:
    plain = site.fill("/a", BODY, headers=[("X-Checksum-Sha1", "abc"), ("Link", "<b>"), ("Link", "<c>")])
    answer = edge.get("/a")
    assert (answer.status, answer.body) == (200, b"")
    assert _file(site.service, answer) == BODY.read()
    assert answer.headers["x-accel-expires"] == str(EDGE_LIFETIME)
    for name in ("etag", "last-modified", "content-type", "x-checksum-sha1"):
        assert answer.headers[name] == plain.headers[name], name
    assert answer.headers["link"] == "<b>, <c>"
    assert answer.headers["cache-status"] == "CephStorage; hit"
    assert STORE_KEY not in answer.headers


def test_a_slice_of_a_hit_is_handed_over(site: Site, edge: Edge) -> None:
    site.fill("/a", BODY)
    answer = edge.slice("/a", 2)
    assert _file(site.service, answer) == BODY.read()
    assert answer.headers["x-accel-expires"] == str(EDGE_LIFETIME)


def test_a_slice_that_may_be_kept_says_how_the_others_are_fetched(site: Site, edge: Edge) -> None:
    site.fill("/a", BODY)
    site.fill("/small", BODY.read(0, SLICE_SIZE))
    for number in (0, 2, LAST):
        before = int(time.time())
        answer = edge.slice("/a", number)
        assert answer.headers[FURTHER] == f"disk bytes={LAST * SLICE_SIZE}-{(LAST + 1) * SLICE_SIZE - 1}"
        assert answer.headers["x-accel-redirect"] == f"/_disk/{answer.headers[STORE_TARGET]}"
        assert 0 <= int(answer.headers[KEEP_UNTIL].removeprefix("@")) - before - EDGE_LIFETIME <= 60
    for other in (edge.slice("/small"), edge.slice("/%61"), edge.slice("/a?"), edge.get("/a"), edge.slice("/a", 9)):
        assert {FURTHER, KEEP_UNTIL, STORE_TARGET} & other.headers.keys() == set()


def test_what_is_not_kept_is_sent_in_one_piece_to_who_wants_all_of_it(site: Site, edge: Edge) -> None:
    site.fill("/a", BODY)
    first = {SLICE: "whole", "Range": f"bytes=0-{SLICE_SIZE - 1}"}
    wanted = {"/%61": "/_disk_whole/", "/a?": "/_disk_whole/", "/a": "/_disk/"}
    for target, place in wanted.items():
        assert edge.get(target, first).headers["x-accel-redirect"].startswith(place), target
        assert edge.slice(target).headers["x-accel-redirect"].startswith("/_disk/"), target
    assert edge.get("/%61", {**first, STORE_FAILED: "404"}).body == BODY.read(0, SLICE_SIZE)


def test_answers_without_bytes_come_at_once(site: Site, edge: Edge) -> None:
    etag = site.fill("/a", BODY).headers["etag"]
    site.fill("/empty", b"")
    head = edge.get("/a", method="HEAD")
    assert (head.status, head.headers["content-length"]) == (200, str(len(BODY)))
    assert edge.get("/a", {"If-None-Match": etag}).status == 304
    assert edge.get("/a", {"If-Match": '"other"'}).status == 412
    beyond = edge.slice("/a", 9)
    assert (beyond.status, beyond.headers["content-range"]) == (416, f"bytes */{len(BODY)}")
    assert beyond.headers["x-accel-expires"] == "0"
    empty = edge.slice("/empty")
    assert (empty.status, empty.headers["content-length"]) == (200, "0")
    for answer in (head, beyond, empty):
        assert "x-accel-redirect" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [{"Range": "bytes=0-1,4-5"}, {"If-None-Match": '"x"'}, {"Range": "bytes=5-9", "If-Range": '"x"'}],
    ids=str,
)
def test_what_nginx_would_judge_by_the_file_is_sent_by_the_proxy(
    site: Site, edge: Edge, headers: dict[str, str]
) -> None:
    site.fill("/a", BODY)
    answer = edge.get("/a", headers)
    assert (answer.status, answer.body) == (200, BODY.read())
    assert "x-accel-redirect" not in answer.headers


def test_a_header_that_nginx_can_not_carry_makes_the_proxy_send(site: Site, edge: Edge) -> None:
    site.fill("/a", BODY, headers=[("X-Nobody-Knows", "1")])
    answer = edge.slice("/a", 1)
    assert (answer.status, answer.body) == (206, BODY.read(SLICE_SIZE, 2 * SLICE_SIZE))
    assert answer.headers["x-nobody-knows"] == "1"
    assert answer.headers["x-accel-expires"] == str(EDGE_LIFETIME)


def test_an_origin_has_no_say_in_what_the_edge_does(site: Site, edge: Edge) -> None:
    said = [("X-CephStorage-Store-Target", "/other?sig"), ("X-Accel-Redirect", "/_store"), ("X-Accel-Expires", "99")]
    site.fill("/a", BODY, headers=said)
    site.put("/b", b"", status=404, headers=said)
    site.put("/c", BODY, headers=[*said, ("Cache-Control", "no-store")])
    for path in ("/b", "/c"):
        assert _commands(edge.get(path)) == {"x-accel-expires": "0"}
    assert _commands(site.get("/a")) == {}
    assert set(_commands(edge.get("/a"))) == {"x-accel-expires", "x-accel-redirect"}


def test_internal_headers_reach_no_origin(site: Site, edge: Edge) -> None:
    rule = {"path": "/**", "mode": "bypass", "pass_headers": ["X-Team"]}
    site.order(rules=[rule])
    site.put("/a", BODY)
    assert edge.get("/a", {"X-Team": "blue", SLICE: "1"}).body == BODY.read()
    (seen,) = site.logged("/a")
    assert seen.headers["x-team"] == "blue"
    assert [name for name in seen.headers if name.startswith(INTERNAL_PREFIX)] == []


@pytest.mark.parametrize("status", [403, 404, 412])
def test_when_the_store_failed_the_proxy_sends(site: Site, edge: Edge, status: int) -> None:
    site.fill("/a", BODY)
    answer = edge.again("/a", status)
    assert (answer.status, answer.body) == (200, BODY.read())
    part = edge.again("/a", status, {SLICE: "1", "Range": f"bytes=0-{SLICE_SIZE - 1}"})
    assert (part.status, part.body) == (206, BODY.read(0, SLICE_SIZE))
    assert site.count("/a") == 1


def test_bytes_that_the_store_has_lost_are_fetched_again(site: Site, edge: Edge) -> None:
    site.fill("/a", BODY)
    place = edge.get("/a").headers["x-accel-redirect"].removeprefix("/_disk/")
    (site.service.data_dir / "objects" / place).unlink()
    assert edge.again("/a", 404).body == BODY.read()
    until(lambda: site.record("a")["generation"], lambda generation: generation == 2)
    assert _file(site.service, edge.get("/a")) == BODY.read()


def test_how_long_the_edge_may_keep_a_hit(site: Site, edge: Edge) -> None:
    site.order(
        rules=[{"path": "/fresh/**", "mode": "revalidate", "ttl": 100_000}, {"path": "/dead/**", "mode": "deny"}]
    )
    for path in ("/a", "/fresh/a", "/a?q=1"):
        site.fill(path, b"x")
    lifetimes = {
        target: edge.get(target).headers["x-accel-expires"]
        for target in ("/a", "/fresh/a", "/a?q=1", "/%61", "/a?", "/mirrors/proxy/a", "/dead/a", "/missing")
    }
    kept, no = str(EDGE_LIFETIME), "0"
    assert lifetimes == {
        "/a": kept, "/fresh/a": kept, "/a?q=1": kept, "/%61": no, "/a?": no, "/mirrors/proxy/a": no, "/dead/a": no,
        "/missing": no,
    }  # fmt: skip


def test_a_private_mirror_is_kept_nowhere(site: Site, edge: Edge) -> None:
    site.fill(
        "/a", BODY, headers=[("Cache-Control", "public, max-age=9"), ("Expires", "Thu, 01 Jan 2099 00:00:00 GMT")]
    )
    site.order(private=True)
    refused = edge.get("/a")
    assert (refused.status, refused.headers["x-accel-expires"]) == (401, "0")
    answer = edge.get("/a", {"Authorization": f"Bearer {site.service.admin_token}"})
    assert _file(site.service, answer) == BODY.read()
    assert (answer.headers["x-accel-expires"], answer.headers["cache-control"]) == ("0", "private")
    assert "expires" not in answer.headers


def test_a_published_key_has_a_name_for_the_internal_cache(shared_service: Service, secret: str) -> None:
    bucket = Bucket(shared_service, "published-by-edge")
    bucket.put("k", b"first")
    first = bucket.published("k", {EDGE: secret})
    assert first.headers["cache-control"] == "private, no-cache"
    assert "x-accel-redirect" in first.headers
    bucket.put("k", b"second")
    second = bucket.published("k", {EDGE: secret})
    assert second.headers[STORE_KEY] != first.headers[STORE_KEY]
    assert bucket.published("k", {EDGE: secret, "X-CephStorage-Store-Failed": "404"}).body == b"second"
    assert STORE_KEY not in bucket.published("k").headers


# -- slices of fills under way


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no ranges"])
def test_slices_of_a_cold_object_are_whole_and_alike(site: Site, edge: Edge, ranges: bool) -> None:
    gate = Gate()
    site.put("/a", BODY, ranges=ranges, gate=gate, gate_after=2 * MIB, etag='"v1"')
    first = edge.slice("/a")
    assert first.body == BODY.read(0, SLICE_SIZE)
    gate.set()
    answers = [edge.slice("/a", number) for number in (LAST, 2)]
    site.stored("a")
    for number, answer in zip((0, LAST, 2), [first, *answers], strict=True):
        start = number * SLICE_SIZE
        end = min(start + SLICE_SIZE, len(BODY))
        assert answer.status == 206
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(BODY)}"
        assert answer.headers["etag"] == '"v1"'
        assert answer.headers["last-modified"] == first.headers["last-modified"]
        if "x-accel-redirect" not in answer.headers:
            assert answer.body == BODY.read(start, end)
            assert answer.headers["x-accel-expires"] == "0"
    assert site.body_bytes("/a") == len(BODY)


def test_a_slice_far_ahead_comes_first(site: Site, edge: Edge) -> None:
    big = Content(63, 40 * MIB)
    gate = Gate()
    site.put("/big", big, gate=gate, gate_after=MIB + 1)
    assert edge.slice("/big", 0).body == big.read(0, SLICE_SIZE)
    assert edge.slice("/big", 39).body == big.read(39 * SLICE_SIZE)
    gate.set()
    assert site.stored("big")["md5"] == big.md5
    assert site.body_bytes("/big") < len(big) + 4 * MIB, "but for what was on its way when a pull was cut short"


def test_a_slice_waits_until_all_of_it_is_there(site: Site, edge: Edge) -> None:
    """The head of a slice that stops half-way is not sent: the client of the edge sees an error, not half a slice."""
    site.put(
        "/a", BODY, die_after=_once_whole(SLICE_SIZE + SLICE_SIZE // 2), ranges=False, etag=None, last_modified=None
    )
    assert edge.slice("/a").status in {206, 502}
    answer = edge.slice("/a", 1)
    assert (answer.status, answer.headers["x-accel-expires"]) == (502, "0")
    assert "content-range" not in answer.headers


def _once_whole(size: int) -> object:
    return lambda _: size


def test_an_origin_that_dies_and_returns_is_not_seen_in_a_slice(site: Site, edge: Edge) -> None:
    site.put("/a", BODY, die_after=MIB + 1, die_times=2, how="rst", etag='"v1"')
    pieces = [edge.slice("/a", number) for number in range(LAST + 1)]
    assert all(piece.status == 206 or "x-accel-redirect" in piece.headers for piece in pieces)
    assert site.stored("a")["md5"] == BODY.md5
    assert site.body_bytes("/a") == len(BODY)


def test_a_slice_with_the_end_waits_for_the_digest(site: Site, edge: Edge) -> None:
    site.put("/wrong", BODY, headers=[("Repr-Digest", "sha-256=:" + "A" * 43 + "=:")])
    last = edge.slice("/wrong", LAST)
    assert (last.status, problem_code(last)) == (502, "digest_mismatch")
    assert last.headers["x-accel-expires"] == "0"
    assert site.settled("/wrong")["record"] is None


def test_an_object_of_unknown_length_is_one_chunked_answer(site: Site, edge: Edge) -> None:
    gate = Gate()
    site.put("/a", BODY, framing="chunked", gate=gate, gate_after=MIB)
    with edge.open_slice("/a") as answer:
        assert answer.status == 200
        assert "content-length" not in answer.headers
        assert answer.headers["x-accel-expires"] == "0"
        gate.set()
        assert answer.rest() == BODY.read()


def test_an_object_of_unknown_length_that_breaks_ends_without_an_end(site: Site, edge: Edge) -> None:
    site.put("/a", BODY, framing="chunked", die_after=MIB, how="rst", etag=None, last_modified=None)
    with edge.open_slice("/a") as answer:
        assert answer.status == 200
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.rest()


@pytest.mark.parametrize("mode", ["no-store", "bypass"])
def test_what_is_not_stored_is_a_slice_only_where_slices_can_be_told_apart(site: Site, edge: Edge, mode: str) -> None:
    big, control = Content(64, 12 * MIB), [("Cache-Control", "no-store")] if mode == "no-store" else []
    if mode == "bypass":
        site.order(mode="bypass")
    for path, etag, ranges in (("/strong", '"v"', True), ("/weak", 'W/"v"', True), ("/none", '"v"', False)):
        site.put(path, big, headers=control, etag=etag, ranges=ranges)
        first, later = edge.slice(path), edge.slice(path, 9)
        assert (first.status, len(first.body)) == (200, len(big)), path
        assert later.status == (206 if path == "/strong" else 200), path
        assert later.body == (big.read(9 * SLICE_SIZE, 10 * SLICE_SIZE) if path == "/strong" else big.read()), path
        assert {first.headers["x-accel-expires"], later.headers["x-accel-expires"]} == {"0"}


def test_a_slice_of_what_is_not_stored_breaks_before_its_head(site: Site, edge: Edge) -> None:
    site.order(mode="bypass")
    site.put("/a", BODY, die_after=MIB // 2, how="rst", etag='"v"')
    answer = edge.slice("/a", 2)
    assert (answer.status, answer.headers["x-accel-expires"]) == (502, "0")


def test_an_object_that_changes_between_slices_shows_another_etag(site: Site, edge: Edge) -> None:
    site.put(
        "/a", BODY, etag='"v1"', die_after=_first_time, change_after_requests=1, changed_body=OTHER, changed_etag='"v2"'
    )
    assert edge.slice("/a").headers["etag"] == '"v1"'
    later = edge.slice("/a", 2)
    assert later.headers["etag"] == '"v2"'
    assert later.headers["content-range"].endswith(f"/{len(OTHER)}")


def _first_time(request: LoggedRequest) -> int:
    return MIB + 1


def test_the_secret_is_nowhere_to_be_seen(site: Site, edge: Edge, shared_service: Service) -> None:
    site.fill("/a", BODY)
    answers = [edge.get("/a"), edge.get("/missing"), edge.again("/a", 502)]
    assert all(edge.secret not in str(answer.headers) + str(answer.body[:4096]) for answer in answers)
    assert edge.secret not in shared_service.log()
    assert edge.secret not in str(shared_service.json("GET", "/config"))
    assert not any(edge.secret in path.read_text(errors="replace") for path in _small_files(shared_service.data_dir))


def _small_files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file() and not path.name.startswith("cephstorage.db")]
