"""What a key lives through beside its bytes: custom metadata, copies and renames, its end."""

import json
import time
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from tests.harness.aftermath import examine, object_files
from tests.harness.bucket import Bucket, address
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.service import Reply, Service

META = {"x-amz-meta-Color": "deep blue", "X-Amz-Meta-md5": "mine"}
JSON = {"Content-Type": "application/json"}
SAID = {"color": "deep blue", "md5": "mine"}


def metadata_of(reply: Reply) -> dict[str, str]:
    named = {name.lower(): value for name, value in reply.headers.items()}
    return {name.removeprefix("x-amz-meta-"): value for name, value in named.items() if name.startswith("x-amz-meta-")}


def test_metadata_goes_with_the_key_and_not_with_the_next_version(bucket: Bucket) -> None:
    assert bucket.put("k", b"bytes", META)["metadata"] == SAID == bucket.record("k")["metadata"]
    for method, body in (("GET", b"bytes"), ("HEAD", b"")):
        shown = bucket.published("k", method=method)
        assert (shown.status, shown.body, metadata_of(shown)) == (200, body, SAID)
    part = bucket.published("k", {"Range": "bytes=1-2"})
    assert (part.status, part.body, metadata_of(part)) == (206, b"yt", SAID)
    assert "metadata" not in bucket.listing()["keys"][0]
    assert bucket.listing(metadata="true")["keys"][0]["metadata"] == SAID
    assert "metadata" not in bucket.put("k", b"other")
    assert metadata_of(bucket.published("k")) == {}


@pytest.mark.stacks("direct")  # nothing here differs behind nginx, nor on other engines
def test_metadata_of_a_creation_goes_through_export_and_import(bucket: Bucket, shared_origin: FaultOrigin) -> None:
    shared_origin.put("/said", b"bytes")
    bucket.success(bucket.create("k", shared_origin.url + "/said", metadata={"Color": "blue"}))
    assert bucket.record("k")["metadata"] == {"color": "blue"}
    line = {**json.loads(bucket.service.call("GET", f"{bucket.path}/export").body), "url": shared_origin.url + "/said"}
    other = Bucket(bucket.service, bucket.username, "imported")
    sent = {"Content-Type": "application/x-ndjson"}
    report = bucket.service.call("POST", f"{other.path}/import", json.dumps(line).encode(), sent).json()
    assert (report["created"], report["refused"]) == (1, 0)
    assert imported(other, "k")["metadata"] == {"color": "blue"}


def imported(bucket: Bucket, key: str) -> Any:
    until(lambda: bucket.exists(key))
    return bucket.record(key)


@pytest.mark.stacks("direct")
@pytest.mark.parametrize("headers", [{"x-amz-meta-a_b": "x"}, {"x-amz-meta-a": "x" * 2048}, {"x-amz-meta-a": "\xe4"}])
def test_metadata_that_can_not_be_kept_is_refused_and_nothing_stored(headers: dict[str, str], bucket: Bucket) -> None:
    reply = bucket.upload("refused", b"x", headers)
    assert (reply.status, reply.json()["code"]) == (400, "invalid_metadata")
    assert not bucket.exists("refused")


def made(bucket: Bucket, what: str, source_key: str, key: str, **more: Any) -> Reply:
    """Ask for a copy or a rename; the answer, whatever it is."""
    wish = {"source_key": source_key, "key": key, **more}
    return bucket.service.call("POST", f"{bucket.path}/{what}", json.dumps(wish).encode(), JSON)


def test_keys_are_copied_and_renamed_within_a_tenant(bucket: Bucket) -> None:
    other = Bucket(bucket.service, bucket.username, "other")
    source = bucket.put("a/old", b"bytes", {"Content-Type": "text/plain", **META}, timetag=1_000_000_000)
    copy = made(other, "copies", "a/old", "b/copy", source_bucket="photos")
    assert (copy.status, copy.json()["bucket"]) == (201, f"{bucket.username}___other")
    same = ("md5", "size", "etag", "ts", "content_type", "metadata", "last_modified")
    assert {name: copy.json()[name] for name in same} == {name: source[name] for name in same}
    assert made(bucket, "copies", "a/old", "a/old", metadata={"x": "y"}).json()["metadata"] == {"x": "y"}
    renamed = made(bucket, "renames", "a/old", "b/new").json()
    assert (renamed["key"], renamed["metadata"]) == ("b/new", {"x": "y"})
    assert not bucket.exists("a/old")
    assert bucket.read("b/new") == other.read("b/copy") == b"bytes"
    assert (bucket.usage(), other.usage()) == ((5, 1), (5, 1))
    until(lambda: bucket.read("b/new") == b"bytes")


