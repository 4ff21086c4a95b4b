"""Documents of the original CephStorage: what each stands for, under whatever known name its fields come."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephstorage.domain.errors import CephStorageError, InvalidDocument
from cephstorage.domain.extended_json import Moment, Opaque
from cephstorage.domain.legacy import (
    LegacyKey,
    LegacyMirror,
    LegacyProgress,
    LegacySettings,
    bucket_of_file,
    read_legacy,
    unread,
)
from cephstorage.domain.names import BucketName

BUCKET = BucketName("alice", "photos")
MD5 = "5d41402abc4b2a76b9719d911017c592"
KEY = {"key": "a/b.txt", "ts": 5, "vfolder": "a", "md5": MD5, "content_type": "text/plain", "size": 7}
READ = LegacyKey(BUCKET, "a/b.txt", 5.0, MD5, "text/plain", 7)


@pytest.mark.parametrize(
    "document",
    [
        KEY,
        {**KEY, "_id": "507f1f77bcf86cd799439011"},
        {
            "key_name": "a/b.txt",
            "timetag": Moment(5.0),
            "md5sum": MD5.upper(),
            "contenttype": "text/plain",
            "size": 7.0,
        },
        {**KEY, "vfolder": "/a/", "ts": "1970-01-01T00:00:05Z"},
        {**KEY, "key_name": "a/b.txt"},
        {**KEY, "bucket": "alice___photos"},
        {**KEY, "username": "alice", "bucketname": "photos"},
        {**KEY, "username": "alice", "bucket": "photos"},
    ],
)
def test_a_key_is_read_under_every_known_name(document: dict[str, Any]) -> None:
    assert read_legacy(document, BUCKET) == READ


def test_milliseconds_are_told_from_seconds() -> None:
    read = read_legacy({**KEY, "ts": 1614834367089}, BUCKET)
    assert isinstance(read, LegacyKey)
    assert read.ts == 1614834367.089


def test_a_document_names_its_bucket_before_its_file_does() -> None:
    read = read_legacy({**KEY, "bucket": "bob___other"}, BUCKET)
    assert isinstance(read, LegacyKey)
    assert read.bucket == BucketName("bob", "other")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"key": ""}, "empty"),
        ({"key": 5}, "text"),
        ({"key": "a\0b", "vfolder": None}, "NUL"),
        ({"key": "\ud800", "vfolder": None}, "UTF-8"),
        ({"size": -1}, "size"),
        ({"size": 1.5}, "size"),
        ({"size": True}, "size"),
        ({"size": "7"}, "size"),
        ({"size": Opaque("$binary")}, "size"),
        ({"ts": True}, "ts"),
        ({"ts": -1}, "1970"),
        ({"ts": float("nan")}, "1970"),
        ({"ts": "yesterday"}, "yesterday"),
        ({"ts": Moment(-1.0)}, "1970"),
        ({"md5": "x"}, "md5"),
        ({"md5": 5}, "md5"),
        ({"vfolder": "b"}, "vfolder"),
        ({"content_type": "\udfff"}, "content_type"),
        ({"content_type": "text/plain\0"}, "content_type"),
        ({"content_type": "text/plain\r\nSet-Cookie: a=b"}, "content_type"),
        ({"key_name": "another"}, "contradict"),
        ({"bucket": "photos"}, "username___bucketname"),
        ({"bucket": "Alice___photos"}, "lower-case"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(CephStorageError, match=said):
        read_legacy({**KEY, **fields}, BUCKET)


def test_a_key_of_nowhere_is_refused() -> None:
    with pytest.raises(InvalidDocument, match="--bucket"):
        read_legacy(KEY)


def test_mirrors_progress_and_settings_are_told_by_their_fields() -> None:
    mirror = {"mirror_host": "Files.Example", "bucket_name": "alice___photos", "real_host": "files.example.org"}
    assert read_legacy(mirror) == LegacyMirror("files.example", BUCKET, "http://files.example.org")
    progress = {"token": "t", "progress": "inprogress", "key_name": "k", "key_url": "http://a.example/"}
    assert read_legacy(progress) == LegacyProgress("t", ended=False, key="k", url="http://a.example/")
    assert read_legacy({"token": "t", "progress": "success"}) == LegacyProgress("t", ended=True, key="", url="")
    settings = {"ceph_host": "10.0.0.1", "ceph_port": 7480, "access_key": "A", "secret_key": "S", "colour": "red"}
    values = {"ceph_gateway": "http://10.0.0.1:7480", "ceph_access_key": "A", "ceph_secret_key": "S"}
    assert read_legacy(settings) == LegacySettings(values, ("colour",))
    assert read_legacy({"name": "download_dir", "value": "/srv/d"}) == LegacySettings({"download_path": "/srv/d"})
    assert read_legacy({"key": "ceph_region", "value": "eu"}) == LegacySettings({"ceph_region": "eu"})


@pytest.mark.parametrize("document", [{}, {"key": "k"}, {"size": 5}, {"token": "t"}, {"_id": "x", "colour": "red"}])
def test_a_document_of_no_known_fields_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(InvalidDocument, match="no document that is known"):
        read_legacy(document, BUCKET)


def test_a_secret_is_in_no_message_and_no_representation() -> None:
    read = read_legacy({"secret_key": "hush-hush"})
    assert "hush" not in repr(read)
    with pytest.raises(CephStorageError) as refused:
        read_legacy({"secret_key": "hush hush"})
    assert "hush" not in refused.value.msg
    mirror = read_legacy({"mirror_host": "a.example", "bucket_name": "a___b", "real_host": "http://u:hush@b.example"})
    assert "hush" not in repr(mirror)


def test_fields_that_nobody_reads_are_named() -> None:
    assert unread({**KEY, "_id": "x", "owner": 5}) == {"owner"}


@pytest.mark.parametrize(
    ("name", "bucket"),
    [
        ("alice___photos.json", BUCKET),
        ("CephStorageIndex.alice___photos.json", BUCKET),
        ("alice___photos", BUCKET),
        ("mirrors.json", None),
        ("Alice___photos.json", None),
    ],
)
def test_the_collections_name_is_the_buckets(name: str, bucket: BucketName | None) -> None:
    assert bucket_of_file(name) == bucket


def test_differences_are_told_and_what_is_not_known_is_none() -> None:
    assert READ.differences(7, MD5) == ""
    assert READ.differences(7, "") == ""
    assert READ.differences(8, "0" * 32) == (
        f"size: the document says 7, Ceph has 8; md5: the document says {MD5}, Ceph has {'0' * 32}"
    )
    assert LegacyKey(BUCKET, "k", None, None, None, None).differences(8, MD5) == ""


NAMES = ["key", "key_name", "ts", "vfolder", "md5", "size", "bucket", "username", "mirror_host", "real_host", "token"]
NAMES += ["progress", "ceph_host", "secret_key", "name", "value", "other"]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=9),
    st.just(MD5),
    st.builds(Moment, st.floats()),
)


@given(st.dictionaries(st.sampled_from(NAMES), VALUES))
def test_whatever_a_document_holds_it_is_read_or_refused(document: dict[str, Any]) -> None:
    with contextlib.suppress(CephStorageError):
        read_legacy(document, BUCKET)
