"""What breaks on the way: nobody ever gets wrong bytes with a clean end, and nothing wrong is ever stored."""

import base64
import hashlib
import http.client
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.mirror.site import Site, problem_code
from tests.harness.aftermath import spool_files
from tests.harness.behaviour import Gate, LoggedRequest
from tests.harness.content import MIB, Content
from tests.harness.patience import until

BIG = Content(31, 64 * MIB)
BODY = Content(32, 4 * MIB + 11)
OTHER = Content(33, 3 * MIB + 7)
CUT = (http.client.IncompleteRead, ConnectionError)


def _nothing_is_left(site: Site, path: str) -> None:
    assert site.settled(path)["record"] is None
    assert site.record(path[1:]) is None
    until(lambda: spool_files(site.service.data_dir), lambda left: not left)


def test_a_client_that_leaves_changes_nothing(site: Site) -> None:
    gate = Gate()
    site.put("/big", BIG, gate=gate, gate_after=2 * MIB)
    with site.open("/big") as leaving:
        leaving.read(MIB)
    gate.set()
    assert site.stored("big")["md5"] == BIG.md5
    assert site.body_bytes("/big") == BIG.size
    with site.origin_down():
        assert site.get("/big").body == BIG.read()


def test_a_client_that_leaves_before_the_head_changes_nothing(site: Site) -> None:
    gate = Gate()
    site.put("/a", BODY, header_gate=gate)
    site.ask_and_leave("/a", lambda: gate.reached.wait(60))
    gate.set()
    assert site.stored("a")["md5"] == BODY.md5
    assert site.count("/a") == 1


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("how", ["fin", "rst"])
def test_an_origin_that_dies_and_comes_back_goes_unnoticed(site: Site, how: str, framing: str) -> None:
    site.put("/a", BODY, die_after=MIB + 1, die_times=2, how=how, framing=framing, etag='"v1"')
    answer = site.get("/a")
    assert (answer.status, answer.body) == (200, BODY.read())
    assert site.stored("a")["md5"] == BODY.md5
    assert site.body_bytes("/a") == BODY.size
    assert {asked.headers["if-range"] for asked in site.logged("/a")[1:]} == {'"v1"'}


def test_an_origin_that_refuses_connections_for_a_moment(site: Site) -> None:
    gate = Gate()
    site.put("/a", BODY, gate=gate, gate_after=MIB)
    with site.open("/a") as answer:
        first = answer.read(MIB)
        with site.origin_down(cut=True):
            gate.set()
        assert first + answer.rest() == BODY.read()
    assert site.stored("a")["md5"] == BODY.md5
    assert site.body_bytes("/a") == BODY.size


def test_an_origin_without_ranges_is_resumed_from_its_beginning(site: Site) -> None:
    site.put("/a", BODY, die_after=MIB, die_times=1, ranges=False)
    assert site.get("/a").body == BODY.read()
    assert site.stored("a")["md5"] == BODY.md5


def _never_again(request: LoggedRequest) -> int:
    return 0 if "range" in request.headers else MIB


@pytest.mark.slow
def test_an_origin_that_stays_down_is_an_error(site: Site) -> None:
    faults = {f"/{how}/{framing}": (how, framing) for how in ("fin", "rst") for framing in ("length", "chunked")}
    for path, (how, framing) in faults.items():
        site.put(path, BODY, die_after=_never_again, how=how, framing=framing)

    def client(path: str) -> bytes:
        with site.open(path) as answer:
            assert answer.status == 200
            return answer.until_cut()

    with ThreadPoolExecutor(len(faults)) as pool:
        assert set(pool.map(client, faults)) == {BODY.read(0, MIB)}
    for path in faults:
        _nothing_is_left(site, path)
    site.put("/fin/length", BODY)
    assert site.get("/fin/length").body == BODY.read()


