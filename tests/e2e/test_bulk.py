"""Many keys at once over HTTP: deletions that outlive the process, listings exported and imported."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.harness.bucket import Bucket, address
from tests.harness.names import NASTY_KEYS
from tests.harness.patience import until
from tests.harness.service import Service


def listed(bucket: Bucket) -> list[str]:
    return [record["key"] for record in bucket.listing(recursive="true")["keys"]]


def ended(bucket: Bucket, deletion: Any) -> Any:
    def look() -> Any:
        shown = bucket.service.json("GET", f"{bucket.path}/deletions/{deletion['id']}")
        return shown if shown["ended"] is not None else None

    return until(look)


def test_a_folder_is_deleted_in_the_background(bucket: Bucket) -> None:
    for key in ("a/1", "a/b/2", "a", "ab/3"):
        bucket.put(key, b"x")
    deletion = bucket.service.json("POST", f"{bucket.path}/deletions", {"vfolder": "a"})
    shown = ended(bucket, deletion)
    assert (shown["state"], shown["prefix"], shown["keys_deleted"], shown["keys_total"]) == ("success", "a/", 2, None)
    assert listed(bucket) == ["a", "ab/3"]
    assert bucket.service.json("GET", f"{bucket.path}/deletions")["deletions"] == [shown]


def test_a_list_of_nasty_keys_is_deleted(bucket: Bucket) -> None:
    for key in NASTY_KEYS.values():
        bucket.put(key, b"x")
    wanted = sorted(NASTY_KEYS.values())[::2]
    deletion = bucket.service.json("POST", f"{bucket.path}/deletions", {"keys": [*wanted, "not there"]})
    shown = ended(bucket, deletion)
    assert (shown["keys_deleted"], shown["keys_missing"], shown["keys_total"]) == (len(wanted), 1, len(wanted) + 1)
    assert listed(bucket) == sorted(set(NASTY_KEYS.values()) - set(wanted), key=str.encode)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"nonsense",
        b'{"keys": []}',
        b'{"keys": [""]}',
        b'{"keys": ["a\\u0000b"]}',
        b'{"keys": ["\\ud800"]}',
        b'{"keys": "a"}',
        b'{"keys": ["a"], "prefix": "b"}',
        b'{"prefix": ""}',
        b'{"vfolder": ""}',
        b'{"prefix": "a\\u0000"}',
        b'{"all": false}',
        b'{"everything": true}',
        b'{"other": 1}',
    ],
)
def test_what_makes_no_sense_is_refused(body: bytes, bucket: Bucket) -> None:
    bucket.put("a", b"x")
    reply = bucket.service.call("POST", f"{bucket.path}/deletions", body)
    assert reply.status == 400, reply.body
    assert listed(bucket) == ["a"]


def test_deletions_of_others_are_unknown(bucket: Bucket) -> None:
    deletion = bucket.service.json("POST", f"{bucket.path}/deletions", {"prefix": "a"})
    other = Bucket(bucket.service, "elsewhere")
    for method in ("GET", "DELETE"):
        reply = bucket.service.call(method, f"{other.path}/deletions/{deletion['id']}")
        assert (reply.status, reply.json()["code"]) == (404, "job_not_found")
    reply = bucket.service.call("POST", "/ceph/nobody/photos/deletions", b'{"all": true}')
    assert (reply.status, reply.json()["code"]) == (404, "bucket_not_found")


@pytest.mark.stacks("direct")  # it looks between two steps of one process
def test_a_deletion_goes_on_after_kill_9(tmp_path: Path) -> None:
    service = Service(tmp_path, transfer_deletion_rate="100").start()
    bucket = Bucket(service, "photos")
    amount = 620  # a step has 500
    for number in range(amount):
        bucket.put(f"old/{number:03}", b"x")
    deletion = service.json("POST", f"{bucket.path}/deletions", {"vfolder": "old"})
    until(lambda: bucket.usage()[1] < amount)
    service.kill()
    service.start()
    try:
        between = service.json("GET", f"{bucket.path}/deletions/{deletion['id']}")
        assert (between["state"], between["keys_deleted"]) == ("inprogress", amount - bucket.usage()[1])
        bucket.put("old/001", b"new")
        shown = ended(bucket, deletion)
        assert (shown["state"], shown["keys_deleted"]) == ("success", amount)
        assert listed(bucket) == ["old/001"]
        assert bucket.usage() == (3, 1)
    finally:
        service.stop()


def test_an_export_is_every_record_in_order(bucket: Bucket) -> None:
    for key in NASTY_KEYS.values():
        bucket.put(key, key.encode())
    reply = bucket.service.call("GET", f"{bucket.path}/export")
    assert reply.headers["content-type"].startswith("application/x-ndjson")
    records = [json.loads(line) for line in reply.body.split(b"\n") if line]
    assert records == bucket.listing(recursive="true")["keys"]
    below = bucket.service.call("GET", f"{bucket.path}/export?prefix=a&urls=true")
    shown = [json.loads(line) for line in below.body.split(b"\n") if line]
    assert [record["key"] for record in shown] == [record["key"] for record in records if record["key"].startswith("a")]
    for record in shown:
        assert bucket.service.call("GET", address(record["url"]), token=None).body == record["key"].encode()
    unknown = bucket.service.call("GET", "/ceph/nobody/photos/export")
    assert (unknown.status, unknown.json()["code"]) == (404, "bucket_not_found")


@pytest.mark.stacks("direct")  # two installations, one of which is the other's origin
def test_what_was_exported_is_imported_with_its_bytes(tmp_path: Path) -> None:
    giving = Service(tmp_path / "giving").start()
    taking = Service(tmp_path / "taking", origin_allowed_ports=str(giving.port)).start()
    try:
        source, target = Bucket(giving, "photos"), Bucket(taking, "photos")
        for key in NASTY_KEYS.values():
            source.put(key, key.encode(), {"Content-Type": "image/png", "timetag": "12345"})
        lines = giving.call("GET", f"{source.path}/export?urls=true").body
        report = taking.call("POST", f"{target.path}/import", lines).json()
        amount = len(NASTY_KEYS)
        assert (report["lines"], report["created"], report["refused"]) == (amount, amount, 0), report
        until(lambda: taking.json("GET", target.path)["keyamount"] == amount)
        wanted = source.listing(recursive="true")["keys"]
        found = target.listing(recursive="true")["keys"]
        same = ("key", "ts", "md5", "content_type", "size")
        assert [[record[name] for name in same] for record in found] == [
            [each[name] for name in same] for each in wanted
        ]
        again = taking.call("POST", f"{target.path}/import", lines).json()
        assert (again["created"], again["present"]) == (0, amount)
    finally:
        taking.stop()
        giving.stop()


def test_lines_that_make_no_sense_are_counted_and_the_rest_taken(bucket: Bucket) -> None:
    bucket.put("here", b"x")
    lines = [
        b'{"key_url": "http://origin.invalid/1", "key_name": "one"}',
        b"nonsense",
        b'{"key_url": "http://origin.invalid/2"}',
        b'{"key": "", "url": "http://origin.invalid/3"}',
        b'{"key": "k", "url": "ftp://origin.invalid/3"}',
        b'{"key_url": "http://origin.invalid/4", "key_name": "here", "if_absent": true}',
        b"",
        b"[1]",
        b'{"key": "k", "url": "http://origin.invalid/5", "ts": "x"}',
    ]
    reply = bucket.service.call("POST", f"{bucket.path}/import", b"\n".join(lines))
    report = reply.json()
    assert (reply.status, report["lines"], report["created"], report["refused"]) == (202, 9, 1, 7)
    assert [error["line"] for error in report["errors"]] == [2, 3, 4, 5, 8, 9, 6]


def test_a_line_without_an_end_is_refused(bucket: Bucket) -> None:
    reply = bucket.service.call("POST", f"{bucket.path}/import", b"x" * 100_000)
    assert (reply.status, reply.json()["code"]) == (400, "invalid_request")
