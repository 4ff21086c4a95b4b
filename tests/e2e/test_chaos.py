"""kill -9 of each part of a whole installation under load: nothing that was promised is lost, nothing else is left over."""

import contextlib
import http.client
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.mirror.site import Site
from tests.harness.bucket import Bucket, md5
from tests.harness.ceph import DAEMONS, Ceph
from tests.harness.content import MIB, Content
from tests.harness.load import Load
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.postgres import Postgres
from tests.harness.s3 import Bystander
from tests.harness.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.usefixtures("started_anew")]

SIZES = (5000, MIB + 77, 5000, MIB + 77, 17 * MIB + 3)
"""The last is sent to Ceph in parts."""
FAILING = (OSError, http.client.HTTPException)
"""What a client meets while a part is dead, beside a status that says so."""
PATIENT = {
    "ceph_timeout": "2",
    "ceph_removal_grace": "5",  # longer than a request may hang in the gateway while its OSD is dead
    "ceph_abandon_after": "5",
    "transfer_attempts": "1000",
    "transfer_retry_base": "0.05",
    "transfer_retry_cap": "0.5",
    "transfer_lease": "3",
    "transfer_upload_patience": "5",
}


@pytest.fixture
def stack(tmp_path: Path, origin: FaultOrigin, own_ceph: Ceph, own_postgres: Postgres) -> Iterator[Stack]:
    engines = {
        "database_url": own_postgres.fresh(),
        "secret_key": "k" * 64,
        "store": "ceph",
        "ceph_gateway": own_ceph.gateway,
        "ceph_access_key": own_ceph.access_key,
        "ceph_secret_key": own_ceph.secret_key,
    }
    settings = {**PATIENT, "origin_allowed_ports": str(origin.port)}
    made = Stack(tmp_path / "data", proxies=2, worker=True, engines=engines, **settings)
    with contextlib.ExitStack() as stopping:
        stopping.callback(made.stop)
        yield made.start()


class Clients:
    """What is done under the chaos. ``promised``: md5 of what was confirmed; ``unsure``: sent, but not answered."""

    def __init__(self, stack: Stack, origin: FaultOrigin) -> None:
        self.origin = origin
        self.bucket = Bucket(stack, "alice")
        self.site = Site(stack, origin, "m")
        self.site.order()
        self.site.known_by(*stack.proxies)
        self.promised = {"up": md5(b"first")}
        self.bucket.put("up", b"first")
        self.unsure: dict[str, str] = {}
        self.tokens: dict[str, str] = {}
        self.filled = {"first": md5(b"first")}
        self.site.fill("/first", b"first")
        self.whole = 0

    def upload(self, number: int) -> bool:
        key, body = f"up{number}", Content(number, SIZES[number % 5])
        self.unsure[key] = body.md5
        with contextlib.suppress(*FAILING):
            if self.bucket.upload(key, body.read()).status == 201:
                self.promised[key] = self.unsure.pop(key)
        return key in self.promised

    def create(self, number: int) -> bool:
        key, body = f"created{number}", Content(10_000 + number, SIZES[number % 5])
        self.origin.put(f"/{key}", body)
        with contextlib.suppress(*FAILING):
            order = {"key_name": key, "key_url": f"{self.origin.url}/{key}"}
            answer = self.bucket.post(order, {"Idempotency-Key": key})
            if answer.status == 202:
                self.tokens[key] = answer.json()["token"]
                self.promised[key] = body.md5
        if key not in self.promised:
            self.unsure[key] = body.md5
        return key in self.promised

    def fill(self, number: int) -> bool:
        key, body = f"cold{number}", Content(20_000 + number, SIZES[number % 2])
        self.site.put(f"/{key}", body)
        self.filled[key] = body.md5
        return self._right(lambda: self.site.get(f"/{key}"), body.md5)

    def hit(self, number: int) -> bool:
        return self.again(self.filled, lambda key: self.site.get(f"/{key}"), number)

    def download(self, number: int) -> bool:
        stored = {key: value for key, value in dict(self.promised).items() if key.startswith("up")}
        return self.again(stored, self.bucket.published, number)

    def again(self, known: dict[str, str], get: Callable[[str], Any], number: int) -> bool:
        keys = list(known)
        key = keys[number * 7 % len(keys)]
        return self._right(lambda: get(key), known[key])

    def _right(self, get: Callable[[], Any], wanted: str) -> bool:
        """An answer may fail or break off; one that is whole is right."""
        with contextlib.suppress(*FAILING):
            try:
                answer = get()
            except AssertionError:
                return False  # a call on the way to the bytes was refused
            if answer.status == 200:
                assert md5(answer.body) == wanted
                self.whole += 1
                return True
        return False


