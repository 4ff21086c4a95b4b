"""Followed buckets: what S3 clients write and delete in Ceph is in the index at once, and no event does harm."""

import json
import random
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import botocore.session
import pytest
from botocore.config import Config

from tests.harness import programs
from tests.harness.bucket import Bucket, md5
from tests.harness.ceph import PROGRAMS as CEPH_PROGRAMS
from tests.harness.ceph import Ceph
from tests.harness.machines import shared_engines
from tests.harness.patience import until
from tests.harness.postgres import PROGRAMS as POSTGRES_PROGRAMS
from tests.harness.postgres import Postgres
from tests.harness.s3 import Bystander
from tests.harness.service import Service

pytestmark = pytest.mark.stacks("direct")  # it brings its own engines, and the gateway pushes to the service itself

NASTY = "a b+ü%20/./x"


class World:
    """A service on Ceph, and another client of the same buckets."""

    def __init__(self, service: Service, node: Ceph) -> None:
        self.service = service
        self.bucket = Bucket(service, f"tenant-{uuid4().hex[:8]}")
        self.name = f"{self.bucket.username}___{self.bucket.name}"
        keys = service.settings["ceph_access_key"], service.settings["ceph_secret_key"]
        self.other = Bystander(node, self.name, *keys)
        self.sns: Any = botocore.session.get_session().create_client(
            "sns",
            region_name="default",
            endpoint_url=node.gateway,
            aws_access_key_id=keys[0],
            aws_secret_access_key=keys[1],
            config=Config(proxies={}),
        )

    def verb(self, *arguments: str, code: int = 0) -> str:
        """Run ``bucket``'s verbs; what it says."""
        done = self.service.command("bucket", *arguments)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def follow(self, **options: Any) -> Any:
        return self.service.json("PUT", f"{self.bucket.path}/following", {"endpoint": self.service.url, **options})

    def put(self, key: str, body: bytes) -> None:
        self.other.client.put_object(Bucket=self.name, Key=key, Body=body, ContentType="text/x-other")

    def address(self) -> str:
        """Where the gateway pushes the bucket's events, as the gateway has it."""
        arns = [topic["TopicArn"] for topic in self.sns.list_topics()["Topics"]]
        arn = next(arn for arn in arns if arn.endswith(self.name))
        target = self.sns.get_topic_attributes(TopicArn=arn)["Attributes"]["EndPoint"]
        return urlsplit(json.loads(target)["EndpointAddress"]).path

    def push(self, *records: Any) -> Any:
        """Push events as the gateway does."""
        reply = self.service.call("POST", self.address(), json.dumps({"Records": records}).encode(), token=None)
        assert reply.status in {200, 503}, reply.body
        return reply.json()

    def checked(self) -> float:
        """How many keys were looked at because of events."""
        text = self.service.call("GET", "/metrics").body.decode()
        found = re.search(r'^cephstorage_bucket_events_total{meaning="checked"} (\S+)', text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def event(self, key: str, name: str = "ObjectCreated:Put", **fields: Any) -> Any:
        """An event, maybe of something that never was."""
        return {"eventName": name, "s3": {"bucket": {"name": self.name}, "object": {"key": key, **fields}}}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Service]:
    """One for all tests here, each with a bucket of its own."""
    programs.require(*CEPH_PROGRAMS, *POSTGRES_PROGRAMS)
    postgres: Postgres = request.getfixturevalue("postgres")
    settings = shared_engines(postgres, request.getfixturevalue("ceph"))
    made = Service(tmp_path_factory.mktemp("following") / "data", **settings).start()
    yield made
    made.stop()


@pytest.fixture
def world(service: Service, ceph: Ceph) -> Iterator[World]:
    made = World(service, ceph)
    yield made
    service.call("DELETE", f"{made.bucket.path}/following")
    made.other.close()


