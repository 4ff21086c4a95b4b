"""Index and store are held against each other: what was damaged by hand is found, mended, followed or noted."""

import asyncio
import base64
import contextlib
import hashlib
import itertools
import json
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest

from cephstorage.domain.consistency import identity_of
from cephstorage.domain.names import BucketName
from cephstorage.index import index_at
from cephstorage_client import Client
from tests.e2e.mirror.site import Site
from tests.harness import programs
from tests.harness.bucket import Bucket, md5
from tests.harness.ceph import PROGRAMS as CEPH_PROGRAMS
from tests.harness.ceph import Ceph
from tests.harness.machines import shared_engines
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.postgres import PROGRAMS as POSTGRES_PROGRAMS
from tests.harness.s3 import Bystander
from tests.harness.service import Service

pytestmark = pytest.mark.stacks("direct")  # it brings its own engines, and breaks what lies in them

BODY = b"bytes of an object" * 300
SETTINGS = {"reconcile_grace": "0", "ceph_removal_grace": "0", "reconcile_rate": "1000"}
CHECKS = 150
ACTIONS = {"adopted", "dropped", "damaged", "refilled", "refetched", "hidden", "unknown", "failed"}


class World:
    """A bucket on a service, and hands that reach behind it."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.bucket = Bucket(service, f"tenant-{uuid4().hex[:8]}")
        self.name = f"{self.bucket.username}___{self.bucket.name}"

    def version(self, key: str) -> str:
        """The store version that a record names."""
        return asyncio.run(self._version(key))

    async def _version(self, key: str) -> str:
        index = index_at(self.service.settings.get("database_url", ""), self.service.data_dir / "cephstorage.db")
        await index.open()
        try:
            record = await index.keys.get(BucketName.parse(self.name), key)
            assert record is not None
            assert await index.usage_drift() == []
            return record.store_version
        finally:
            await index.close()

    def check(self, key: str, bucket: str | None = None, **more: Any) -> tuple[str, str | None]:
        """Verdict and action of a check."""
        asked = {"bucket": bucket or self.name, "key": key, **more}
        said = self.service.json("POST", "/monitor/consistency/check", asked)
        return said["verdict"], said["action"]

    def findings(self) -> dict[str, tuple[str, str, str]]:
        """Kind, code and what was done, by key."""
        found = self.service.json("GET", f"/monitor/consistency/findings?bucket={self.name}")["findings"]
        return {each["key"]: (each["kind"], each["code"], each["done"]) for each in found}

    def last(self, kind: str = "reconcile") -> Any:
        """The bucket's walk, as it is shown; None before there is one."""
        shown = self.service.json("GET", f"/monitor/consistency?bucket={self.name}")["walks"]
        return next((each for each in shown if each["kind"] == kind), None)

    def noted(self) -> Mapping[str, int]:
        """What the walk of a service that is down has counted, as it stands in the database."""

        async def look() -> Mapping[str, int]:
            index = index_at("", self.service.data_dir / "cephstorage.db")
            await index.open()
            (walk,) = [each for each in await index.walks.all(BucketName.parse(self.name)) if each.kind == "reconcile"]
            await index.close()
            return walk.counts if walk.place is not None else {}

        return asyncio.run(look())

    def walk(self, kind: str = "reconcile") -> dict[str, int]:
        """What a whole walk that is begun now counts."""
        before = self.last(kind)
        assert self.service.json("POST", "/monitor/consistency", {"bucket": self.name, "kind": kind}) == {"begun": 1}
        last = before["last_ended_at"] if before is not None else None
        ended = until(lambda: self.last(kind), lambda walk: walk["last_ended_at"] != last)
        return dict(ended["last_counts"])

    def lose(self, key: str, bucket: str | None = None) -> None:
        """Take every version of a key out of the store."""
        raise NotImplementedError

    def stray(self, key: str) -> None:
        """Leave a version of the key that another try of its transfer made."""
        raise NotImplementedError

    def identities(self, key: str) -> set[str]:
        """Every version that the store has of a key."""
        raise NotImplementedError


