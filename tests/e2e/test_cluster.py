"""One origin read per byte, cluster-wide: three machines, the owner of a fill killed or frozen, a thousand clients.

Machines are processes with a data folder and an address (a port of the loopback device) of their own, which share nothing
but PostgreSQL and Ceph.
"""

import asyncio
import contextlib
import hashlib
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.mirror.site import Download, Site
from tests.harness.aftermath import spooled_bytes
from tests.harness.behaviour import Gate
from tests.harness.ceph import Ceph
from tests.harness.content import MIB, Content
from tests.harness.islands import Archipelago, Island, require_namespaces
from tests.harness.machines import Machines, shared_engines
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.postgres import Postgres
from tests.harness.s3 import Bystander

BODY = Content(41, 24 * MIB + 5)
OTHER = Content(42, 24 * MIB + 5)
SMALL = Content(43, 256 * 1024)
CLIENTS = 1000


class Cluster(NamedTuple):
    """One mirror, seen through three machines that all know it, and whoever looks at the bucket from outside."""

    sites: list[Site]
    seen: Bystander

    def settled(self, key: str) -> None:
        """The store has the object once, under its first generation."""
        assert self.sites[-1].stored(key)["generation"] == 1
        until(self.seen.versions, lambda found: [name for name, _ in found] == [key])
        assert self.seen.uploads() == []


@pytest.fixture
def cluster(tmp_path: Path, origin: FaultOrigin, postgres: Postgres, ceph: Ceph) -> Iterator[Cluster]:
    engines = shared_engines(postgres, ceph)
    several = Machines(
        tmp_path, **engines, origin_allowed_ports=str(origin.port), transfer_lease="3", ceph_removal_grace="0.2"
    )
    sites = [Site(several.serve(name), origin, "m") for name in ("first", "second", "third")]
    sites[0].order()
    sites[1].known_by(*(site.service for site in sites))
    keys = engines["ceph_access_key"], engines["ceph_secret_key"]
    with contextlib.closing(Bystander(ceph, sites[0].bucket, *keys)) as seen:
        yield Cluster(sites, seen)
    several.stop()