@pytest.mark.stacks("direct")  # nginx asks once more, so that the origin is asked more than once
def test_without_a_validator_a_broken_body_can_not_be_joined(site: Site) -> None:
    for framing in ("length", "chunked"):
        path = f"/{framing}"
        site.put(path, BODY, die_after=MIB, etag=None, last_modified=None, framing=framing)
        with site.open(path) as answer:
            assert len(answer.until_cut()) <= MIB
        _nothing_is_left(site, path)
        assert site.count(path) == 1


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_body_that_ends_with_its_connection_is_never_stored(site: Site, how: str) -> None:
    """Whole or truncated can't be told with FIN: it is passed through as it comes; RST is seen."""
    site.put("/whole", BODY, framing="close")
    site.put("/torn", BODY, framing="close", die_after=MIB, how=how)
    assert site.get("/whole").body == BODY.read()
    with site.open("/torn") as answer:
        assert "content-length" not in answer.headers
        if how == "rst":
            assert BODY.read().startswith(answer.until_cut())
        else:
            assert answer.rest() == BODY.read(0, MIB)
    for path in ("/whole", "/torn"):
        _nothing_is_left(site, path)


def test_an_object_that_changes_in_mid_fill_is_never_mixed(site: Site) -> None:
    site.put(
        "/a", BODY, etag='"v1"', die_after=MIB, die_times=1, change_after_bytes=MIB, changed_body=OTHER,
        changed_etag='"v2"',
    )  # fmt: skip
    with site.open("/a") as answer:
        assert answer.headers["etag"] == '"v1"'
        assert BODY.read().startswith(answer.until_cut())
    answer = site.get("/a")
    assert (answer.headers["etag"], answer.body) == ('"v2"', OTHER.read())
    record = site.stored("a")
    assert (record["etag"], record["md5"]) == ('"v2"', OTHER.md5)


def test_an_object_that_changes_between_two_ranges_is_never_mixed(site: Site) -> None:
    """The origin ignores If-Range and sends a 206 of the new version."""
    old, new = Content(34, 40 * MIB), Content(35, 40 * MIB)
    site.put(
        "/a", old, etag='"v1"', honours_if_range=False, change_after_requests=1, changed_body=new, changed_etag='"v2"'
    )
    tail = site.range("/a", "-1048576")
    assert tail.body == old.read(old.size - MIB)
    answer = site.get("/a")
    assert (answer.status, answer.headers["etag"]) == (200, '"v2"')
    assert answer.body == new.read()
    record = site.stored("a")
    assert (record["etag"], record["md5"]) == ('"v2"', new.md5)


def _digest_header(name: str, data: bytes) -> tuple[str, str]:
    if name == "Content-MD5":
        return name, base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    if name == "X-Goog-Hash":
        return name, "crc32c=AAAAAA==, md5=" + base64.b64encode(
            hashlib.md5(data, usedforsecurity=False).digest()
        ).decode()
    return name, "sha-256=:" + base64.b64encode(hashlib.sha256(data).digest()).decode() + ":"


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("name", ["Content-MD5", "Repr-Digest", "Content-Digest", "X-Goog-Hash"])
def test_declared_digests_are_held_against_the_bytes(site: Site, name: str, framing: str) -> None:
    """The last block is withheld until the digest is found right; a wrong one resets and gives the origin a rest."""
    site.fill("/right", BODY, headers=[_digest_header(name, BODY.read())], framing=framing)
    assert site.count("/right") == 1

    site.put("/wrong", BODY, headers=[_digest_header(name, b"something else")], framing=framing)
    with site.open("/wrong") as answer:
        assert answer.status == 200
        received = answer.until_cut()
    assert len(received) <= BODY.size - 64 * 1024
    assert BODY.read().startswith(received)
    _nothing_is_left(site, "/wrong")
    again = site.get("/wrong")
    assert (again.status, problem_code(again)) == (502, "origin_cooling")
    assert 1 <= int(again.headers["retry-after"]) <= 10
    assert site.count("/wrong") == 1


def test_a_small_object_with_a_wrong_digest_is_a_clean_error(site: Site) -> None:
    site.put("/wrong", b"small", headers=[_digest_header("Repr-Digest", b"other")])
    assert site.get("/wrong").status == 502
    _nothing_is_left(site, "/wrong")