class OnDisk(World):
    """Files below the data folder."""

    def files(self, key: str, bucket: str | None = None) -> list[Path]:
        """The bytes of a key's versions."""
        name = hashlib.sha256(key.encode()).hexdigest()
        found = (self.service.data_dir / "objects" / (bucket or self.name)).glob(f"??/{name}.*")
        return [path for path in found if path.suffix != ".json"]

    def lose(self, key: str, bucket: str | None = None) -> None:
        for path in self.files(key, bucket):
            path.unlink()

    def stray(self, key: str) -> None:
        (path,) = self.files(key)
        transfer = self.version(key).rpartition(".")[0]
        late = path.with_name(f"{path.name.partition('.')[0]}.{transfer}.77")
        late.write_bytes(path.read_bytes())
        late.with_name(f"{late.name}.json").write_bytes(path.with_name(f"{path.name}.json").read_bytes())

    def identities(self, key: str) -> set[str]:
        return {path.name.partition(".")[2] for path in self.files(key)}


class InCeph(World):
    """Another S3 client, of the service's own user."""

    def other(self, bucket: str | None = None) -> Bystander:
        """A client of a bucket."""
        known = self.service.settings
        gateway, access, secret = (known[f"ceph_{name}"] for name in ("gateway", "access_key", "secret_key"))
        node = SimpleNamespace(gateway=gateway, access_key=access, secret_key=secret)
        return Bystander(cast("Ceph", node), bucket or self.name)

    def lose(self, key: str, bucket: str | None = None) -> None:
        with contextlib.closing(self.other(bucket)) as other:
            for each, version in other.versions(key):
                other.client.delete_object(Bucket=other.bucket, Key=each, VersionId=version)

    def stray(self, key: str) -> None:
        with contextlib.closing(self.other()) as other:
            metadata = dict(other.head(key)["Metadata"])
            metadata["attempt"] = metadata["attempt"].rpartition(".")[0] + ".77"
            body = other.client.get_object(Bucket=other.bucket, Key=key)["Body"].read()
            other.client.put_object(Bucket=other.bucket, Key=key, Body=body, Metadata=metadata)

    def identities(self, key: str) -> set[str]:
        with contextlib.closing(self.other()) as other:
            return {version for _, version in other.versions(key)}


@pytest.fixture(scope="module")
def source() -> Iterator[FaultOrigin]:
    """An origin for all tests of the module."""
    with FaultOrigin() as server:
        yield server


@pytest.fixture(scope="module", params=["disk", "ceph"])
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, source: FaultOrigin
) -> Iterator[Service]:
    """Disk and SQLite, or Ceph and PostgreSQL."""
    settings = {**SETTINGS, "origin_allowed_ports": str(source.port)}
    if request.param == "ceph":
        programs.require(*CEPH_PROGRAMS, *POSTGRES_PROGRAMS)
        settings |= shared_engines(request.getfixturevalue("postgres"), request.getfixturevalue("ceph"))
    started = Service(tmp_path_factory.mktemp("consistency") / "data", **settings).start()
    yield started
    started.stop()


@pytest.fixture
def world(service: Service) -> World:
    """An empty bucket."""
    return InCeph(service) if "ceph_gateway" in service.settings else OnDisk(service)


def test_what_agrees_is_left_alone(world: World) -> None:
    world.bucket.put("k", BODY)
    version = world.version("k")
    assert world.check("k") == ("fine", None)
    assert world.check("nothing") == ("fine", None)
    assert (world.version("k"), world.findings()) == (version, {})


def test_an_uploaded_key_without_bytes_is_a_finding_until_it_is_stored_again(world: World) -> None:
    world.bucket.put("k", BODY)
    world.lose("k")
    assert world.check("k") == ("missing", "damaged")
    assert world.findings() == {"k": ("damaged", "stored_bytes_missing", "nothing")}
    assert world.bucket.record("k")["md5"] == md5(BODY)
    world.bucket.put("k", BODY)
    assert world.check("k") == ("fine", "mended")
    assert world.findings() == {}


def test_a_key_from_an_address_is_fetched_again(world: World, source: FaultOrigin) -> None:
    source.put("/source", BODY)
    world.bucket.success(world.bucket.create("k", f"{source.url}/source"))
    before = world.bucket.record("k")
    world.lose("k")
    assert world.check("k") == ("missing", "refetched")
    assert world.findings()["k"] == ("damaged", "stored_bytes_missing", "refetch")
    until(lambda: world.check("k"), lambda checked: checked == ("fine", "mended"))
    assert world.bucket.read("k") == BODY
    after = world.bucket.record("k")
    assert {name: after[name] for name in ("md5", "etag", "timetag") if name in after} == {
        name: before[name] for name in ("md5", "etag", "timetag") if name in before
    }


