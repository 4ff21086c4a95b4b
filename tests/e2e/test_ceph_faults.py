"""Ceph fails under the service: nothing is lost, nothing is left over, nobody sees wrong bytes, and the operator is told."""

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPException
from urllib.parse import urlsplit

import pytest

from tests.harness import raw
from tests.harness.aftermath import spool_files
from tests.harness.bucket import Bucket
from tests.harness.ceph import Ceph, Daemon
from tests.harness.content import MIB, Content
from tests.harness.fault_proxy import Fault, FaultProxy
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.s3 import Bystander
from tests.harness.service import Reply, Service

pytestmark = pytest.mark.stacks("direct")  # it brings its own engines

Launch = Callable[..., Service]
BIG = Content(1, 40 * MIB + 5)
MEDIUM = Content(2, 3 * MIB)
SMALL = Content(3, 5000)
HOST = {"Host": "f.example"}


class World:
    """A service, its gateway behind a proxy, and somebody who looks at Ceph from outside."""

    def __init__(self, node: Ceph, proxy: FaultProxy, launch: Launch, **settings: str) -> None:
        own = {
            "store": "ceph",
            "ceph_gateway": proxy.address,
            "ceph_access_key": node.access_key,
            "ceph_secret_key": node.secret_key,
            "ceph_timeout": "2",
            "ceph_removal_grace": "0.2",
            "transfer_retry_base": "0.05",
            "transfer_retry_cap": "0.5",
            "transfer_lease": "3",
        }
        self.node, self.proxy = node, proxy
        self.service = launch(**{**own, **settings})
        # What the start tries at the gateway is over before a test counts or spoils requests.
        until(lambda: "store_abilities" in self.service.log())
        self.bucket = Bucket(self.service, "alice")
        self.seen = Bystander(node, "alice___photos")

    def ready(self) -> bool:
        return self.service.call("GET", "/readyz").status == 200

    def settled(self, *keys: str) -> None:
        """Ceph holds exactly one version of each of these keys, no unfinished upload, and the spool is empty."""
        until(lambda: sorted(key for key, _ in self.seen.versions()), lambda found: found == sorted(keys))
        until(self.seen.uploads, lambda found: found == [])
        until(lambda: spool_files(self.service.data_dir), lambda found: found == [])


Start = Callable[..., World]


@pytest.fixture
def start(own_ceph: Ceph, launch: Launch) -> Iterator[Start]:
    """Make a world on a cluster of its own, with settings."""
    worlds: list[World] = []
    with FaultProxy(urlsplit(own_ceph.gateway).port or 0) as proxy:

        def make(**settings: str) -> World:
            worlds.append(World(own_ceph, proxy, launch, **settings))
            return worlds[-1]

        yield make
        proxy.fault(None)
        for world in worlds:
            world.service.stop()
            world.seen.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as made:
        yield made


def stuck(world: World, pool: ThreadPoolExecutor, key: str = "k") -> "Future[Reply]":
    """An upload whose parts stop on their way to the gateway."""
    world.proxy.fault(Fault(hang_after=9 * MIB))
    before = world.proxy.sent_up
    uploading = pool.submit(world.bucket.upload, key, BIG.read())
    until(lambda: world.proxy.sent_up - before, lambda sent: sent >= 9 * MIB)
    assert len(world.seen.uploads()) == 1
    return uploading


# -- uploads


def test_the_gateway_is_killed_while_parts_are_sent(start: Start, pool: ThreadPoolExecutor) -> None:
    world = start()
    uploading = stuck(world, pool)
    world.node.kill("rgw")
    world.proxy.fault(None)
    until(world.ready, lambda ready: not ready)
    world.node.launch("rgw")
    assert uploading.result().status == 201
    world.settled("k")
    assert world.seen.md5("k") == BIG.md5
    assert world.bucket.usage() == (BIG.size, 1)