def test_a_stored_copy_survives_a_wrong_digest(site: Site) -> None:
    site.order(mode="revalidate", ttl=0)
    site.fill("/a", BODY, etag='"v1"')
    site.put("/a", OTHER, etag='"v2"', headers=[_digest_header("Repr-Digest", b"else")])
    with site.open("/a") as answer:
        answer.until_cut()
    site.settled("/a")
    answer = site.get("/a")
    assert answer.body == BODY.read()
    assert "detail=stale" in answer.headers["cache-status"]


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Length: 5\r\n\r\nhellohello",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello",
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\nETag: "a"\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
        b"HTTP/1.1 200 OK\r\nX-Bad: a\x00b\r\nContent-Length: 5\r\n\r\nhello",
        b"nonsense\r\n\r\n",
        b"",
    ],
    ids=["two lengths", "negative", "bad chunk", "chunked and length", "coded", "nul", "nonsense", "silence"],
)
def test_broken_answers_are_never_stored(site: Site, raw: bytes) -> None:
    site.put("/a", raw=raw)
    try:
        answer = site.get("/a")
    except CUT:
        pass
    else:
        assert answer.status == 502
    _nothing_is_left(site, "/a")


def test_an_origin_that_asks_for_patience_in_mid_fill_gets_it(site: Site) -> None:
    """429 while a broken body is resumed: the reader waits and gets everything."""
    gate = Gate()
    behaviour = site.put(
        "/a", BODY, gate=gate, gate_after=MIB, die_after=MIB + 1, die_times=1, refuse_status=429, retry_after=1
    )
    with site.open("/a") as answer:
        first = answer.read(MIB)
        behaviour.refuse_times = 1
        gate.set()
        assert first + answer.rest() == BODY.read()
    assert [asked.status for asked in site.logged("/a")] == [200, 429, 206]
    assert site.body_bytes("/a") == BODY.size + len(b"not now\n")


@pytest.mark.parametrize("status", [429, 503])
def test_a_storm_of_refusals(site: Site, status: int) -> None:
    """What is stored is served; what isn't gets the origin's own answer, with what is left of its Retry-After."""
    site.order(rules=[{"path": "/fresh/**", "mode": "revalidate", "ttl": 0}])
    for path in ("/stored", "/fresh/stored"):
        site.fill(path, BODY)
    for path in ("/stored", "/fresh/stored", "/cold"):
        site.put(path, BODY, refuse_times=1000, refuse_status=status, retry_after=7)
    answers = site.get_all(["/stored", "/fresh/stored"] * 10)
    assert {(answer.status, answer.body) for answer in answers} == {(200, BODY.read())}
    assert site.count("/stored") == 1
    assert site.count("/fresh/stored") <= 2
    cold = site.get("/cold")
    assert cold.status == status
    assert 1 <= int(cold.headers["retry-after"]) <= 7
    _nothing_is_left(site, "/cold")


def test_an_unreachable_origin(site: Site) -> None:
    site.fill("/stored", BODY)
    with site.origin_down():
        assert site.get("/stored").body == BODY.read()
        cold = site.get("/cold")
        assert (cold.status, problem_code(cold)) == (502, "origin_unreachable")
        assert str(site.origin.port) not in site.head("/cold").headers.get("location", "")
    site.put("/cold", b"back")
    assert site.get("/cold").body == b"back"


def test_killed_in_mid_fill_the_service_ends_the_fill_after_its_restart(own_site: Callable[..., Site]) -> None:
    site = own_site()
    gate = Gate()
    site.put("/a", BODY, gate=gate, gate_after=2 * MIB)
    with site.open("/a") as answer:
        answer.read(2 * MIB)
        site.resumable("/a")
        site.service.kill()
        answer.until_cut()
    gate.set()
    site.service.start()
    assert site.stored("a")["md5"] == BODY.md5
    assert site.get("/a").body == BODY.read()
    until(lambda: spool_files(site.service.data_dir), lambda left: not left)
    resumed: list[Any] = [asked.headers.get("range") for asked in site.logged("/a")]
    assert resumed[1:] == [f"bytes={2 * MIB}-{BODY.size - 1}"]