def test_a_mirrors_copy_is_fetched_anew_at_once(world: World, source: FaultOrigin) -> None:
    site = Site.of_test(world.service, source, "mirror")
    site.put("/a", BODY)
    assert site.get("/a").body == BODY
    site.stored("a")
    world.lose("a", site.bucket)
    assert world.check("a", site.bucket) == ("missing", "refilled")
    assert site.get("/a").body == BODY
    assert site.count("/a") == 2
    assert world.check("a", site.bucket) == ("fine", None)


def test_a_version_that_nobody_names_is_removed_and_the_named_one_is_not(world: World) -> None:
    world.bucket.put("k", BODY)
    world.stray("k")
    assert len(world.identities("k")) == 2
    assert world.check("k") == ("leftover", "removed")
    until(lambda: world.identities("k"), lambda left: left == {identity_of(world.version("k"))})
    assert world.bucket.read("k") == BODY
    assert world.check("k") == ("fine", None)


@pytest.mark.parametrize("service", ["ceph"], indirect=True)
def test_a_key_that_other_clients_made_changed_and_deleted_is_followed(world: World) -> None:
    assert isinstance(world, InCeph)
    with contextlib.closing(world.other()) as other:
        name = {"Bucket": other.bucket, "Key": "new"}
        other.client.put_object(**name, Body=BODY, ContentType="text/plain")
        assert world.check("new", changed=True) == ("unknown", "adopted")
        assert world.bucket.read("new") == BODY
        assert world.bucket.record("new")["content_type"] == "text/plain"
        other.client.put_object(**name, Body=b"other bytes")
        assert world.check("new", changed=True) == ("unknown", "adopted")
        assert world.bucket.read("new") == b"other bytes"
        other.client.delete_object(**name)
        assert world.check("new", changed=True) == ("hidden", "dropped")
        assert not world.bucket.exists("new")
        assert world.check("new", changed=True) == ("fine", None)

        world.bucket.put("ours", BODY)
        other.client.put_object(Bucket=other.bucket, Key="ours", Body=b"overwritten")
        assert world.check("ours") == ("unknown", "adopted")
        assert world.bucket.read("ours") == b"overwritten"
        world.bucket.put("original", BODY)
        copied = {"Bucket": other.bucket, "Key": "original"}  # with all that we have written on it
        other.client.copy_object(Bucket=other.bucket, Key="copy", CopySource=copied)
        other.client.copy_object(Bucket=other.bucket, Key="ours", CopySource=copied)
        for key in ("copy", "ours"):
            assert world.check(key, changed=True) == ("unknown", "adopted")
            assert world.bucket.read(key) == BODY
    assert world.service.json("GET", world.bucket.path)["keyamount"] == 3


def test_a_walk_finds_what_is_wrong_in_a_bucket_and_the_next_one_nothing(world: World, source: FaultOrigin) -> None:
    for number in range(30):
        world.bucket.put(f"folder/{number}", BODY)
    assert world.walk() == {"objects": 30, "records": 30}
    source.put("/walked", BODY)
    world.bucket.success(world.bucket.create("from-url", f"{source.url}/walked"))
    for key in ("folder/3", "from-url"):
        world.lose(key)
    world.stray("folder/5")
    expected = {"objects": 30, "looked": 3, "damaged": 1, "refetched": 1, "removed": 1}
    found = world.walk()
    assert {name: found[name] for name in expected} == expected
    assert world.findings().keys() == {"folder/3", "from-url"}
    until(lambda: world.check("from-url"), lambda checked: checked[0] == "fine")
    until(lambda: world.identities("folder/5"), lambda left: len(left) == 1)
    world.bucket.delete("folder/3")
    assert world.walk() == {"objects": 30, "records": 30}
    assert world.check("folder/3") == ("fine", "mended")
    assert (world.findings(), world.bucket.read("folder/5")) == ({}, BODY)
    world.version("from-url")  # sees to it that usage is the sum