@pytest.mark.parametrize("end", ["kill", "pause"])
@pytest.mark.parametrize("body", [SMALL, BIG], ids=["small", "big"])
def test_the_osd_is_gone_and_comes_back(start: Start, pool: ThreadPoolExecutor, end: str, body: Content) -> None:
    """Without an OSD a request hangs for ever: it is given up after a while, and tried again."""
    world = start(ceph_timeout="1")
    world.node.kill("osd") if end == "kill" else world.node.pause("osd")
    uploading = pool.submit(world.bucket.upload, "k", body.read())
    until(lambda: "landing_waits_for_store" in world.service.log())
    assert not world.ready()
    assert "does not answer" in world.service.call("GET", "/readyz").json()["checks"]["store"]
    world.node.launch("osd") if end == "kill" else world.node.resume("osd")
    assert uploading.result().status == 201
    until(world.ready)
    world.settled("k")
    assert world.seen.md5("k") == body.md5


def test_the_service_is_killed_between_parts_and_its_successor_sends_the_rest(
    start: Start, pool: ThreadPoolExecutor
) -> None:
    world = start()
    uploading = stuck(world, pool)
    world.service.kill()
    assert isinstance(uploading.exception(), OSError | HTTPException)
    world.proxy.fault(None)
    [(_, upload)] = world.seen.uploads()
    there = world.seen.client.list_parts(Bucket="alice___photos", Key="k", UploadId=upload).get("Parts", [])
    before = world.proxy.sent_up
    world.service.start()
    until(lambda: world.service.call("GET", world.bucket.target("k")).status == 200)
    assert world.proxy.sent_up - before < BIG.size - sum(part["Size"] for part in there) + MIB
    world.settled("k")
    assert world.seen.md5("k") == BIG.md5
    assert world.bucket.usage() == (BIG.size, 1)


def test_a_gateway_that_stays_away_is_a_503_in_the_end_and_nothing_is_left(start: Start) -> None:
    world = start(transfer_upload_patience="0.5")
    world.node.kill("rgw")
    for body in (SMALL, MEDIUM, BIG):
        reply = world.bucket.upload("k", body.read())
        assert (reply.status, reply.json()["code"]) == (503, "store_unavailable")
        assert int(reply.headers["retry-after"]) >= 1
    assert spool_files(world.service.data_dir) == []
    world.node.launch("rgw")
    world.node.wait()
    until(world.ready)
    world.settled()
    world.bucket.put("k", SMALL.read())
    world.settled("k")


def test_uploads_given_up_in_the_middle_leave_no_parts(start: Start, pool: ThreadPoolExecutor) -> None:
    world = start(transfer_upload_patience="1", ceph_timeout="0.5")
    uploading = stuck(world, pool)
    assert uploading.result().status == 503
    world.proxy.fault(None)
    world.settled()


def test_when_the_spool_is_full_of_what_waits_uploads_are_refused(start: Start, pool: ThreadPoolExecutor) -> None:
    world = start(transfer_spool_quota=str(6 * MIB))
    world.node.kill("rgw")
    waiting = pool.submit(world.bucket.upload, "waits", Content(5, 4 * MIB).read())
    until(lambda: "landing_waits_for_store" in world.service.log())
    reply = world.bucket.upload("no room", MEDIUM.read())
    assert (reply.status, reply.json()["code"]) == (503, "store_unavailable")
    assert "retry-after" in reply.headers
    world.node.launch("rgw")
    assert waiting.result().status == 201
    world.settled("waits")


def test_an_orderly_stop_does_not_wait_for_a_gateway_that_is_gone(start: Start, pool: ThreadPoolExecutor) -> None:
    world = start(transfer_upload_patience="600")
    world.node.kill("rgw")
    uploading = pool.submit(world.bucket.upload, "k", SMALL.read())
    until(lambda: "landing_waits_for_store" in world.service.log())
    began = time.monotonic()
    assert world.service.stop() == 0
    assert time.monotonic() - began < 60
    assert uploading.result().status == 503


def test_a_quota_is_a_507_and_background_transfers_outlast_it(start: Start, origin: FaultOrigin) -> None:
    world = start()
    world.node.limit(world.node.user, size=MIB)
    reply = world.bucket.upload("k", MEDIUM.read())
    assert (reply.status, reply.json()["code"]) == (507, "quota_exceeded")
    assert "quota" in reply.json()["msg"]
    origin.put("/a", MEDIUM)
    token = world.bucket.create("a", f"{origin.url}/a")
    until(lambda: "transfer_attempt_failed" in world.service.log())
    world.node.limit(world.node.user, size=None)
    assert world.bucket.progress(token)["state"] == "inprogress"


