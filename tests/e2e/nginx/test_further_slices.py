"""Slices after the first of what is stored: no proxy is asked for them, they are streamed, and never is a byte wrong."""

import http.client
import re
from contextlib import closing

import pytest

from cephstorage.domain import edge
from tests.e2e.nginx.stored import BODY, LAST, NOISE, TARGET, Stored, check
from tests.e2e.nginx.wire import MIRROR
from tests.harness.behaviour import LoggedRequest
from tests.harness.content import MIB

ALL = [f"bytes={start}-{start + MIB - 1}" for start in range(0, BODY.size, MIB)]


def ranges(requests: list[LoggedRequest]) -> list[str]:
    return [request.headers["range"] for request in requests]


def purge(stored: Stored, path: str, *numbers: int) -> None:
    """Have the edge forget some slices."""
    secret = re.search(r'X-Cephstorage-Edge "([0-9a-f]+)"', (stored.edge.run_dir / "nginx.conf").read_text())
    assert secret is not None
    with closing(http.client.HTTPConnection("127.0.0.1", stored.edge.purge_port, timeout=60)) as connection:
        for number in numbers:
            words = edge.purge_headers(secret[1], MIRROR, path, ALL[number])
            connection.request("GET", edge.PURGE_PATH, headers=dict(words))
            with connection.getresponse() as answer:
                assert answer.status in edge.PURGED
                answer.read()


def test_a_proxy_decides_once_for_all_slices_of_an_answer(stored: Stored) -> None:
    path = stored.point(keep=600, further=True)
    check(stored.ask(path), BODY.read(), 200)
    assert ranges(stored.proxy.logged()) == ALL[:1]
    assert ranges(stored.store.logged()) == ALL
    stored.proxy.reset_counters()
    stored.store.reset_counters()
    check(stored.ask(path), BODY.read(), 200)
    for number in range(len(ALL)):
        start = number * MIB
        check(stored.ask(path, headers=[("Range", f"bytes={start}-{start}")]), BODY.read(start, start + 1), 206)
    assert stored.proxy.logged() == stored.store.logged() == []


def test_what_an_answer_has_not_read_is_fetched_by_the_next_without_asking(stored: Stored) -> None:
    path = stored.point(keep=600, further=True)
    check(stored.ask(path, headers=[("Range", "bytes=0-9")]), BODY.read(0, 10), 206)
    stored.proxy.reset_counters()
    check(stored.ask(path), BODY.read(), 200)
    assert stored.proxy.logged() == []


def test_a_range_that_begins_later_is_decided_by_its_first_slice(stored: Stored) -> None:
    path = stored.point(keep=600, further=True)
    check(stored.ask(path), BODY.read(), 200)
    purge(stored, path, 2, 3, 4)
    stored.proxy.reset_counters()
    check(stored.ask(path, headers=[("Range", f"bytes={2 * MIB + 5}-")]), BODY.read(2 * MIB + 5), 206)
    assert ranges(stored.proxy.logged()) == ALL[2:3]


def test_without_slice_0_a_proxy_is_asked_for_every_slice(stored: Stored) -> None:
    path = stored.point(keep=600, further=True)
    check(stored.ask(path), BODY.read(), 200)
    purge(stored, path, 0, 3, 4)
    stored.proxy.reset_counters()
    check(stored.ask(path, headers=[("Range", f"bytes={2 * MIB + 5}-")]), BODY.read(2 * MIB + 5), 206)
    assert ranges(stored.proxy.logged()) == ALL[3:]


def test_each_slice_is_kept_as_long_as_the_proxy_said(stored: Stored) -> None:
    path = stored.point(keep=600, further=True)
    check(stored.ask(path, headers=[("Range", "bytes=0-9")]), BODY.read(0, 10), 206)
    stored.point(keep=-1, further=True)
    purge(stored, path, 0)
    for _ in range(2):
        check(stored.ask(path, headers=[("Range", "bytes=0-3000000")]), BODY.read(0, 3_000_001), 206)
    assert ranges(stored.store.logged()) == [*ALL[:1], *ALL[:3], *ALL[:3]]


