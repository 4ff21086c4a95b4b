"""Followed buckets: what S3 clients write and delete in Ceph is in the index at once, and no event does harm."""

import json
import os
import random
import re
import socket
import subprocess
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
from tests.harness.content import Content
from tests.harness.fault_proxy import Fault, FaultProxy
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
    assert "follow it first" in world.verb("following", place, "--check", code=6)


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

    place = f"{world.bucket.username}/{world.bucket.name}"
    world.verb("unfollow", place)
    assert world.service.command("consistency", "run", place, "--deletions").returncode == 0
    assert world.service.command("consistency", "run", place, "--deletions", "--scrub").returncode == 2
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
    for key in list(bodies)[:6]:
        bodies[key] = f"{key} again".encode()
        world.put(key, bodies[key])
        until(lambda key=key: world.bucket.record(key)["md5"] == md5(bodies[key]))
    before = world.bucket.listing(recursive="true")
    names = ["ObjectCreated:Put", "ObjectCreated:Copy", "ObjectRemoved:Delete", "ObjectRemoved:DeleteMarkerCreated"]
    versions = [*((key, "x") for key in (*bodies, "never was")), *world.other.versions()]  # late ones of before, too
    storm: list[Any] = [world.event(key, name, versionId=version) for key, version in versions for name in names] * 4
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


@pytest.mark.parametrize("silent", [True, False], ids=["nobody answers", "refused"])
def test_an_address_that_gets_no_events_is_refused_and_no_write_waits_for_it(world: World, silent: bool) -> None:
    """RGW would wait there for minutes within each write, ours too."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        if not silent:
            listening.close()
        place = f"{world.bucket.username}/{world.bucket.name}"
        said = world.verb("follow", place, "--endpoint", address, code=2)
        assert f"from Ceph at {address}" in said
        assert world.service.json("GET", f"{world.bucket.path}/following")["following"] is False
        world.put("k", b"x")
        world.bucket.put("own", b"y")
    assert {key for key, _ in world.other.versions()} == {"k", "own"}


def test_events_that_stay_away_are_seen_by_the_check(world: World) -> None:
    """Something else answers at the address by now, and swallows them."""
    place = f"{world.bucket.username}/{world.bucket.name}"
    with FaultProxy(world.service.port) as between:
        world.verb("follow", place, "--endpoint", between.address)
        between.fault(Fault(answer=b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
        assert "No event came" in world.verb("following", place, "--check", "--wait", "0.5", code=1)
        between.fault(None)
        assert "events arrive" in world.verb("following", place, "--check")
        world.verb("unfollow", place)
    assert [key for key in world.other.keys() if key.startswith(".cephstorage")] == []  # noqa: SIM118 - a bucket's


def test_what_came_in_parts_is_adopted_with_the_md5_of_its_bytes(world: World) -> None:
    """Its ETag is none, and no reason to doubt it later."""
    world.follow()
    body = Content(5, (5 << 20) + 3).read()
    client, at = world.other.client, {"Bucket": world.name, "Key": "parts"}
    for round_number in range(2):
        upload = client.create_multipart_upload(**at, ContentType="text/x-parts")["UploadId"]
        pieces = [body[: 5 << 20], body[5 << 20 :] + b"!" * round_number]
        parts = [
            client.upload_part(**at, UploadId=upload, PartNumber=number, Body=piece)["ETag"]
            for number, piece in enumerate(pieces, 1)
        ]
        named = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(parts, 1)]
        client.complete_multipart_upload(**at, UploadId=upload, MultipartUpload={"Parts": named})
        whole = b"".join(pieces)
        until(lambda whole=whole: world.bucket.exists("parts") and world.bucket.record("parts")["md5"] == md5(whole))
        record = world.bucket.record("parts")
        assert (record["size"], record["content_type"]) == (len(whole), "text/x-parts")
        assert world.bucket.read("parts") == whole
    assert world.other.head("parts")["ETag"].endswith('-2"')
    check = {"bucket": world.name, "key": "parts"}
    assert world.service.json("POST", "/monitor/consistency/check", check)["verdict"] in {"fine", "leftover"}
    assert world.bucket.usage() == (len(body) + 1, 1)


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


REAL_CLIENTS = {
    "rclone": ["sync", "--config=/dev/null", "--s3-upload-cutoff=5Mi", "--s3-chunk-size=5Mi", "--s3-no-check-bucket"],
    "s3cmd": ["sync", "--delete-removed", "--multipart-chunk-size-mb=5", "--no-progress", "--quiet"],
}


@pytest.mark.parametrize("program", REAL_CLIENTS)
def test_a_folder_that_a_real_client_keeps_in_sync_is_in_the_index(world: World, program: str, tmp_path: Path) -> None:
    """rclone deletes keys one by one, s3cmd by DeleteObjects; both write large files in parts."""
    programs.require(program)
    world.follow()
    folder = tmp_path / "folder"
    (folder / "deep ü").mkdir(parents=True)
    files = {f"deep ü/{number} +.txt": f"{number}".encode() for number in range(12)}
    files["large"] = Content(6, (5 << 20) + 7).read()
    for name, body in files.items():
        (folder / name).write_bytes(body)
    synchronise(world, program, folder)
    until(lambda: in_the_index(world), lambda seen: seen == {name: md5(body) for name, body in files.items()})
    for number in range(3):
        (folder / f"deep ü/{number} +.txt").unlink()
        del files[f"deep ü/{number} +.txt"]
    (folder / "large").write_bytes(b"small now")
    files["large"] = b"small now"
    synchronise(world, program, folder)
    until(lambda: in_the_index(world), lambda seen: seen == {name: md5(body) for name, body in files.items()})
    assert world.bucket.usage() == (sum(map(len, files.values())), len(files))


def in_the_index(world: World) -> dict[str, str]:
    """The md5 of every key."""
    return {row["key"]: row["md5"] for row in world.bucket.listing(recursive="true", limit=1000)["keys"]}


def synchronise(world: World, program: str, folder: Path) -> None:
    """Make the bucket as the folder is."""
    settings, gateway = world.service.settings, world.other.client.meta.endpoint_url
    keys = {"access_key": settings["ceph_access_key"], "secret_key": settings["ceph_secret_key"]}
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RCLONE_"))}
    env |= dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "")
    if program == "rclone":
        access = {"type": "s3", "provider": "Ceph", "endpoint": gateway, "region": "default"}
        access |= {"access_key_id": keys["access_key"], "secret_access_key": keys["secret_key"]}
        env |= {f"RCLONE_CONFIG_CEPH_{name.upper()}": value for name, value in access.items()}
        places = [str(folder), f"ceph:{world.name}"]
    else:
        host = urlsplit(gateway).netloc
        config = {**keys, "host_base": host, "host_bucket": host, "use_https": "False"}
        (folder.parent / "s3cfg").write_text(
            "[default]\n" + "".join(f"{key} = {value}\n" for key, value in config.items())
        )
        places = ["--config", str(folder.parent / "s3cfg"), f"{folder}/", f"s3://{world.name}/"]
    command = [program, *REAL_CLIENTS[program], *places]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
