"""The service on PostgreSQL: the same behaviour, several processes on one database, and its absence."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.mirror.site import Site
from tests.harness.aftermath import Aftermath, examine
from tests.harness.behaviour import Gate
from tests.harness.bucket import Bucket, address, md5
from tests.harness.content import MIB, Content
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.postgres import Postgres
from tests.harness.service import Reply, Service

pytestmark = pytest.mark.stacks("direct")  # it brings its own engines

BODY = b"bytes of an object" * 1000
LEASE = 2.0
Launch = Callable[..., Service]


def whole(content: Content) -> bytes:
    return b"".join(content.views(0, len(content)))


def unavailable(reply: Reply) -> bool:
    """Whether an answer says that the database is gone, and when to come back."""
    assert reply.status == 503, (reply.status, reply.body)
    assert int(reply.headers["retry-after"]) >= 1
    return bool(reply.json()["code"] == "database_unavailable")


def test_keys_are_stored_listed_and_deleted(launch: Launch, origin: FaultOrigin, postgres: Postgres) -> None:
    service = launch(database_url=postgres.fresh())
    bucket = Bucket(service, "alice")
    bucket.put("a/upload.txt", BODY)
    origin.put("/object", BODY)
    bucket.success(bucket.create("a/fetched.txt", f"{origin.url}/object"))
    assert bucket.read("a/fetched.txt") == bucket.read("a/upload.txt") == BODY
    assert [record["key"] for record in bucket.listing(vfolder="a")["keys"]] == ["a/fetched.txt", "a/upload.txt"]
    assert bucket.usage() == (2 * len(BODY), 2)
    bucket.delete("a/upload.txt")
    assert bucket.usage() == (len(BODY), 1)
    assert not (service.data_dir / "cephstorage.db").exists()
    assert service.stop() == 0


def test_what_one_process_changes_the_others_see(launch: Launch, origin: FaultOrigin, postgres: Postgres) -> None:
    url = postgres.fresh()
    one, two = (launch(database_url=url) for _ in range(2))
    here, there = Site(one, origin, "mirror"), Site(two, origin, "mirror")
    here.order()
    here.fill("/object", BODY)
    assert until(lambda: there.get("/object"), lambda answer: answer.status == 200).body == BODY
    assert here.count("/object") == 1
    token = one.json("POST", "/tokens", {"role": "admin"})
    assert two.call("GET", "/mirrors/host", token=token["token"]).status == 200
    one.json("DELETE", f"/tokens/{token['id']}")
    until(lambda: two.call("GET", "/mirrors/host", token=token["token"]).status == 401)
    Bucket(one, "mirrors", "mirror").delete("object")
    there.put("/object", b"new")
    assert there.get("/object").body == b"new"
    one.json("DELETE", f"/mirrors/host?mirror_host={here.host}")
    until(lambda: there.get("/object").status == 404)


@pytest.mark.parametrize("absence", ["killed", "frozen"])
def test_hits_go_on_and_writes_are_refused_while_the_database_is_gone(
    absence: str, launch: Launch, origin: FaultOrigin, own_postgres: Postgres
) -> None:
    url = own_postgres.fresh()
    service = launch(database_url=url, database_statement_timeout="2", database_lock_timeout="1")
    site, bucket = Site(service, origin, "mirror"), Bucket(service, "alice")
    site.order(private=True)
    auth = {"Authorization": f"Bearer {service.admin_token}"}
    site.put("/object", BODY)
    assert site.get("/object", auth).body == BODY
    site.stored("object")
    bucket.put("k", BODY)
    published = address(bucket.record("k")["url"])
    assert service.call("GET", published, token=None).body == BODY
    with gone(own_postgres, absence):
        for _ in range(3):
            hit = site.get("/object", auth)
            assert (hit.status, hit.body) == (200, BODY)
            assert service.call("GET", published, token=None).body == BODY
        assert unavailable(bucket.upload("new", b"x"))
        assert unavailable(bucket.post({"key_name": "fetched", "key_url": f"{origin.url}/object"}))
        assert unavailable(service.call("DELETE", bucket.target("k")))
        assert unavailable(service.call("GET", f"{bucket.path}/keys"))
        assert not ready(service)
        assert service.call("GET", "/healthz", token=None).status == 200
        assert own_postgres.password not in service.log()
        assert str(own_postgres.port).encode() not in bucket.upload("new", b"x").body
    until(lambda: bucket.upload("new", b"x").status == 201)
    until(lambda: ready(service))
    assert bucket.usage() == (len(BODY) + 1, 2)
    bucket.delete("k")
    assert service.call("GET", published, token=None).status == 404
    assert service.log().count("database_lost") == service.log().count("database_back") >= 1


def ready(service: Service) -> bool:
    """Whether the service has all its parts."""
    return service.call("GET", "/readyz", token=None).status == 200


@contextlib.contextmanager
def gone(postgres: Postgres, absence: str = "killed") -> Iterator[None]:
    """The database does not answer meanwhile."""
    if absence == "killed":
        postgres.kill()
    else:
        postgres.freeze()
    try:
        yield
    finally:
        if absence == "killed":
            postgres.start()
        else:
            postgres.thaw()


def test_transfers_under_way_outlive_an_outage_longer_than_their_lease(
    launch: Launch, origin: FaultOrigin, own_postgres: Postgres
) -> None:
    url = own_postgres.fresh()
    services = [launch(database_url=url, transfer_lease=str(LEASE)) for _ in range(2)]
    site, bucket = Site(services[0], origin, "mirror"), Bucket(services[0], "alice")
    site.order()
    fill, fetch = Content(1, 8 * MIB), Content(2, 8 * MIB)
    gates = [Gate(), Gate()]
    site.put("/fill", fill, gate=gates[0], gate_after=4 * MIB)
    origin.put("/fetch", fetch, gate=gates[1], gate_after=4 * MIB)
    token = bucket.create("fetched", f"{origin.url}/fetch")
    with site.open("/fill") as reader:
        for gate in gates:
            assert gate.reached.wait(60)
        with gone(own_postgres):
            killed = time.monotonic()
            for gate in gates:
                gate.set()
            assert reader.rest() == whole(fill)
            until(lambda: time.monotonic() > killed + 2 * LEASE)
    for service in services:
        until(partial(ready, service))
    progress = bucket.success(token)
    assert (progress["bytes_done"], progress["attempts"]) == (len(fetch), 1)
    assert site.stored("fill")["md5"] == md5(whole(fill))
    assert md5(bucket.read("fetched")) == md5(whole(fetch))
    assert origin.body_bytes("/fetch") == origin.body_bytes("/fill") == 8 * MIB
    assert examine(services[0].data_dir, "alice___photos", url).drift == []


def test_kills_of_the_database_under_load_lose_nothing_and_do_nothing_twice(
    launch: Launch, origin: FaultOrigin, own_postgres: Postgres
) -> None:
    url = own_postgres.fresh()
    service = launch(database_url=url, transfer_retry_cap="1")
    site, bucket = Site(service, origin, "mirror"), Bucket(service, "alice")
    site.order()
    site.fill("/hit", BODY)
    load = Load(site, bucket)
    for _ in range(3):
        acknowledged = load.acknowledged
        until(lambda seen=acknowledged: load.acknowledged > seen + 20)
        with gone(own_postgres):
            hits = load.hits
            until(lambda seen=hits: load.hits > seen + 20)
    until(lambda: ready(service))
    load.stop()
    for token in load.tokens.values():
        bucket.success(token)
    for key, body in load.kept.items():
        assert bucket.read(key) == body
    for path in load.filled:
        until(lambda path=path: site.record(path.removeprefix("/")))
    for name in ("alice___photos", "mirrors___mirror"):
        left = until(lambda name=name: examine(service.data_dir, name, url), lambda found: found.named == found.stored)
        assert left.drift == []
        assert_no_more_than_asked(left, load)


def test_a_standby_that_is_promoted_goes_on_with_all_that_was_acknowledged(
    launch: Launch, origin: FaultOrigin, own_postgres: Postgres, standby: Postgres
) -> None:
    """Failover as operators do it: both servers in the address, synchronous replication, the first one dies."""
    name = own_postgres.fresh().rpartition("/")[2]
    service = launch(database_url=both(own_postgres, standby, name), transfer_retry_cap="1")
    site, bucket = Site(service, origin, "mirror"), Bucket(service, "alice")
    site.order()
    site.fill("/hit", BODY)
    load = Load(site, bucket)
    until(lambda: load.acknowledged > 20)
    own_postgres.kill()
    hits = load.hits
    until(lambda: load.hits > hits + 20)  # nobody has been promoted yet
    standby.promote()
    acknowledged = load.acknowledged
    until(lambda: load.acknowledged > acknowledged + 20)
    load.stop()
    for token in load.tokens.values():
        bucket.success(token)
    for key, body in load.kept.items():
        assert bucket.read(key) == body
    for path in load.filled:
        until(lambda path=path: site.record(path.removeprefix("/")))
    for each in ("alice___photos", "mirrors___mirror"):
        look = partial(examine, service.data_dir, each, standby.url(name))
        left = until(look, lambda found: found.named == found.stored)
        assert left.drift == []
        assert_no_more_than_asked(left, load)


@pytest.fixture
def standby(own_postgres: Postgres) -> Iterator[Postgres]:
    """A server that has all that ``own_postgres`` acknowledges, and follows it."""
    server = Postgres(follows=own_postgres)
    own_postgres.await_standby()
    yield server
    server.close()


def both(one: Postgres, two: Postgres, name: str) -> str:
    """An address that names two servers."""
    user, _, _ = one.url(name).partition("@")
    return f"{user}@127.0.0.1:{one.port},127.0.0.1:{two.port}/{name}"


def assert_no_more_than_asked(left: Aftermath, load: "Load") -> None:
    """A key is published once by its one transfer; uploads that were refused may have been published all the same."""
    once = {key for key in left.records if key.startswith(("c", "f"))}
    assert all(left.records[key].generation == 1 for key in once)
    assert {key for key in left.records if key.startswith("c")} in (set(), set(load.tokens))


class Load:
    """Clients that upload, create from URLs, and read a mirror, until they are stopped. A wrong byte fails at once."""

    def __init__(self, site: Site, bucket: Bucket) -> None:
        self.site, self.bucket = site, bucket
        self.kept: dict[str, bytes] = {}
        self.tokens: dict[str, str] = {}
        self.filled: list[str] = []
        self.hits = 0
        self._stop = threading.Event()
        site.origin.put("/created", BODY)
        self._pool = ThreadPoolExecutor(4)
        self._workers = [
            self._pool.submit(self._for_ever, step) for step in (self._put, self._create, self._fill, self._hit)
        ]

    @property
    def acknowledged(self) -> int:
        failed = [worker for worker in self._workers if worker.done()]
        for worker in failed:
            worker.result()
        return min(len(self.kept), len(self.tokens), len(self.filled)) * 3

    def stop(self) -> None:
        """End the clients and raise what they found wrong."""
        self._stop.set()
        for worker in self._workers:
            worker.result()
        self._pool.shutdown()

    def _for_ever(self, step: Callable[[int], Any]) -> None:
        number = 0
        while not self._stop.is_set():
            step(number)
            number += 1

    def _put(self, number: int) -> None:
        body = f"{number}".encode() * 100
        reply = self.bucket.upload(f"u{number}", body)
        if reply.status == 201:
            assert reply.json()["md5"] == md5(body)
            self.kept[f"u{number}"] = body
        else:
            assert reply.status == 503, reply.body

    def _create(self, number: int) -> None:
        key = f"c{number}"
        reply = self.bucket.post({"key_name": key, "key_url": f"{self.site.origin.url}/created"})
        while reply.status == 503 and not self._stop.is_set():
            reply = self.bucket.post({"key_name": key, "key_url": f"{self.site.origin.url}/created"})
        if reply.status == 202:
            self.tokens[key] = reply.json()["token"]
            self.kept[key] = BODY
        else:
            assert reply.status == 503, reply.body

    def _fill(self, number: int) -> None:
        path, body = f"/f{number}", f"fill {number}".encode() * 50
        self.site.put(path, body)
        answer = self.site.get(path)
        while answer.status == 503 and not self._stop.is_set():
            answer = self.site.get(path)
        if answer.status == 200:
            assert answer.body == body
            self.filled.append(path)
        else:
            assert answer.status == 503, answer.body

    def _hit(self, _: int) -> None:
        answer = self.site.get("/hit")
        assert (answer.status, answer.body) == (200, BODY)
        self.hits += 1


def test_a_start_waits_for_the_database(tmp_path: Path, own_postgres: Postgres) -> None:
    url = own_postgres.fresh()
    own_postgres.stop()
    service = Service(tmp_path / "data", database_url=url)
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(service.start)
        until(lambda: "database_awaited" in service.log())
        own_postgres.start()
        starting.result()
    assert ready(service)
    assert service.stop() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("password", "password authentication failed"),
        ("name", "does not exist"),
        ("address", "CEPHSTORAGE_DATABASE_URL is no address"),
    ],
)
def test_a_start_that_can_not_succeed_ends_at_once_and_says_why(
    wrong: str, said: str, workers: str, tmp_path: Path, postgres: Postgres
) -> None:
    url = {
        "password": postgres.url("postgres", "not-the-password"),
        "name": postgres.url("nowhere"),
        "address": f"postgresql://u:{postgres.password}@[half/db",
    }[wrong]
    service = Service(tmp_path / "data", database_url=url, log_format="json", workers=workers)
    with pytest.raises((AssertionError, OSError)):
        service.start()
    assert service.wait() == 1
    lines = [json.loads(line) for line in service.log().splitlines()]
    assert {line["event"] for line in lines} == {"cannot_start"}
    assert len(lines) <= int(workers)
    assert said in lines[0]["msg"]
    assert not any(secret in service.log() for secret in ("not-the-password", postgres.password))
