"""Coming from the original CephStorage: its export and its buckets in a real Ceph become an index; nothing there changes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.harness import programs
from tests.harness.bucket import Bucket, md5
from tests.harness.ceph import PROGRAMS as CEPH_PROGRAMS
from tests.harness.ceph import Ceph
from tests.harness.content import MIB
from tests.harness.machines import shared_engines
from tests.harness.s3 import Bystander
from tests.harness.service import Service

pytestmark = pytest.mark.stacks("direct")  # it brings its own engines

OLD = "alice___photos"
TS = 1614834367
TAKEN = {"a/one.txt": b"one", "two ü+%.bin": b"two two", "a//b/": b"", "overwritten": b"last"}


def document(key: str, body: bytes, **fields: Any) -> dict[str, Any]:
    """A key's document as mongoexport writes it by default."""
    folder = key.rpartition("/")[0]
    known = {"_id": {"$oid": md5(key.encode())[:24]}, "key": key, "ts": TS, "vfolder": folder, "md5": md5(body)}
    return {**known, "content_type": "text/x-old", "size": len(body), "owner": "root", **fields}


@dataclass
class Original:
    """What the original left behind: objects in a bucket without versions, and files."""

    service: Service
    ceph: Bystander
    folder: Path

    def put(self, key: str, body: bytes) -> None:
        self.ceph.client.put_object(Bucket=OLD, Key=key, Body=body, ContentType="application/x-seen")

    def put_in_parts(self, key: str, *bodies: bytes) -> None:
        place = {"Bucket": OLD, "Key": key}
        upload = self.ceph.client.create_multipart_upload(**place)["UploadId"]
        parts = []
        for number, body in enumerate(bodies, 1):
            sent = self.ceph.client.upload_part(**place, UploadId=upload, PartNumber=number, Body=body)
            parts.append({"PartNumber": number, "ETag": sent["ETag"]})
        self.ceph.client.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": parts})

    def export(self, name: str, *lines: dict[str, Any] | bytes) -> None:
        texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        (self.folder / name).write_bytes(b"\n".join(texts) + b"\n")

    def objects(self) -> list[tuple[str, str, str, str]]:
        """Everything that lies in the bucket, to be compared."""
        found = self.ceph.client.list_object_versions(Bucket=OLD)
        return [(v["Key"], v["VersionId"], v["ETag"], str(v["LastModified"])) for v in found.get("Versions", [])]

    def run(self, *options: str, code: int = 0, **settings: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Import; the summary and the report."""
        report = self.folder.parent / "report.ndjson"
        command = ["import-legacy", "--json", str(self.folder), "--report", str(report), *options]
        done = self.service.command(*command, **settings)
        assert done.returncode == code, done.stdout + done.stderr + report.read_text()
        return json.loads(done.stdout), [json.loads(line) for line in report.read_text().splitlines()]


@pytest.fixture(params=["sqlite", "postgresql"])
def original(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Original]:
    """A machine whose service is not running yet, and what it is to take over."""
    programs.require(*CEPH_PROGRAMS)
    node: Ceph = request.getfixturevalue("ceph")
    settings = shared_engines(request.getfixturevalue("postgres"), node)
    if request.param == "sqlite":
        settings.pop("database_url")
    service = Service(tmp_path / "data", **settings)
    other = Bystander(node, OLD, settings["ceph_access_key"], settings["ceph_secret_key"])
    other.client.create_bucket(Bucket=OLD)
    (tmp_path / "export").mkdir()
    yield Original(service, other, tmp_path / "export")
    service.stop()
    other.close()


def test_everything_is_taken_over_once_and_told_where_it_differs(original: Original) -> None:
    original.put("overwritten", b"first")
    for key, body in TAKEN.items():
        original.put(key, body)
    original.put("size", b"longer than before")
    original.put("md5", b"12345")
    original.put("nobody", b"speaks of it")
    parts = (b"x" * 5 * MIB, b"y")
    original.put_in_parts("parts", *parts)
    original.put_in_parts("parts without md5", *parts)
    before = original.objects()
    dated = {"ts": {"$date": {"$numberLong": f"{TS}000"}}, "size": {"$numberLong": "0"}}
    original.export(
        f"{OLD}.json",
        document("a/one.txt", TAKEN["a/one.txt"]),
        b"{this is no JSON",
        document("two ü+%.bin", TAKEN["two ü+%.bin"]),
        {"colour": "red"},
        document("a//b/", b"", **dated),
        b"",
        document("overwritten", TAKEN["overwritten"]),
        document("size", b"short"),
        document("md5", b"54321"),
        document("missing", b"gone"),
        document("parts", b"".join(parts)),
        {**document("parts without md5", b"".join(parts)), "md5": None},
        b'{"key": "long", "content_type": "' + b"x" * (1 << 20) + b'"}',
        document("a/one.txt", TAKEN["a/one.txt"]),
    )
    original.export("nowhere___bucket.json", document("k", b"k"))
    mirror = {"mirror_host": "files.example", "bucket_name": "mirrors___files", "real_host": "files.example.org"}
    original.export("mirrors.json", mirror, {**mirror, "mirror_host": "-"})
    creations = [{"token": "1", "progress": "success"}, {"token": "2", "progress": "inprogress", "key_name": "late"}]
    original.export("progress.json", *creations)
    access = {name: original.service.settings[name] for name in ("ceph_gateway", "ceph_access_key", "ceph_secret_key")}
    for name in access:
        del original.service.settings[name]
    settings = {"ceph_host": access["ceph_gateway"].removeprefix("http://"), "access_key": access["ceph_access_key"]}
    original.export("config.json", settings, {"name": "secret_key", "value": access["ceph_secret_key"]})

    told, _ = original.run("--dry-run", code=1)
    assert original.ceph.client.get_bucket_versioning(Bucket=OLD).get("Status") is None
    first, report = original.run(code=1)
    assert original.ceph.client.get_bucket_versioning(Bucket=OLD)["Status"] == "Enabled"
    assert original.objects() == before
    unlisted = {"object": first["counts"]["object"]}  # a dry run does not look for them
    assert told["counts"] | unlisted == first["counts"]
    assert first["counts"] == {
        "key": {"taken": 5, "unverified": 1, "known": 1, "missing": 2, "differs": 2},
        "line": {"refused": 4},
        "mirror": {"taken": 1},
        "progress": {"past": 1, "unfinished": 1},
        "setting": {"taken": 3},
        "object": {"unlisted": 3},
    }
    assert first["unread_fields"] == {"owner": 11}
    assert {(each["outcome"], each["name"]) for each in report if each["kind"] in {"key", "object"}} == {
        ("differs", "size"),
        ("differs", "md5"),
        ("missing", "missing"),
        ("missing", "k"),
        ("unverified", "parts"),
        ("unlisted", "size"),
        ("unlisted", "md5"),
        ("unlisted", "nobody"),
    }
    refused = [(Path(each["file"]).name, each["line"]) for each in report if each["outcome"] == "refused"]
    assert refused == [(f"{OLD}.json", 2), (f"{OLD}.json", 4), (f"{OLD}.json", 13), ("mirrors.json", 2)]
    assert access["ceph_secret_key"] not in json.dumps([report, first])

    original.service.start()
    bucket = Bucket(original.service, "alice")
    for key, body in TAKEN.items():
        record = bucket.record(key)
        shown = {name: record[name] for name in ("md5", "size", "content_type", "source")}
        assert shown == {"md5": md5(body), "size": len(body), "content_type": "text/x-old", "source": "legacy"}
        assert float(record["ts"]) == TS
        assert bucket.read(key) == body
    assert bucket.read("parts") == b"".join(parts)
    assert bucket.record("parts without md5")["md5"] == md5(b"".join(parts))
    mirrors = original.service.json("GET", "/mirrors/host")
    assert "http://files.example.org" in json.dumps(mirrors)

    bucket.put("overwritten", b"by the service")
    listing = original.service.call("GET", f"{bucket.path}/keys?recursive=true").json()
    second, _ = original.run("--unlisted", "ignore", code=1)
    assert second["counts"]["key"] == {"known": 6, "kept": 1, "missing": 2, "differs": 2}
    assert second["counts"]["mirror"] == {"known": 1}
    assert second["counts"]["setting"] == {"known": 3}
    assert original.service.call("GET", f"{bucket.path}/keys?recursive=true").json() == listing
    assert bucket.read("overwritten") == b"by the service"

    third, _ = original.run("--unlisted", "adopt", "--skip-known", code=1)
    assert third["counts"]["key"] == {"known": 7, "missing": 2, "differs": 2}
    assert third["counts"]["object"] == {"adopted": 3}
    assert bucket.read("nobody") == b"speaks of it"
    assert set(before) <= set(original.objects())