def test_what_makes_no_sense_on_an_object_is_told_and_holds_nothing_up(world: World) -> None:
    """Any client may write what only we mean something by: none of it ends a look, or becomes an answer's header."""
    world.follow()
    ours = {"attempt": "a.1", "md5": md5(b"x"), "timetag": "1.0"}
    nonsense = [
        {"timetag": "nan"},
        {"generation": "9" * 30},
        {"content-type": "text/plain%0D%0AX-Accel-Redirect: /_disk/"},
        {"target": "/k", "origin": "[]"},
    ]
    for number, said in enumerate(nonsense):
        world.other.client.put_object(Bucket=world.name, Key=f"odd-{number}", Body=b"x", Metadata={**ours, **said})
    facts = {"target": "/k", "origin": json.dumps({"headers": [["X-Accel-Redirect", "/_disk/"], ["X-Kept", "1"]]})}
    world.other.client.put_object(Bucket=world.name, Key="copy", Body=b"x", Metadata={**ours, **facts})
    world.put("plain", b"one")
    until(lambda: world.bucket.exists("plain"))
    until(lambda: world.bucket.exists("copy"))
    headers = {name.lower(): value for name, value in world.bucket.published("copy").headers.items()}
    assert (headers.get("x-accel-redirect"), headers["x-kept"]) == (None, "1")

    def told() -> list[tuple[str, str]]:
        answer = world.service.json("GET", f"/monitor/consistency/findings?bucket={world.name}")
        return [(each["key"], each["code"]) for each in answer["findings"]]

    until(told, lambda seen: seen == [(f"odd-{number}", "not_described") for number in range(len(nonsense))])
    reply = world.service.call("GET", f"{world.bucket.path}/keys?prefix=odd")
    assert reply.json()["keys"] == []


def test_what_other_clients_write_and_delete_is_in_the_index(world: World) -> None:
    bucket, place = world.bucket, f"{world.bucket.username}/{world.bucket.name}"
    said = world.verb("follow", place, "--endpoint", world.service.url, "--removals")
    assert "events arrive" in said
    for key in ("plain", NASTY):
        world.put(key, b"one")
        until(lambda key=key: bucket.exists(key))
        record = bucket.record(key)
        assert (record["md5"], record["content_type"], record["size"]) == (md5(b"one"), "text/x-other", 3)
        assert bucket.read(key) == b"one"
    world.put("plain", b"another")
    until(lambda: bucket.record("plain")["md5"], lambda seen: seen == md5(b"another"))
    assert bucket.read("plain") == b"another"
    world.other.client.copy_object(Bucket=world.name, Key="copy", CopySource={"Bucket": world.name, "Key": "plain"})
    until(lambda: bucket.exists("copy"))
    world.other.client.delete_object(Bucket=world.name, Key="plain")
    until(lambda: not bucket.exists("plain"))
    assert bucket.usage() == (len(b"one") + len(b"another"), 2)
    status = world.service.json("GET", f"{bucket.path}/following")
    assert (status["following"], status["removals"], status["persistent"]) == (True, True, False)
    assert status["last_event_age"] >= 0
    overview = world.service.json("GET", f"/monitor/consistency?bucket={world.name}")
    assert [each["bucket"] for each in overview["events"]] == [world.name]
    assert world.address().rpartition("/")[2] not in json.dumps(status)
    assert "events arrive" in world.verb("following", place, "--check")
    assert all(not key.startswith(".cephstorage") for key in world.other.keys())  # noqa: SIM118 - keys of a bucket

    world.verb("unfollow", place)
    assert world.service.json("GET", f"{bucket.path}/following")["following"] is False
    assert "No event came" in world.verb("following", place, "--check", "--wait", "0.2", code=1)