def test_a_walk_beside_a_storm_reports_nothing_and_removes_nothing_alive(world: World) -> None:
    """With no grace at all: nothing but looking twice protects what is on its way. What has been deleted may be removed
    once more.
    """
    over, written = threading.Event(), dict[str, bytes]()

    def storm(number: int) -> None:
        for turn in itertools.count():
            if over.is_set():
                return
            key, body = f"{number}/{turn % 7}", f"{number} {turn}".encode() * 50
            world.bucket.put(key, body)
            written[key] = body
            if turn % 3 == 0:
                world.bucket.delete(key)
                del written[key]

    def doubt() -> set[str]:
        """The verdicts on keys that change all the time."""
        return {world.check(f"{turn % 3}/{turn // 3 % 7}")[0] for turn in range(CHECKS)}

    with ThreadPoolExecutor(4) as pool:
        storms = [pool.submit(storm, number) for number in range(3)]
        doubting = pool.submit(doubt)
        try:
            counts = [world.walk() for _ in range(2)]
            verdicts = doubting.result()
        finally:
            over.set()
        for each in storms:
            each.result()
    assert verdicts <= {"fine", "passing", "leftover"}
    assert sum(each.get("objects", 0) for each in counts) > 0
    assert [{name: each[name] for name in each.keys() & ACTIONS} for each in counts] == [{}] * 2
    assert world.findings() == {}
    assert {key: world.bucket.read(key) for key in written} == written
    assert all(world.check(key)[0] == "fine" for key in written)
    quiet = world.walk()
    assert quiet.keys() & ACTIONS == set()
    assert quiet["records"] == len(written)


@pytest.mark.parametrize("service", ["ceph"], indirect=True)
def test_a_walk_adopts_what_other_clients_have_stored(world: World) -> None:
    assert isinstance(world, InCeph)
    world.bucket.put("ours", BODY)
    with contextlib.closing(world.other()) as other:
        for number in range(5):
            other.client.put_object(Bucket=other.bucket, Key=f"theirs/{number}", Body=f"{number}".encode())
        upload = other.client.create_multipart_upload(Bucket=other.bucket, Key="parts")["UploadId"]
        name = {"Bucket": other.bucket, "Key": "parts", "UploadId": upload}
        part = other.client.upload_part(**name, PartNumber=1, Body=BODY)["ETag"]
        parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
        other.client.complete_multipart_upload(**name, MultipartUpload=parts)
        other.client.delete_object(Bucket=other.bucket, Key="ours")
    found = world.walk()
    assert (found["adopted"], found["dropped"]) == (6, 1)
    assert world.bucket.read("theirs/3") == b"3"
    assert world.bucket.record("parts")["md5"] == md5(BODY)
    assert not world.bucket.exists("ours")


@pytest.mark.parametrize("service", ["disk"], indirect=True)
def test_a_scrub_finds_a_flipped_byte(world: World, source: FaultOrigin) -> None:
    assert isinstance(world, OnDisk)
    site = Site.of_test(world.service, source, "scrubbed")
    site.put("/a", BODY)
    site.get("/a")
    site.stored("a")
    for key in ("good", "bad"):
        world.bucket.put(key, BODY)
    for (path,) in (world.files("bad"), world.files("a", site.bucket)):
        path.write_bytes(BODY[:-1] + b"X")
    assert world.walk() == {"objects": 2, "records": 2}  # nothing that a listing would show
    assert world.walk("scrub") == {"records": 2, "bytes": 2 * len(BODY), "damaged": 1}
    assert world.findings() == {"bad": ("damaged", "stored_bytes_damaged", "nothing")}
    mirrored = OnDisk(world.service)
    mirrored.name = site.bucket
    assert mirrored.walk("scrub")["refilled"] == 1
    assert (site.get("/a").body, site.count("/a"), mirrored.findings()) == (BODY, 2, {})


def test_a_walk_goes_on_where_a_killed_process_was(tmp_path: Path) -> None:
    service = Service(tmp_path / "data", **{**SETTINGS, "reconcile_rate": "8"}).start()
    try:
        world = OnDisk(service)
        for number in range(150):
            world.bucket.put(f"{number}", b"x")
        service.json("POST", "/monitor/consistency", {"bucket": world.name})
        until(world.last, lambda walk: walk["counts"] is not None and walk["counts"].get("objects", 0) > 4)
        service.kill()
        assert world.noted()["objects"] > 4
        service.settings["reconcile_rate"] = "10000"
        service.start()
        ended = until(world.last, lambda walk: walk["last_ended_at"] is not None)
        assert ended["last_counts"] == {"objects": 150, "records": 150}
    finally:
        service.stop()