@pytest.mark.stacks("direct")  # decided by the service alone
def test_what_can_not_be_copied_is_said_and_changes_nothing(bucket: Bucket) -> None:
    etag = bucket.put("k", b"bytes")["etag"]
    bucket.put("there", b"x")
    wishes: list[tuple[int, str, str, dict[str, Any]]] = [
        (404, "key_not_found", "missing", {}),
        (404, "bucket_not_found", "k", {"source_bucket": "nowhere"}),
        (412, "precondition_failed", "k", {"if_source_match": '"other"'}),
        (412, "precondition_failed", "k", {"if_source_match": etag, "if_absent": True}),
        (412, "precondition_failed", "k", {"if_match": etag}),
        (400, "invalid_metadata", "k", {"metadata": {"a b": "x"}}),
        (400, "invalid_name", "k", {"source_bucket": "x/y"}),
    ]
    for what in ("copies", "renames"):
        for status, code, source, more in wishes:
            reply = made(bucket, what, source, "there", **more)
            assert (reply.status, reply.json()["code"]) == (status, code), (what, more)
    assert made(bucket, "renames", "k", "k").status == 400
    assert (bucket.read("k"), bucket.read("there"), bucket.usage()) == (b"bytes", b"x", (6, 2))
    assert made(bucket, "copies", "k", "there", if_source_match=etag, if_match="*").status == 201


@pytest.mark.stacks("direct")  # the command line speaks HTTP as every other client
def test_cp_and_mv(bucket: Bucket) -> None:
    place = f"{bucket.username}/photos"
    bucket.put("a", b"bytes")
    assert bucket.service.command("cp", "--metadata", "color=blue", f"{place}/a", f"{place}/folder/").returncode == 0
    assert bucket.record("folder/a")["metadata"] == {"color": "blue"}
    assert bucket.service.command("mv", f"{place}/a", f"{place}/b").returncode == 0
    assert (bucket.exists("a"), bucket.read("b")) == (False, b"bytes")
    assert bucket.service.command("mv", "--if-absent", f"{place}/b", f"{place}/folder/a").returncode == 6
    assert bucket.service.command("cp", f"{place}/a", f"{place}/c").returncode == 3


COPY_STEPS = [
    "cephstorage.store.disk:DiskStore.copy/before",
    "cephstorage.store.disk:DiskStore.copy/after",
    "cephstorage.index.landing:SqlLandingIndex.publish/after",
]


@pytest.mark.stacks("direct")  # it kills the one process that there is
def test_a_rename_that_is_killed_is_done_by_the_next_process(launch: Callable[..., Service], tmp_path: Path) -> None:
    armed = tmp_path / "armed"
    service = launch(crash_armed=str(armed), crash_at=COPY_STEPS[0])
    bucket = Bucket(service, "alice")
    bucket.put("name 0", b"bytes", META)
    for number, point in enumerate(COPY_STEPS):
        service.stop()
        service.module, service.settings["crash_at"] = "tests.harness.crashing", point
        service.start()
        armed.touch()
        with pytest.raises((OSError, HTTPException)):
            made(bucket, "renames", f"name {number}", f"name {number + 1}")
        service.wait()
        armed.unlink()
        service.start()
        until(lambda number=number: bucket.exists(f"name {number + 1}"))
        assert not bucket.exists(f"name {number}")
        assert bucket.record(f"name {number + 1}")["metadata"] == SAID
    assert (bucket.usage(), bucket.read(f"name {len(COPY_STEPS)}")) == ((5, 1), b"bytes")
    until(lambda: len(object_files(service.data_dir)) == 2)
    assert service.stop() == 0
    assert examine(service.data_dir, "alice___photos").drift == []