def test_what_clients_delete_is_looked_for_where_the_gateway_tells_nothing_of_it(world: World) -> None:
    """Not by events: RGW 16.2 aborts when it has to tell of what DeleteObjects removes."""
    assert world.follow()["removals"] is False
    for number in range(6):
        world.put(f"k{number}", b"bytes")
        until(lambda number=number: world.bucket.exists(f"k{number}"))
    gone = [{"Key": f"k{number}"} for number in range(3)]
    world.other.client.delete_objects(Bucket=world.name, Delete={"Objects": [*gone, {"Key": "never was"}]})
    world.other.client.delete_object(Bucket=world.name, Key="k3")
    until(
        lambda: [row["key"] for row in world.bucket.listing(recursive="true")["keys"]],
        lambda keys: keys == ["k4", "k5"],
    )
    assert world.bucket.usage() == (10, 2)
    shown = f"/monitor/consistency?bucket={world.name}"
    walks = {walk["kind"]: walk for walk in world.service.json("GET", shown)["walks"]}
    assert walks["deletions"]["due_at"] or walks["deletions"]["begun_at"]

    world.verb("unfollow", f"{world.bucket.username}/{world.bucket.name}")
    world.service.json("POST", "/monitor/consistency", {"bucket": world.name, "kind": "deletions"})
    until(
        lambda: [walk["kind"] for walk in world.service.json("GET", shown)["walks"]],
        lambda kinds: "deletions" not in kinds,
    )


def test_our_own_writes_cost_no_look(world: World) -> None:
    world.follow(removals=True)
    before = world.checked()
    for body in (b"one", b"two"):
        world.bucket.put("k", body)
        assert world.bucket.read("k") == body
    assert world.checked() == before
    version = {"versionId": world.other.versions("k")[-1][1]}
    world.bucket.put("k", b"three")
    newest = next(version for key, version in world.other.versions("k"))
    assert world.push(world.event("k", versionId=newest)) == {"checked": 0, "known": 1, "strange": 0}
    assert world.push(world.event("k", **version))["checked"] == 1
    assert world.bucket.read("k") == b"three"


def test_events_that_are_repeated_out_of_order_or_forged_do_no_harm(world: World) -> None:
    world.follow()
    bodies = {f"key {number}": f"{number}".encode() for number in range(12)}
    for key, body in bodies.items():
        world.put(key, body)
        until(lambda key=key: world.bucket.exists(key))
    before = world.bucket.listing(recursive="true")
    names = ["ObjectCreated:Put", "ObjectCreated:Copy", "ObjectRemoved:Delete", "ObjectRemoved:DeleteMarkerCreated"]
    storm: list[Any] = [world.event(key, name, versionId="x") for key in (*bodies, "never was") for name in names] * 4
    storm += [None, {}, {"eventName": 5}, world.event(""), {**world.event("k"), "s3": {"bucket": {"name": "other"}}}]
    random.Random(7).shuffle(storm)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda at: world.push(*storm[at : at + 20]), range(0, len(storm), 20)))
    assert world.push(*storm)["strange"] == 5
    assert world.bucket.listing(recursive="true") == before
    assert {key: world.bucket.read(key) for key in bodies} == bodies


def test_a_lost_event_is_made_good(world: World) -> None:
    world.follow()
    world.service.stop()
    world.put("missed", b"bytes")
    world.service.start()
    assert not world.bucket.exists("missed")
    asked = {"bucket": world.name, "key": "missed", "changed": True}
    assert world.service.json("POST", "/monitor/consistency/check", asked)["action"] == "adopted"
    assert world.bucket.read("missed") == b"bytes"


def test_strangers_push_nothing(world: World) -> None:
    world.follow()
    address = world.address()
    wrong = [f"/events/{world.name}/{'0' * 40}", f"/events/other___bucket/{address.rpartition('/')[2]}"]
    for target in wrong:
        assert world.service.call("POST", target, b'{"Records": []}', token=None).status == 403
    assert world.service.call("POST", address, b"no events", token=None).status == 400
    assert world.service.call("POST", address, b" " * ((1 << 20) + 1), token=None).status == 413
    assert world.service.call("POST", "/events/NO/NO", b"", token=None).status == 400


def test_a_store_of_our_own_is_not_followed(tmp_path: Path) -> None:
    service = Service(tmp_path / "data").start()
    try:
        bucket = Bucket(service, "alice")
        for method, target, body in (("PUT", "", b"{}"), ("GET", "", None), ("POST", "/check", b"{}")):
            headers = {"Content-Type": "application/json"}
            reply = service.call(method, f"{bucket.path}/following{target}", body, headers)
            assert (reply.status, reply.json()["code"]) == (409, "not_supported")
    finally:
        service.stop()
