"""However many ask for a cold object, the origin is asked once, and nobody waits for the others."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier

import pytest

from tests.e2e.mirror.site import Download, Site
from tests.harness.behaviour import Gate
from tests.harness.content import MIB, Content
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.service import Service

CLIENTS = 50
BODY = Content(21, 64 * MIB)
SMALL = Content(22, 6 * MIB)


@contextmanager
def _waiting(site: Site, path: str, gate: Gate, clients: int = CLIENTS) -> Iterator[list[Future[Download]]]:
    """Clients whose requests have reached the service, which holds them until the origin answers.

    Requests are served in the order in which they come: when a later one has its answer (twice: one round
    to be accepted, one to be read), the others have been looked at.
    """
    sent = Barrier(clients + 1, timeout=60)

    def client(_: int) -> Download:
        with site.open(path, on_sent=sent.wait) as answer:
            answer.body = answer.rest()
            return answer

    with ThreadPoolExecutor(clients) as pool:
        asked = [pool.submit(client, number) for number in range(clients)]
        sent.wait()
        assert gate.reached.wait(60)
        for _ in range(3):
            assert site.explain(path)["filling"] is True
        yield asked


def _read_held(site: Site, path: str, body: Content, gate: Gate, clients: int) -> None:
    """All clients have the first bytes before the gate opens; all end with the right body."""
    held = Barrier(clients + 1, timeout=120)
    first = MIB // 2

    def client(_: int) -> tuple[int, str]:
        with site.open(path) as answer:
            assert answer.status == 200
            start = answer.read(first)
            held.wait()
            digest = hashlib.md5(start, usedforsecurity=False)
            for _ in range(first, body.size, first):
                digest.update(answer.read(first))
            assert answer.rest() == b""
            return body.size, digest.hexdigest()

    with ThreadPoolExecutor(clients) as pool:
        reading = [pool.submit(client, number) for number in range(clients)]
        held.wait()
        assert site.body_bytes(path) == MIB
        assert site.record(path[1:]) is None
        gate.set()
        assert {one.result() for one in reading} == {(body.size, body.md5)}


def test_fifty_clients_of_one_cold_object(site: Site) -> None:
    gate = Gate()
    site.put("/big", BODY, gate=gate, gate_after=MIB)
    _read_held(site, "/big", BODY, gate, CLIENTS)
    assert site.stored("big")["md5"] == BODY.md5
    assert site.count("/big") == 1
    assert site.body_bytes("/big") == BODY.size


def test_clients_that_come_before_the_origins_head(site: Site) -> None:
    gate = Gate()
    site.put("/a", b"small", header_gate=gate)
    with _waiting(site, "/a", gate) as asked:
        gate.set()
        assert {one.result().body for one in asked} == {b"small"}
    assert site.count("/a") == 1


@pytest.mark.stacks("direct")  # an edge sends waiting clients on one after the other, some of them after the error
@pytest.mark.parametrize(("status", "framing"), [(404, "length"), (404, "chunked"), (403, "length"), (500, "length")])
def test_one_error_answers_all_who_waited(site: Site, status: int, framing: str) -> None:
    gate = Gate()
    site.put("/gone", b"what the origin says", status=status, header_gate=gate, framing=framing)
    with _waiting(site, "/gone", gate) as asked:
        gate.set()
        answers = [one.result() for one in asked]
    assert {(answer.status, answer.body) for answer in answers} == {(status, b"what the origin says")}
    assert {answer.headers["etag"] for answer in answers} == {answers[0].headers["etag"]}
    assert site.record("gone") is None
    assert site.count("/gone") == 1


def test_an_error_is_not_remembered(site: Site) -> None:
    assert site.get("/late").status == 404
    site.put("/late", b"now it is there")
    assert site.get("/late").body == b"now it is there"


def test_waiters_are_released_as_soon_as_the_answer_proves_unstorable(site: Site) -> None:
    """Each gets an answer of its own: nobody waits for the first one's body, which is held back for ever."""
    heads, bodies = Gate(), Gate()
    held = []

    def body_gate(request: object) -> Gate | None:
        held.append(request)
        return bodies if len(held) == 1 else None

    no_store = [("Cache-Control", "no-store")]
    site.put("/live", SMALL, headers=no_store, header_gate=heads, gate=body_gate, gate_after=MIB)
    with _waiting(site, "/live", heads, clients=8) as asked:
        assert site.count("/live") == 1
        heads.set()
        until(lambda: sum(one.done() for one in asked), lambda done: done == 7)
        bodies.set()
        assert {one.result().body for one in asked} == {SMALL.read()}
    assert site.record("live") is None
    assert site.count("/live") == 8


def test_two_keys_do_not_wait_for_each_other(site: Site) -> None:
    gate = Gate()
    site.put("/held", SMALL, gate=gate)
    site.put("/free", b"free")
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(site.get, "/held")
        assert gate.reached.wait(60)
        assert site.get("/free").body == b"free"
        gate.set()
        assert held.result().body == SMALL.read()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, shared_origin: FaultOrigin) -> Iterator[Site]:
    """A mirror on two processes. Each learns the mirrors before it opens the socket for its peers."""
    folder = tmp_path_factory.mktemp("pair")
    service = Service(folder / "data", origin_allowed_ports=str(shared_origin.port), workers="2").start()
    site = Site(service, shared_origin, "pair", "/pair")
    site.order()
    service.stop()
    service.start()
    until(lambda: list((service.data_dir / "run").glob("*.sock")), lambda found: len(found) == 2)
    yield site
    service.stop()


def test_one_body_for_several_processes(pair: Site) -> None:
    gate = Gate()
    pair.put("/big", BODY, gate=gate, gate_after=MIB)
    _read_held(pair, "/big", BODY, gate, CLIENTS)
    assert pair.stored("big")["md5"] == BODY.md5
    assert pair.count("/big") == 1
    assert pair.body_bytes("/big") == BODY.size


def test_ranges_and_head_across_processes(pair: Site) -> None:
    gate = Gate()
    pair.put("/a", SMALL, gate=gate, gate_after=MIB, etag='"v1"')
    with pair.open("/a") as first:
        first.read(MIB)
        for _ in range(12):
            answer = pair.range("/a", "1000-2000")
            assert (answer.status, answer.body) == (206, SMALL.read(1000, 2001))
            assert answer.headers["content-range"] == f"bytes 1000-2000/{SMALL.size}"
            assert pair.head("/a").headers["content-length"] == str(SMALL.size)
            told = pair.explain("/a")
            assert (told["filling"], told["decision"]) == (True, "JoinFill")
            assert pair.range("/a", f"{SMALL.size}-").status == 416
            assert pair.get("/a", {"If-None-Match": '"v1"'}).status == 304
        gate.set()
        assert first.rest() == SMALL.read(MIB)
    pair.stored("a")
    assert {pair.get("/a").body for _ in range(12)} == {SMALL.read()}
    assert [asked.method for asked in pair.logged("/a")] == ["GET"]