def test_a_user_who_is_suspended_is_named(start: Start) -> None:
    world = start(transfer_upload_patience="0")
    world.bucket.put("before", MEDIUM.read())
    world.node.admin("user", "suspend", "--uid=cephstorage")
    reply = world.bucket.upload("k", SMALL.read())
    assert (reply.status, reply.json()["code"]) == (503, "store_misconfigured")
    assert "ceph_access_key" in reply.json()["msg"]
    assert world.node.secret_key not in world.service.log() + reply.body.decode()
    assert "ceph_access_key" in world.service.call("GET", "/readyz").json()["checks"]["store"]
    world.node.admin("user", "enable", "--uid=cephstorage")
    until(world.ready)
    world.bucket.put("k", SMALL.read())
    world.settled("before", "k")


def test_a_gateway_that_refuses_us_is_named_at_the_start(start: Start) -> None:
    world = start()
    assert "store_found" in world.service.log()
    world.service.stop()
    world.service.settings["ceph_secret_key"] = "wrong" * 8
    world.service.start()
    assert "store_not_ready" in world.service.log()
    assert "ceph_secret_key" in world.service.log().rpartition("store_not_ready")[2]


# -- creations


def test_a_creation_outlasts_the_gateway_and_asks_its_origin_once(start: Start, origin: FaultOrigin) -> None:
    world = start(transfer_attempts="1000")
    world.node.kill("rgw")
    origin.put("/a", MEDIUM)
    token = world.bucket.create("a", f"{origin.url}/a")
    until(lambda: world.service.log().count("transfer_attempt_failed"), lambda count: count >= 2)
    world.node.launch("rgw")
    world.bucket.success(token)
    assert origin.count("/a") == 1
    world.settled("a")
    assert world.seen.md5("a") == MEDIUM.md5


def test_a_creation_that_is_cancelled_while_its_parts_are_sent_leaves_nothing(
    start: Start, origin: FaultOrigin
) -> None:
    world = start()
    origin.put("/a", BIG)
    world.proxy.fault(Fault(hang_after=9 * MIB))
    token = world.bucket.create("a", f"{origin.url}/a")
    until(world.seen.uploads)
    assert world.service.call("DELETE", f"/ceph/progress/{token}").status == 200
    world.proxy.fault(None)
    world.settled()


# -- mirrors


def mirror(world: World, origin: FaultOrigin) -> None:
    world.service.json(
        "POST", "/mirrors/host", {"mirror": "f.example", "origin": origin.url, "bucket": "alice___photos"}
    )


@pytest.mark.parametrize("patience", ["600", "0"], ids=["waiting", "queued again"])
@pytest.mark.parametrize("body", [SMALL, MEDIUM, BIG], ids=["small", "medium", "big"])
def test_readers_of_a_mirror_do_not_notice_that_the_gateway_is_away(
    start: Start, origin: FaultOrigin, body: Content, patience: str
) -> None:
    world = start(transfer_fill_patience=patience, transfer_attempts="1000")
    mirror(world, origin)
    origin.put("/a", body)
    world.node.kill("rgw")
    for _ in range(3):
        reply = world.service.call("GET", "/a", None, HOST, token=None)
        assert (reply.status, reply.body == body.read()) == (200, True)
    until(lambda: "store" in world.service.log())
    assert world.service.call("GET", "/a", None, {**HOST, "Range": "bytes=10-19"}, token=None).body == body.read(10, 20)
    world.node.launch("rgw")
    until(lambda: world.service.call("GET", world.bucket.target("a")).status == 200)
    assert world.service.call("GET", "/a", None, HOST, token=None).body == body.read()
    assert origin.count("/a") == 1
    world.settled("a")
    assert world.seen.md5("a") == body.md5


def test_a_fill_is_taken_up_by_the_next_process_without_its_origin(start: Start, origin: FaultOrigin) -> None:
    world = start()
    mirror(world, origin)
    origin.put("/a", BIG)
    world.proxy.fault(Fault(hang_after=9 * MIB))
    assert world.service.call("GET", "/a", None, HOST, token=None).body == BIG.read()
    until(world.seen.uploads)
    world.service.kill()
    world.proxy.fault(None)
    world.service.start()
    until(lambda: world.service.call("GET", world.bucket.target("a")).status == 200)
    assert origin.count("/a") == 1
    world.settled("a")
    assert world.seen.md5("a") == BIG.md5


