"""Roles and orderly stops: who works on what, and what clients see of a process that is told to end."""

import contextlib
import http.client
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cephstorage.domain.edge import EDGE
from cephstorage.proxy.forward import FORWARDED
from tests.e2e.mirror.site import Site
from tests.harness.aftermath import spooled_bytes
from tests.harness.behaviour import Gate
from tests.harness.content import MIB, Content
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.ports import free_port
from tests.harness.service import Service, Worker

KEYS = "/ceph/alice/photos/keys"
BIG = Content(11, 12 * MIB + 17)
HELD = 6 * MIB
NEVER = "600"
"""A lease so long that no test waits for its end: what others go on with was given back."""


@pytest.fixture
def house(tmp_path: Path, origin: FaultOrigin) -> Iterator["House"]:
    with contextlib.ExitStack() as stack:
        yield House(stack, tmp_path / "data", origin)


class House:
    """Processes of one installation, on one data folder."""

    def __init__(self, stack: contextlib.ExitStack, data_dir: Path, origin: FaultOrigin) -> None:
        self._stack = stack
        self._data_dir = data_dir
        self._settings = {"origin_allowed_ports": str(origin.port), "transfer_lease": NEVER}

    def begin(self, kind: type[Service], **settings: str) -> Service:
        process = kind(self._data_dir, **self._settings, **settings)
        self._stack.callback(process.stop)
        return process.start()

    def serve(self, **settings: str) -> Service:
        """A serving process with a bucket for alice."""
        service = self.begin(Service, **settings)
        service.json("PUT", "/ceph/alice/photos")
        return service


def create(service: Service, origin: FaultOrigin, name: str) -> str:
    order = {"key_url": f"{origin.url}/{name}", "key_name": name}
    return str(service.json("POST", KEYS, order)["token"])


def progress(service: Service, token: str) -> dict[str, Any]:
    return dict(service.json("GET", f"/ceph/progress/{token}"))


def succeeded(service: Service, token: str) -> None:
    ended = until(lambda: progress(service, token), lambda seen: seen["state"] != "inprogress")
    assert ended["state"] == "success", ended


# -- roles


def test_a_worker_does_what_serving_processes_only_take_in(house: House, origin: FaultOrigin) -> None:
    service = house.serve(background="false")
    origin.put("/k", BIG)
    token = create(service, origin, "k")
    site = Site(service, origin, "m")
    site.order()
    site.put("/cold", b"a fill runs where it is asked for")
    assert site.get("/cold").body == b"a fill runs where it is asked for"
    assert (origin.count("/k"), progress(service, token)["phase"]) == (0, "queued")
    house.begin(Worker)
    succeeded(service, token)
    assert service.json("GET", f"{KEYS}/k")["md5"] == BIG.md5


def test_a_fill_left_behind_waits_for_a_serving_process(house: House, origin: FaultOrigin) -> None:
    service = house.serve(background="false")
    site = Site(service, origin, "m")
    site.order()
    behaviour = site.put("/cold", BIG, gate=Gate(), gate_after=HELD)
    with ThreadPoolExecutor(1) as pool:
        client = pool.submit(site.get, "/cold")
        until(lambda: spooled_bytes(service.data_dir), lambda count: count == HELD)
        site.resumable("/cold")
        origin.put("/k", b"due after the fill")
        create(service, origin, "k")
        service.kill()
        assert client.exception(60) is not None, "a cut body looked complete"
    behaviour.gate = None
    worker = house.begin(Worker)
    until(lambda: origin.count("/k"))
    until(lambda: "dead_owner_buried" in worker.log())
    assert origin.count("/cold") == 1
    service.start()
    assert site.stored("cold")["md5"] == BIG.md5
    assert origin.body_bytes("/cold") == BIG.size


def test_a_worker_shows_its_health_and_nothing_else(house: House) -> None:
    service, port = house.serve(), free_port()
    house.begin(Worker, worker_listen=f"127.0.0.1:{port}")
    service.url = f"http://127.0.0.1:{port}"
    answers = {path: service.call("GET", path).status for path in ("/healthz", "/readyz", "/metrics", "/tokens")}
    assert answers == {"/healthz": 200, "/readyz": 200, "/metrics": 200, "/tokens": 404}


@pytest.mark.parametrize("kind", [Worker, Service])
def test_a_stopped_process_hands_its_transfers_over_at_once(
    house: House, origin: FaultOrigin, kind: type[Service]
) -> None:
    service = house.serve(background="false")
    first = house.begin(kind)
    behaviour = origin.put("/k", BIG, gate=Gate(), gate_after=HELD)
    token = create(service, origin, "k")
    until(lambda: spooled_bytes(service.data_dir), lambda count: count == HELD)
    until(lambda: progress(service, token), lambda seen: seen["phase"] == "fetching")
    second = house.begin(Worker)
    behaviour.gate = None
    assert first.stop() == 0
    succeeded(service, token)
    assert origin.body_bytes("/k") == BIG.size
    assert "dead_owner_buried" not in second.log()


# -- what clients see of a stop


def test_requests_under_way_finish_within_the_grace(house: House, origin: FaultOrigin) -> None:
    service = house.serve()
    site, gate = Site(service, origin, "m"), Gate()
    site.order()
    site.put("/cold", BIG, gate=gate, gate_after=HELD)
    with site.open("/cold") as answer, ThreadPoolExecutor(1) as pool:
        start = answer.read(HELD)
        stopping = pool.submit(service.stop)
        until(lambda: refused(service.port))
        gate.set()
        assert start + answer.rest() == BIG.read()
        assert stopping.result() == 0


def test_after_the_grace_nobody_gets_what_looks_whole(house: House, origin: FaultOrigin) -> None:
    service = house.serve(grace="0.5")
    site = Site(service, origin, "m")
    site.order()
    site.put("/begun", BIG, gate=Gate(), gate_after=HELD)
    silent = Gate()
    site.put("/silent", BIG, header_gate=silent)
    with ThreadPoolExecutor(8) as pool, site.open("/begun") as begun:
        start = begun.read(HELD)
        waiting = pool.submit(site.get, "/silent")
        elsewhere = [pool.submit(site.get, "/silent", {name: "x"}) for name in (EDGE, FORWARDED)]
        assert silent.reached.wait(60)
        until(lambda: established(service.port), lambda count: count == 4)
        assert service.stop() == 0
        assert (waiting.result().status, waiting.result().headers["retry-after"]) == (503, "1")
        for client in elsewhere:
            with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
                client.result()
        assert start + begun.until_cut() == BIG.read(0, HELD)


def test_a_stopped_service_goes_on_with_a_fill_where_it_was(house: House, origin: FaultOrigin) -> None:
    service = house.serve(grace="0.1")
    site = Site(service, origin, "m")
    site.order()
    behaviour = site.put("/cold", BIG, gate=Gate(), gate_after=HELD)
    with site.open("/cold") as answer:
        answer.read(HELD)
        assert service.stop() == 0
    behaviour.gate = None
    service.start()
    assert site.get("/cold").body == BIG.read()
    assert origin.body_bytes("/cold") == BIG.size


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return True
    return False


def established(port: int) -> int:
    """Connections that a port of this machine has taken (proc(5), state 01)."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(fields[1].endswith(f":{port:04X}") and fields[3] == "01" for fields in lines)