def test_walks_begin_by_themselves_and_what_is_not_to_be_adopted_is_laid_aside(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    programs.require(*CEPH_PROGRAMS, *POSTGRES_PROGRAMS)
    engines = shared_engines(request.getfixturevalue("postgres"), request.getfixturevalue("ceph"))
    chosen = {"reconcile_unknown": "quarantine", "reconcile_interval": "1"}
    service = Service(tmp_path / "data", **SETTINGS, **engines, **chosen).start()
    try:
        world = InCeph(service)
        world.bucket.put("ours", BODY)
        with contextlib.closing(world.other()) as other:
            other.client.put_object(Bucket=other.bucket, Key="stranger", Body=BODY)
            other.client.put_object(Bucket=other.bucket, Key="ours", Body=b"overwritten")
            expected = {
                "ours": ("unknown", "unknown_object", "nothing"),
                "stranger": ("quarantined", "unknown_object", "aside"),
            }
            until(world.findings, lambda found: found == expected)
            assert other.keys() == ["ours"]
            assert len(other.versions("stranger")) == 1
        assert not world.bucket.exists("stranger")
        assert world.bucket.read("ours") == BODY
        ended = world.last()["last_ended_at"]
        until(world.last, lambda walk: walk["last_ended_at"] > ended)
        assert world.findings() == expected
        assert len(world.identities("stranger")) == 1
    finally:
        service.stop()


@pytest.mark.parametrize("service", ["disk"], indirect=True)
def test_bad_cursors_of_findings(world: World) -> None:
    for text in ("", "[]", '["a___b"]', '["a___b", 5]', '["a___b", "\\u0000"]', '["\\ud800", "k"]', "[" * 2000, "\x00"):
        cursor = base64.urlsafe_b64encode(text.encode()).decode() or "%C3%A4"
        reply = world.service.call("GET", f"/monitor/consistency/findings?cursor={cursor}")
        assert (reply.status, reply.json()["code"]) == (400, "invalid_cursor"), text


@pytest.mark.parametrize("service", ["disk"], indirect=True)
def test_the_command_line_and_metrics_tell_of_it(world: World) -> None:
    service, place = world.service, f"{world.bucket.username}/{world.bucket.name}"
    world.bucket.put("k", BODY)
    world.lose("k")
    checked = service.command("consistency", "check", f"{place}/k")
    assert checked.returncode == 1
    assert checked.stdout.startswith(f"missing, damaged  {place}/k  ")
    nowhere = service.command("consistency", "check", f"{place}/mistyped")
    assert nowhere.stdout == f"fine  {place}/mistyped  neither index nor store have this key\n"
    found = service.command("consistency", "findings", place)
    assert found.returncode == 1
    assert found.stdout.splitlines()[1].split()[1:4] == ["k", "damaged", "nothing"]
    assert service.command("consistency", "run", place).stdout.startswith("1 begun")
    until(world.last, lambda walk: walk is not None and walk["last_ended_at"] is not None)
    other = Bucket(service, world.bucket.username, "other")
    assert service.json("GET", f"/monitor/consistency?bucket={other.username}___other")["findings"] == {}
    for verb in ("show", "findings"):
        assert service.command("consistency", verb, f"{world.bucket.username}/mistyped").returncode == 3
    shown = service.command("consistency", "show", place).stdout
    assert "findings: 1 damaged" in shown
    assert f"{world.name}  reconcile" in shown
    assert "damaged=1" in shown
    series = (
        'consistency_actions_total{action="damaged"}',
        'walk_age_seconds{kind="reconcile"}',
        'findings{kind="damaged"}',
    )
    said = until(
        lambda: str(service.call("GET", "/metrics").body, "utf-8"),
        lambda said: all(f"\ncephstorage_{name} " in said for name in series) and f"{series[-1]} 0.0" not in said,
    )
    assert 'cephstorage_findings{kind="hidden"} ' in said
    doctor = json.loads(service.command("doctor", "--json").stdout)["findings"]
    (line,) = [each for each in doctor if each["name"] == "consistency"]
    assert (line["ok"], "damaged" in line["detail"]) == (False, True)
    with Client(service.url, service.admin_token) as client:
        assert [each["key"] for each in client.findings(world.name)] == ["k"]
        assert client.check_key(world.name, "k")["verdict"] == "missing"
        assert client.consistency(world.name)["walks"][0]["bucket"] == world.name
        assert client.begin_walk(world.name, kind="scrub") == 1
