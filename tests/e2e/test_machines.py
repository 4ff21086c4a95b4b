"""Machines that share nothing but PostgreSQL and Ceph: one fill for all, taken over from the dead, right bytes everywhere."""

import hashlib
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from tests.e2e.mirror.site import Site
from tests.harness.aftermath import spooled_bytes
from tests.harness.behaviour import Gate
from tests.harness.ceph import Ceph
from tests.harness.content import MIB, Content
from tests.harness.machines import Machines, shared_engines
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.postgres import Postgres

CLIENTS = 50
BODY = Content(31, 64 * MIB)
BIG = Content(32, 12 * MIB + 17)
HELD = 6 * MIB
FIRST = MIB // 2
KEYS = "/ceph/alice/photos/keys"


@pytest.fixture
def machines(tmp_path: Path, origin: FaultOrigin, postgres: Postgres, ceph: Ceph) -> Iterator[Machines]:
    shared = shared_engines(postgres, ceph)
    several = Machines(tmp_path, **shared, origin_allowed_ports=str(origin.port), transfer_lease="3")
    yield several
    several.stop()


@pytest.fixture
def pair(machines: Machines, origin: FaultOrigin) -> tuple[Site, Site]:
    """One mirror, seen through two machines that both know it."""
    first, second = (Site(machines.serve(name), origin, "m") for name in ("first", "second"))
    first.order()
    second.known_by(second.service)
    return first, second


@pytest.mark.slow
def test_fifty_clients_of_one_cold_object_on_two_machines(pair: tuple[Site, Site]) -> None:
    first, second = pair
    gate, held = Gate(), Barrier(CLIENTS + 1, timeout=120)
    first.put("/big", BODY, gate=gate, gate_after=MIB)

    def client(number: int) -> str:
        with pair[number % 2].open("/big") as answer:
            assert answer.status == 200
            digest = hashlib.md5(answer.read(FIRST), usedforsecurity=False)
            held.wait()
            for _ in range(FIRST, BODY.size, FIRST):
                digest.update(answer.read(FIRST))
            assert answer.rest() == b""
            return digest.hexdigest()

    with ThreadPoolExecutor(CLIENTS) as pool:
        reading = [pool.submit(client, number) for number in range(CLIENTS)]
        held.wait()
        assert first.body_bytes("/big") == MIB
        gate.set()
        assert {one.result() for one in reading} == {BODY.md5}
    assert second.stored("big")["md5"] == BODY.md5
    assert first.count("/big") == 1
    assert first.body_bytes("/big") == BODY.size
    assert hashlib.md5(second.get("/big").body, usedforsecurity=False).hexdigest() == BODY.md5
    assert first.count("/big") == 1


def test_ranges_conditions_and_heads_are_answered_by_the_owner(pair: tuple[Site, Site]) -> None:
    first, second = pair
    gate = Gate()
    first.put("/a", BIG, gate=gate, gate_after=MIB, etag='"v1"')
    with first.open("/a") as reading:
        start = reading.read(MIB)
        answer = second.range("/a", "1000-2000")
        assert (answer.status, answer.body) == (206, BIG.read(1000, 2001))
        assert answer.headers["content-range"] == f"bytes 1000-2000/{BIG.size}"
        assert second.head("/a").headers["content-length"] == str(BIG.size)
        assert second.range("/a", f"{BIG.size}-").status == 416
        assert second.get("/a", {"If-None-Match": '"v1"'}).status == 304
        gate.set()
        assert start + reading.rest() == BIG.read()
    assert first.count("/a") == 1


def test_a_private_mirror_is_private_on_the_way_to_the_owner(pair: tuple[Site, Site]) -> None:
    first, second = pair
    first.order(private=True)
    gate = Gate()
    first.put("/a", BIG, gate=gate, gate_after=MIB)
    until(lambda: second.get("/not-there").status == 401)
    allowed = {"Authorization": f"Bearer {first.service.admin_token}"}
    with first.open("/a", allowed) as reading:
        reading.read(MIB)
        assert second.range("/a", "0-9").status == 401
        assert second.range("/a", "0-9", Authorization=allowed["Authorization"]).body == BIG.read(0, 10)
        gate.set()
        reading.rest()


