"""What a landing plans: names, times, validators, and a source that shows no secret."""

from pathlib import Path
from typing import Any

import pytest

from cephstorage.domain.records import OriginFacts
from cephstorage.domain.transfers import Kind, Lease, Plan, SourceFacts, TransferRequest
from cephstorage.domain.validators import Validators
from cephstorage.index import SqliteIndex
from cephstorage.store.disk import DiskStore
from cephstorage.transfer.landing import Landing, planned_object, public_source
from tests.unit.transfer.conftest import BUCKET, fill_request

NOW = 1000.0
MD5 = "0" * 32
LEASE = Lease("abc", "owner", 7)
ORIGIN = OriginFacts("/k?v=1", (("X-A", "1"),), Validators('W/"o"'), None)


def plan(folder: Path, request: TransferRequest, source: SourceFacts | None = None) -> Plan:
    landing = Landing(DiskStore(folder), SqliteIndex(folder / "index").landing, lambda: NOW)
    return landing.plan(request, source, LEASE, 10, MD5)


def source(origin: OriginFacts | None = None, **fields: Any) -> SourceFacts:
    values: dict[str, Any] = {"public": Validators(), "content_type": "image/jpeg", **fields}
    return SourceFacts("http://origin.example/k", 10, '"r"', origin=origin, **values)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://origin.example/a/b", "http://origin.example/a/b"),
        ("https://user:secret@origin.example:8443/a", "https://origin.example:8443/a"),
        ("https://secret-token@origin.example/a", "https://origin.example/a"),
        ("https://user:p%40ss@word@origin.example/a", "https://origin.example/a"),
        ("https://origin.example/a?signature=secret&x=1", "https://origin.example/a"),
        ("https://origin.example/a#secret", "https://origin.example/a"),
        ("https://user:secret@origin.example?mail=a@b", "https://origin.example"),
        ("https://user:secret@[2001:db8::1]:443/a?token=secret", "https://[2001:db8::1]:443/a"),
        (None, "upload"),
    ],
)
def test_the_source_hides_credentials(url: str | None, shown: str) -> None:
    request = TransferRequest(Kind.FETCH if url else Kind.UPLOAD, BUCKET, "k", url=url)
    assert public_source(request) == shown


def test_an_upload(tmp_path: Path) -> None:
    planned = plan(tmp_path, TransferRequest(Kind.UPLOAD, BUCKET, "k", content_type="text/html", timetag=5.5))
    assert (planned.size, planned.md5, planned.content_type, planned.ts) == (10, MD5, "text/html", 5.5)
    assert planned.public == Validators(f'"{MD5}"', "Thu, 01 Jan 1970 00:00:05 GMT")
    assert (planned.source, planned.origin) == ("upload", None)


def test_an_upload_without_words(tmp_path: Path) -> None:
    planned = plan(tmp_path, TransferRequest(Kind.UPLOAD, BUCKET, "k"))
    assert (planned.content_type, planned.ts) == ("application/octet-stream", NOW)


def test_a_key_from_a_url_has_validators_of_its_own(tmp_path: Path) -> None:
    request = TransferRequest(Kind.FETCH, BUCKET, "k", url="http://u:p@origin.example/k?s=1", timetag=0.0)
    planned = plan(tmp_path, request, source())
    assert (planned.ts, planned.content_type) == (0.0, "image/jpeg")
    assert planned.public == Validators(f'"{MD5}"', "Thu, 01 Jan 1970 00:00:00 GMT")
    assert planned.source == "http://origin.example/k"
    assert planned.origin is None


def test_a_mirrored_key_keeps_what_its_readers_were_shown(tmp_path: Path) -> None:
    shown = Validators('W/"o"', None)
    planned = plan(tmp_path, fill_request("http://origin.example/k"), source(ORIGIN, public=shown))
    assert (planned.public, planned.origin) == (shown, ORIGIN)


def test_the_version_belongs_to_the_attempt(tmp_path: Path) -> None:
    planned = plan(tmp_path, TransferRequest(Kind.UPLOAD, BUCKET, "k"))
    assert planned.store_version == DiskStore(tmp_path).plan_version(LEASE.transfer_id, LEASE.fence)


def test_the_store_is_told_all_that_a_record_needs_and_no_secret(tmp_path: Path) -> None:
    request = fill_request("http://user:secret@origin.example/k?signature=secret", key="a//b")
    planned = plan(tmp_path, request, source(ORIGIN, public=Validators('"e"', "Thu, 01 Jan 1970 00:00:09 GMT")))
    told = planned_object(request, planned, 3)
    assert (told.bucket, told.key, told.store_version, told.size, told.md5) == (
        BUCKET, "a//b", planned.store_version, 10, MD5,
    )  # fmt: skip
    assert told.metadata == {
        "content_type": "image/jpeg",
        "timetag": repr(NOW),
        "source": "http://origin.example/k",
        "etag": '"e"',
        "last_modified": "Thu, 01 Jan 1970 00:00:09 GMT",
        "target": "/k?v=1",
        "generation": "3",
    }
    assert "secret" not in repr(told)