# -- housekeeping


def test_orphaned_uploads_are_aborted_by_age(start: Start) -> None:
    world = start(ceph_abandon_after="1")
    world.seen.client.create_multipart_upload(Bucket="alice___photos", Key="orphan")
    until(world.seen.uploads, lambda found: found == [])


def test_a_replaced_version_stays_for_its_grace(start: Start) -> None:
    world = start(ceph_removal_grace="600")
    world.bucket.put("k", b"old")
    world.bucket.put("k", b"new")
    world.bucket.put("other", b"x")
    world.service.call("DELETE", world.bucket.target("other"))
    until(lambda: world.service.call("GET", world.bucket.target("other")).status == 404)
    assert sorted(key for key, _ in world.seen.versions()) == ["k", "k", "other"]
    world.service.stop()
    world.service.settings["ceph_removal_grace"] = "0"
    world.service.start()
    world.settled("k")
    assert world.bucket.read("k") == b"new"


def test_a_reader_gets_one_version_whole_though_it_is_gone_from_ceph(start: Start) -> None:
    world = start()
    world.bucket.put("k", BIG.read())
    url = urlsplit(world.bucket.record("k")["url"])
    with socket.socket() as sock:
        # A small window: most of the old version can't have left the service when the new one arrives.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        sock.settimeout(60)
        sock.connect(("127.0.0.1", world.service.port))
        sock.sendall(raw.head(world.service, "GET", f"{url.path}?{url.query}".encode(), token=False))
        sock.recv(1, socket.MSG_PEEK)
        world.bucket.put("k", SMALL.read())
        world.settled("k")
        reply = raw.answer(sock)
    assert (reply.status, reply.body == BIG.read()) == (200, True)


@pytest.mark.parametrize("daemon", ["rgw", "osd", "mon"])
def test_a_daemon_is_killed_under_many_uploads_and_downloads(
    start: Start, pool: ThreadPoolExecutor, daemon: Daemon
) -> None:
    """Every upload that was confirmed is there, whole; usage is the sum; nothing else is in Ceph."""
    world = start()
    bodies = {
        f"k{number}": Content(100 + number, size) for number, size in enumerate([SMALL.size, MEDIUM.size, 17 * MIB] * 4)
    }
    world.bucket.put("before", MEDIUM.read())
    uploads = [(key, pool.submit(world.bucket.upload, key, body.read())) for key, body in bodies.items()]
    reads = [pool.submit(world.bucket.read, "before") for _ in range(4)]
    until(lambda: any(done.done() for _, done in uploads))
    world.node.kill(daemon)
    world.node.launch(daemon)
    stored = {key for key, done in uploads if done.result().status == 201}
    for done in reads:
        assert done.exception() is not None or done.result() == MEDIUM.read()
    until(world.ready)
    world.settled("before", *stored)
    for key in stored:
        assert world.seen.md5(key) == bodies[key].md5
    assert world.bucket.usage() == (MEDIUM.size + sum(bodies[key].size for key in stored), 1 + len(stored))


# -- what others see


def test_other_s3_tools_see_keys_bytes_types_and_metadata(start: Start, origin: FaultOrigin) -> None:
    world = start()
    world.bucket.put("fotos/ü b.txt", b"hello", {"Content-Type": "text/plain", "timetag": "5.5"})
    world.bucket.put("big", BIG.read())
    origin.put("/a", SMALL, etag='"o"')
    mirror(world, origin)
    world.service.call("GET", "/a", None, HOST, token=None)
    until(lambda: world.service.call("GET", world.bucket.target("a")).status == 200)
    assert world.seen.keys() == ["a", "big", "fotos/ü b.txt"]
    head = world.seen.head("fotos/ü b.txt")
    assert (head["ContentType"], head["ContentLength"]) == ("text/plain", 5)
    assert head["Metadata"].items() >= {"timetag": "5.5", "generation": "1", "source": "upload"}.items()
    assert head["Metadata"]["md5"] == world.seen.md5("fotos/ü b.txt")
    assert world.seen.head("a")["Metadata"].items() >= {"target": "/a", "source": f"{origin.url}/a"}.items()