def test_each_part_is_killed_under_load(
    stack: Stack, origin: FaultOrigin, own_ceph: Ceph, own_postgres: Postgres
) -> None:
    clients = Clients(stack, origin)
    with ThreadPoolExecutor(5) as pool:
        load = Load(pool, pace=0.2)
        try:
            for name in ("upload", "create", "fill", "hit", "download"):
                load.keep(name, getattr(clients, name))
            for kill, revive in deaths(stack, own_ceph, own_postgres):
                load.a_round(1)
                kill()
                load.a_round(1)
                revive()
                until(lambda: ready(stack))
            load.a_round(1)
        finally:
            load.end()
    assert load.wrong == []
    assert clients.whole > 0
    assert_nothing_lost(clients)
    assert_nothing_left_over(clients, own_ceph)


def deaths(stack: Stack, ceph: Ceph, postgres: Postgres) -> Iterator[tuple[Callable[[], object], Callable[[], object]]]:
    """How each part dies, and how it comes back."""
    for member in stack.members:
        yield member.kill, member.start
    for daemon in DAEMONS:
        yield lambda daemon=daemon: ceph.kill(daemon), lambda daemon=daemon: ceph.launch(daemon)
    yield postgres.kill, postgres.start
    yield stack.edge.kill_nginx, lambda: until(stack.edge.healthy)
    yield lambda: (stack.edge.kill(), stack.kill()), lambda: (stack.edge.start(), stack.start())


def ready(stack: Stack) -> bool:
    with contextlib.suppress(*FAILING):
        return all(proxy.call("GET", "/readyz", token=None).status == 200 for proxy in stack.proxies)
    return False


def assert_nothing_lost(clients: Clients) -> None:
    bucket = clients.bucket
    for token in clients.tokens.values():
        assert bucket.success(token)
    for key, wanted in clients.promised.items():
        assert bucket.record(key)["md5"] == wanted
        assert md5(bucket.read(key)) == wanted
    for key, wanted in clients.filled.items():
        assert md5(clients.site.get(f"/{key}").body) == wanted
        assert clients.site.stored(key)["md5"] == wanted
    for key, wanted in clients.unsure.items():
        if key not in clients.promised and bucket.exists(key):
            assert bucket.record(key)["md5"] == wanted


def assert_nothing_left_over(clients: Clients, node: Ceph) -> None:
    """Ceph holds one version for each record, with its bytes, and no unfinished upload; the usage is the sum."""
    for path, full_name in ((clients.bucket.path, "alice___photos"), ("/ceph/mirrors/m", clients.site.bucket)):
        with contextlib.closing(Bystander(node, full_name)) as seen:
            service = clients.bucket.service

            def records(path: str = path) -> dict[str, Any]:
                page = clients.bucket.service.json("GET", f"{path}/keys?recursive=true&limit=1000")
                return {record["key"]: record for record in page["keys"]}

            until(lambda: sorted(key for key, _ in seen.versions()) == sorted(records()))
            until(seen.uploads, lambda found: found == [])
            usage = service.json("GET", path)
            sizes = [record["size"] for record in records().values()]
            assert (usage["size"], usage["keyamount"]) == (sum(sizes), len(sizes))
            for key, record in records().items():
                assert seen.md5(key) == record["md5"]