Begin = Callable[..., tuple[Download, bytes]]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Begins downloads, reads so much of them, and closes them in the end."""
    with contextlib.ExitStack() as opened:

        def begin(site: Site, size: int = MIB, **headers: str) -> tuple[Download, bytes]:
            answer = opened.enter_context(site.open("/big", headers))
            return answer, answer.read(size)

        yield begin


@pytest.mark.parametrize("percent", [10, 50, 90])
def test_clients_of_other_machines_see_nothing_of_an_owners_death(cluster: Cluster, begin: Begin, percent: int) -> None:
    """Its own clients are cut, and get the rest by a Range of their own at any other machine.

    The next owner reads every byte once, be it that somebody waited already when it began, or not.
    """
    first, second, third = cluster.sites
    held = BODY.size * percent // 100
    behaviour = first.put("/big", BODY, etag='"v1"', gate=Gate(), gate_after=held)
    own, own_start = begin(first)
    forwarded, start = begin(second, held)
    ranged, ranged_start = begin(third, held - 1000, Range="bytes=1000-")
    until(lambda: spooled_bytes(first.service.data_dir), lambda count: count == held)
    behaviour.gate = None
    first.service.kill()
    assert forwarded.status == 200
    assert start + forwarded.rest() == BODY.read()
    assert ranged.headers["content-range"] == f"bytes 1000-{BODY.size - 1}/{BODY.size}"
    assert ranged_start + ranged.rest() == BODY.read(1000)
    received = own_start + own.until_cut()
    assert received == BODY.read(0, len(received))
    rest = third.get("/big", {"Range": f"bytes={len(received)}-", "If-Range": own.headers["etag"]})
    assert (rest.status, received + rest.body) == (206, BODY.read())
    cluster.settled("big")
    assert second.body_bytes("/big") - held == BODY.size
    until(lambda: "answer_goes_on" in second.service.log())


def test_a_frozen_owner_is_left_in_mid_body(cluster: Cluster, begin: Begin) -> None:
    first, second, _ = cluster.sites
    behaviour = first.put("/big", BODY, gate=Gate(), gate_after=8 * MIB)
    own, own_start = begin(first)
    forwarded, start = begin(second)
    until(lambda: spooled_bytes(first.service.data_dir), lambda count: count == 8 * MIB)
    held_up, behaviour.gate = behaviour.gate, None
    os.kill(first.service.pid, signal.SIGSTOP)
    try:
        assert start + forwarded.rest() == BODY.read()
    finally:
        os.kill(first.service.pid, signal.SIGCONT)
    held_up.set()
    own.close()
    assert own_start == BODY.read(0, MIB)
    cluster.settled("big")


def test_an_owner_that_is_cut_off_does_no_harm_when_it_is_back(
    tmp_path: Path, postgres: Postgres, ceph: Ceph, begin: Begin
) -> None:
    """A partition: the owner goes on, and nobody hears of it. Clients of the others get everything meanwhile."""
    require_namespaces()
    with Archipelago(tmp_path) as sea, FaultOrigin(host=sea.host) as origin:
        engines = shared_engines(postgres, ceph)
        reached = {name: sea.reached(engines[name]) for name in ("database_url", "ceph_gateway")}
        settings = {**engines, **reached, "origin_allowed_ports": str(origin.port), "transfer_lease": "3"}
        islands = [
            sea.island(name, **settings, origin_allowed_networks=sea.network) for name in ("first", "second", "third")
        ]
        islands[0].start()
        with ThreadPoolExecutor(2) as starting:
            list(starting.map(Island.start, islands[1:]))
        first, second, third = (Site(island, origin, "m") for island in islands)
        first.order()
        second.known_by(*islands)
        gate = Gate()
        behaviour = first.put("/big", BODY, etag='"v1"', gate=gate, gate_after=8 * MIB)
        own, start_there = begin(first)
        forwarded, start = begin(second)
        ranged, ranged_start = begin(third, Range="bytes=1000-")
        until(lambda: spooled_bytes(islands[0].data_dir), lambda count: count == 8 * MIB)
        behaviour.gate = None
        with islands[0].cut_off():
            assert start + forwarded.rest() == BODY.read()
            assert ranged_start + ranged.rest() == BODY.read(1000)
            stored = third.stored("big")
        gate.set()  # now it gets from the origin, too, what it waits for: all that is missing, were it not for its lease
        assert BODY.read().startswith(start_there + own.as_far_as_it_comes())
        again = until(lambda: first.get("/big"), lambda answer: answer.status == 200)  # it finds its database again
        assert again.body == BODY.read()
        now = third.record("big")
        assert [now[name] for name in ("generation", "ts", "etag")] == [
            stored[name] for name in ("generation", "ts", "etag")
        ]
        keys = engines["ceph_access_key"], engines["ceph_secret_key"]
        with contextlib.closing(Bystander(ceph, first.bucket, *keys)) as seen:
            until(seen.versions, lambda found: [name for name, _ in found] == ["big"])
            assert seen.uploads() == []


def test_the_rest_of_another_version_is_never_joined(cluster: Cluster, begin: Begin) -> None:
    first, second, third = cluster.sites
    first.put("/big", BODY, etag='"v1"', gate=Gate(), gate_after=8 * MIB)
    begin(first)
    forwarded, start = begin(second)
    until(lambda: spooled_bytes(first.service.data_dir), lambda count: count == 8 * MIB)
    first.put("/big", OTHER, etag='"v2"')
    first.service.kill()
    received = start + forwarded.until_cut()
    assert received == BODY.read(0, len(received))
    assert third.get("/big").body == OTHER.read()


def test_two_owners_die_one_after_the_other(cluster: Cluster, begin: Begin) -> None:
    """The third machine sleeps while the second takes over from the first, and is its client then."""
    first, second, third = cluster.sites
    behaviour = first.put("/big", BODY, gate=Gate(), gate_after=4 * MIB)
    begin(first)
    begin(second, 4 * MIB)
    forwarded, start = begin(third, 4 * MIB)
    behaviour.gate_after = 12 * MIB
    os.kill(third.service.pid, signal.SIGSTOP)
    try:
        first.service.kill()
        until(lambda: spooled_bytes(second.service.data_dir), lambda count: count >= 12 * MIB)
    finally:
        os.kill(third.service.pid, signal.SIGCONT)
    start += forwarded.read(4 * MIB)
    behaviour.gate = None
    second.service.kill()
    assert start + forwarded.rest() == BODY.read()
    cluster.settled("big")


@pytest.mark.slow
async def test_a_thousand_clients_of_one_cold_object(cluster: Cluster) -> None:
    """All of them have begun to read before the origin has sent half of it."""
    gate = Gate()
    cluster.sites[0].put("/cold", SMALL, gate=gate, gate_after=SMALL.size // 2)
    all_read, first_bytes = asyncio.Event(), 0

    async def client(site: Site) -> str:
        nonlocal first_bytes
        reader, writer = await asyncio.open_connection("127.0.0.1", site.service.port)
        writer.write(f"GET /cold HTTP/1.1\r\nHost: {site.host}\r\nConnection: close\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        digest = hashlib.md5(await reader.readexactly(1000), usedforsecurity=False)
        first_bytes += 1
        if first_bytes == CLIENTS:
            all_read.set()
        await all_read.wait()
        digest.update(await reader.readexactly(SMALL.size - 1000))
        assert await reader.read() == b""
        writer.close()
        return digest.hexdigest()

    async with asyncio.timeout(120):
        clients = [asyncio.create_task(client(cluster.sites[number % 3])) for number in range(CLIENTS)]
        waiting = asyncio.create_task(all_read.wait())
        await asyncio.wait({waiting, *clients}, return_when=asyncio.FIRST_COMPLETED)
        assert waiting.done(), next(one.exception() for one in clients if one.done())
        assert cluster.sites[0].body_bytes("/cold") == SMALL.size // 2
        gate.set()
        assert set(await asyncio.gather(*clients)) == {SMALL.md5}
    assert cluster.sites[0].count("/cold") == 1
    assert cluster.sites[0].body_bytes("/cold") == SMALL.size
    cluster.settled("cold")