@pytest.mark.stacks("direct", "real")  # nginx asks for every slice of a published key
def test_a_key_ends_when_it_was_to(bucket: Bucket) -> None:
    record = bucket.put("k", b"bytes", expires="2s")
    assert record["expires_at"] == record["expires"] == pytest.approx(time.time() + 2, abs=60)
    url = address(record["url"])
    until(lambda: not bucket.exists("k"))
    assert bucket.service.call("GET", url, token=None).status == 404
    assert bucket.upload("k", b"other", if_absent="true").status == 201
    assert "expires" not in bucket.record("k")
    bucket.put("swept", b"bytes", expires="1s")
    until(lambda: bucket.usage() == (5, 1))
    assert [each["key"] for each in bucket.listing()["keys"]] == ["k"]


@pytest.mark.stacks("direct")  # decided by the service alone
def test_rules_of_a_bucket_end_keys(bucket: Bucket) -> None:
    bucket.put("logs/old", b"bytes")
    bucket.put("kept", b"x")
    lifecycle = f"{bucket.path}/lifecycle"
    rules = {"rules": [{"prefix": "logs/", "days": 0.00002}]}
    assert bucket.service.json("PUT", lifecycle, rules)["rules"] == rules["rules"]
    until(lambda: bucket.usage() == (1, 1))
    bucket.put("logs/new", b"bytes")
    until(lambda: bucket.usage() == (1, 1))
    place = f"{bucket.username}/photos"
    done = bucket.service.command("bucket", "lifecycle", place, "--expire", "logs/=7", "--expire", "=30", "--json")
    assert json.loads(done.stdout)["rules"] == [{"prefix": "", "days": 30}, {"prefix": "logs/", "days": 7}]
    assert bucket.put("logs/new", b"bytes")["expires_at"] == pytest.approx(time.time() + 7 * 86400, abs=60)
    for wrong in ({"rules": [{"days": 0}]}, {"rules": [{"days": 1}, {"days": 2}]}, {"rule": []}, []):
        assert bucket.service.call("PUT", lifecycle, json.dumps(wrong).encode(), JSON).status == 400
    for moment in ("soon", "0d", "1970-01-02"):
        reply = bucket.upload("refused", b"x", expires=moment)
        assert (reply.status, reply.json()["code"]) == (400, "invalid_expiry")


def test_what_was_deleted_comes_back(bucket: Bucket) -> None:
    place, trash = f"{bucket.username}/photos", f"{bucket.path}/trash"
    assert bucket.service.json("PUT", f"{bucket.path}/lifecycle", {"trash_days": 7})["trash_days"] == 7
    bucket.put("k", b"bytes", META)
    bucket.delete("k")
    assert (bucket.exists("k"), bucket.usage()) == (False, (0, 0))
    (shown,) = bucket.service.json("GET", trash)["versions"]
    assert (shown["key"], shown["reason"], shown["metadata"]) == ("k", "deleted", SAID)
    bucket.put("k", b"newer")
    wish = json.dumps({"key": "k"}).encode()
    assert bucket.service.call("POST", f"{trash}/restore", wish, JSON).status == 412
    bucket.delete("k")
    assert bucket.service.command("trash", "restore", f"{place}/k", "--generation", "1").returncode == 0
    assert (bucket.read("k"), bucket.record("k")["metadata"]) == (b"bytes", SAID)
    listed = bucket.service.command("trash", "ls", place, "--json").stdout.splitlines()
    assert [json.loads(line)["size"] for line in listed] == [5]
    shown = bucket.service.json("GET", bucket.path)
    assert (shown["size"], shown["trash_size"]) == (5, 5)
    assert bucket.service.call("DELETE", f"{trash}?generation=2").status == 400
    assert bucket.service.call("DELETE", f"{trash}?keys=k").status == 400  # mistyped: everything would go
    assert json.loads(bucket.service.command("trash", "empty", place, "--json").stdout)["versions"] == 1
    until(lambda: "trash_size" not in bucket.service.json("GET", bucket.path))
    assert bucket.read("k") == b"bytes"
    assert bucket.service.call("POST", f"{trash}/restore", json.dumps({"key": "gone"}).encode(), JSON).status == 404