@pytest.mark.parametrize("asked", [None, f"bytes=5-{BODY.size - 7}", "bytes=5-"], ids=str)
@pytest.mark.parametrize("after", [0, 1, 100_000])
@pytest.mark.parametrize("number", range(len(ALL)))
def test_a_store_that_dies_inside_any_slice_sends_no_wrong_byte(
    stored: Stored, number: int, after: int, asked: str | None
) -> None:
    """On a connection that is kept, so that a clean end before the announced length would be seen as one that hangs."""

    def dies(request: LoggedRequest) -> int | None:
        return after if request.headers["range"] == ALL[number] else None

    stored.store.put(TARGET, BODY, headers=NOISE, etag='"store"', die_after=dies)
    path = stored.point(keep=600, further=True, own_status=503)
    start, end = (0, BODY.size) if asked is None else (5, BODY.size - 6 if asked[-1] != "-" else BODY.size)
    with closing(http.client.HTTPConnection("127.0.0.1", stored.edge.port, timeout=20)) as connection:
        connection.request("GET", path, headers={"Host": MIRROR} | ({"Range": asked} if asked else {}))
        answer = connection.getresponse()
        if answer.status >= 500:
            assert number == 0
            return
        assert int(answer.headers["content-length"]) == end - start
        with pytest.raises((http.client.IncompleteRead, ConnectionError)) as broken:
            answer.read()
        got = broken.value.partial if isinstance(broken.value, http.client.IncompleteRead) else b""
        assert got == BODY.read(start, start + len(got))
        assert len(got) <= number * MIB + after
    stored.store.put(TARGET, BODY, headers=NOISE, etag='"store"')
    check(stored.ask(path), BODY.read(), 200)


@pytest.mark.parametrize("status", [400, 403, 404, 412, 429, 500, 503])
@pytest.mark.parametrize("number", [1, len(ALL) - 1])
def test_a_store_that_refuses_a_slice_is_told_to_the_proxy(stored: Stored, number: int, status: int) -> None:
    def refuses(request: LoggedRequest) -> int:
        return status if request.headers["range"] == ALL[number] else 200

    stored.store.put(TARGET, BODY, headers=NOISE, etag='"store"', status=refuses)
    path = stored.point(keep=600, further=True, own_etag='"public"')
    answer = stored.ask(path)
    assert (answer.status, answer.body) == (200, BODY.read())
    failed = [seen for seen in stored.proxy.logged() if edge.STORE_FAILED in seen.headers]
    assert {seen.headers["range"] for seen in failed} == {ALL[number]}
    assert {seen.headers[edge.STORE_FAILED] for seen in failed} == {str(status)}


def test_a_decision_that_holds_no_more_is_made_anew(stored: Stored) -> None:
    """The place has changed, as it does when the gateway's keys do: the proxy names the new one."""
    path = stored.point(keep=600, further=True)
    check(stored.ask(path, headers=[("Range", "bytes=0-9")]), BODY.read(0, 10), 206)
    stored.store.put(TARGET, b"<Error/>", status=403)
    stored.store.put("/moved", BODY, headers=NOISE, etag='"store"')
    stored.point(keep=600, further=True, target="/moved")
    stored.proxy.reset_counters()
    check(stored.ask(path), BODY.read(), 200)
    assert set(ranges(stored.proxy.logged())) == set(ALL[1:])
    assert not [seen for seen in stored.proxy.logged() if edge.STORE_FAILED in seen.headers]


def test_a_client_can_not_name_a_place(stored: Stored) -> None:
    path = stored.point(keep=600, further=True)
    evil = [
        (edge.FURTHER, f"store {LAST}"),
        (edge.STORE_TARGET, "/evil"),
        (edge.SLICE, "whole"),
        (edge.KEEP_UNTIL, "@1"),
    ]
    check(stored.ask(path, headers=evil), BODY.read(), 200)
    assert {seen.target for seen in stored.store.logged()} == {TARGET}
    assert [seen.headers[edge.SLICE] for seen in stored.proxy.logged()] == ["whole"]
    assert not {edge.FURTHER, edge.STORE_TARGET, edge.KEEP_UNTIL} & stored.last().headers.keys()


@pytest.mark.parametrize(
    ("headers", "whole"), [([], True), ([("Range", "bytes=0-")], False), ([("If-None-Match", '"x"')], True)], ids=str
)
def test_only_the_first_slice_of_all_may_be_answered_with_the_whole(
    stored: Stored, headers: list[tuple[str, str]], whole: bool
) -> None:
    path = stored.point()
    stored.ask(path, headers=headers)
    seen = stored.proxy.logged()
    assert [request.headers[edge.SLICE] == "whole" for request in seen] == [whole, *[False] * (len(seen) - 1)]