def test_a_request_reaches_the_owner_among_several_processes_of_its_machine(
    machines: Machines, origin: FaultOrigin
) -> None:
    many = Site(machines.serve("many", workers="3"), origin, "m")
    many.order()
    alone = Site(machines.serve("alone"), origin, "m")
    many.known_by(many.service, alone.service)
    until(lambda: list((many.service.data_dir / "run").glob("*.sock")), lambda found: len(found) == 3)
    gate = Gate()
    many.put("/a", BIG, gate=gate, gate_after=MIB)
    with many.open("/a") as reading:
        start = reading.read(MIB)
        for number in range(12):
            assert alone.range("/a", f"{number}-99").body == BIG.read(number, 100)
            assert many.range("/a", f"{number}-99").body == BIG.read(number, 100)
        gate.set()
        assert start + reading.rest() == BIG.read()
    assert many.count("/a") == 1


def test_another_machine_takes_over_from_a_killed_one(pair: tuple[Site, Site]) -> None:
    """The lease's end is the only news of its death. Its own clients are cut; all others wait and get everything."""
    first, second = pair
    behaviour = first.put("/cold", BIG, gate=Gate(), gate_after=HELD)
    with first.open("/cold") as cut, second.open("/cold") as forwarded, ThreadPoolExecutor(8) as pool:
        start = [answer.read(MIB) for answer in (cut, forwarded)]
        until(lambda: spooled_bytes(first.service.data_dir), lambda count: count == HELD)
        behaviour.gate = None
        first.service.kill()
        waiting = [pool.submit(second.get, "/cold") for _ in range(8)]
        received = start[0] + cut.until_cut()
        assert received == BIG.read(0, len(received))
        assert start[1] + forwarded.rest() == BIG.read()
        assert {one.result().body for one in waiting} == {BIG.read()}
    assert second.stored("cold")["md5"] == BIG.md5
    assert asks_for_each_byte_once([request.headers.get("range") for request in second.logged("/cold")][1:], BIG.size)
    assert second.body_bytes("/cold") == HELD + BIG.size


def asks_for_each_byte_once(ranges: list[str | None], size: int) -> bool:
    """Whether requests with these Range headers (None: for the whole) have all of an object between them, nothing twice."""
    asked = [(each or "bytes=0-").removeprefix("bytes=").partition("-") for each in ranges]
    pieces = sorted((int(first), int(last or size - 1)) for first, _, last in asked)
    return [*(first for first, _ in pieces), size] == [0, *(last + 1 for _, last in pieces)]


def test_a_frozen_machine_loses_its_fill_and_does_no_harm_when_it_thaws(pair: tuple[Site, Site]) -> None:
    first, second = pair
    behaviour = first.put("/cold", BIG, gate=Gate(), gate_after=HELD)
    with first.open("/cold") as old:
        start = old.read(MIB)
        until(lambda: spooled_bytes(first.service.data_dir), lambda count: count == HELD)
        resumed = behaviour.gate
        behaviour.gate = None
        os.kill(first.service.pid, signal.SIGSTOP)
        try:
            assert second.get("/cold").body == BIG.read()
        finally:
            os.kill(first.service.pid, signal.SIGCONT)
        resumed.set()
        received = start + old.as_far_as_it_comes()  # whether it notices its loss in time is its scheduler's business
        assert received == BIG.read(0, len(received))
    assert first.stored("cold")["generation"] == 1
    assert first.get("/cold").body == BIG.read()


def test_a_worker_on_another_machine_fetches_and_takes_over(
    machines: Machines, origin: FaultOrigin, pair: tuple[Site, Site]
) -> None:
    service = machines.serve("third", background="false")
    for site in pair:
        site.service.stop()
    service.json("PUT", "/ceph/alice/photos")
    behaviour = origin.put("/k", BIG, gate=Gate(), gate_after=HELD)
    worker = machines.work("worker")
    order = {"key_url": f"{origin.url}/k", "key_name": "k"}
    token = service.json("POST", KEYS, order)["token"]
    until(lambda: spooled_bytes(worker.data_dir), lambda count: count == HELD)
    other = machines.work("other")
    worker.kill()
    behaviour.gate = None
    ended = until(lambda: service.json("GET", f"/ceph/progress/{token}"), lambda seen: seen["state"] != "inprogress")
    assert ended["state"] == "success"
    assert service.json("GET", f"{KEYS}/k")["md5"] == BIG.md5
    assert "dead_owner_buried" not in other.log()
