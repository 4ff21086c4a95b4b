"""Names of versions and what is written on objects: any text survives, and S3's bound is kept."""

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cephstorage.domain.names import BucketName
from cephstorage.ports.store import StoredObject
from cephstorage.store.ceph.naming import VersionName, headers_of, noted_name, object_of, planned_name, stored_name
from cephstorage.transfer.description import record_of

BUCKET = BucketName("alice", "photos")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)


def written(**metadata: str) -> dict[str, str]:
    planned = StoredObject(BUCKET, "k", planned_name("abc", 7), 5, "0" * 32, metadata)
    return headers_of(planned)


def read(headers: dict[str, str]) -> StoredObject:
    return object_of(BUCKET, "k", "v1", {**headers, "content-length": "5"})


def test_the_three_forms_of_a_name() -> None:
    assert VersionName.parse(planned_name("abc", 7)) == VersionName("abc.7")
    assert VersionName.parse(noted_name("abc.7", "2~x/y#z")) == VersionName("abc.7", upload="2~x/y#z")
    assert VersionName.parse(stored_name("abc.7", "A._-b")) == VersionName("abc.7", version_id="A._-b")


@given(st.dictionaries(st.sampled_from(["etag", "source", "target", "last_modified", "content_type"]), TEXT))
def test_any_text_survives(metadata: dict[str, str]) -> None:
    assume(sum(len(name) + 3 * len(value.encode()) for name, value in metadata.items()) < 1800)  # S3 takes 2,048 bytes
    headers = written(**metadata)
    for name, value in headers.items():
        assert value.isascii(), name
        assert value.isprintable(), name
        assert value == value.strip(), name
    assert read(headers) == StoredObject(BUCKET, "k", "abc.7#v1", 5, "0" * 32, metadata)


@given(st.dictionaries(st.sampled_from(["a", "bb", "ccc", "dddd"]), st.text("é%x", max_size=900)))
def test_the_bound_is_kept_and_what_a_record_needs_comes_first(metadata: dict[str, str]) -> None:
    needed = {"timetag": "1.5", "generation": "12"}
    headers = written(**metadata, **needed)
    user = {name.removeprefix("x-amz-meta-"): value for name, value in headers.items() if name.startswith("x-amz")}
    assert sum(len(name) + len(value) for name, value in user.items()) <= 2048
    found = read(headers)
    assert found.md5 == "0" * 32
    assert found.metadata.items() >= needed.items()
    assert {**metadata, **needed}.items() >= found.metadata.items()


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("text/plain; charset=utf-8", "text/plain; charset=utf-8"),
        ("", "application/octet-stream"),
        ("text/pläin", "application/octet-stream"),
        ("text/plain\r\nx-evil: 1", "application/octet-stream"),
        (" text/plain", "application/octet-stream"),
        ("a/" + "b" * 3000, "application/octet-stream"),
    ],
)
def test_content_type_is_the_objects_own_where_a_header_can_say_it(given: str, sent: str) -> None:
    assert written(content_type=given)["content-type"] == sent


NAMES = st.sampled_from(["color", "md5", "last-modified", "key-md5", "key-key-x", "attempt", "x"])


@given(st.dictionaries(NAMES, st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)))
def test_what_the_caller_said_stands_under_its_own_name_and_hides_nothing_of_ours(custom: dict[str, str]) -> None:
    ours = {"timetag": "1.5", "generation": "12", "last_modified": "then"}
    planned = StoredObject(BUCKET, "k", "abc.7", 5, "0" * 32, ours, tuple(sorted(custom.items())))
    headers = headers_of(planned)
    assert headers["x-amz-meta-md5"] == "0" * 32
    assert headers.get("x-amz-meta-color") == custom.get("color")
    assert read(headers) == replace(planned, store_version="abc.7#v1")


MD5 = "5d41402abc4b2a76b9719d911017c592"
SEEN = {"content-length": "5", "last-modified": "Thu, 01 Jan 1970 00:01:00 GMT", "content-type": "text/plain"}


def test_what_others_stored_is_named_by_its_etag() -> None:
    found = object_of(BUCKET, "k", "null", {**SEEN, "etag": f'"{MD5}"', "x-amz-meta-mine": "x"})
    described = {"content_type": "text/plain", "source": "s3", "timetag": "60.0"}
    assert found == StoredObject(BUCKET, "k", f"s3.{MD5}.null#null", 5, MD5, described, (("mine", "x"),))
    assert VersionName.parse(found.store_version).version_id == "null"


@pytest.mark.parametrize("sent", ["text/pl\udce4in", "text/plain\x01", "a/" + "b" * 3000])
def test_a_content_type_that_no_header_and_no_database_holds_is_not_taken_over(sent: str) -> None:
    record = record_of(object_of(BUCKET, "k", "v1", {**SEEN, "etag": f'"{MD5}"', "content-type": sent}))
    assert record is not None
    assert record.content_type == "application/octet-stream"


def test_nobody_has_said_the_md5_of_what_came_in_parts() -> None:
    found = object_of(BUCKET, "k", "v1", {"content-length": "5", "etag": f'"{MD5}-2"'})
    assert (found.store_version, found.md5) == (f"s3.{MD5}-2.v1#v1", "")
    assert record_of(found) is None


@pytest.mark.parametrize(
    "metadata",
    [
        {"md5": MD5},
        {"attempt": "abc.7"},
        {"md5": "0" * 32, "attempt": "abc.7"},
        {"md5": MD5, "attempt": "abc.7#v0"},
        {"md5": MD5, "attempt": "abc%00"},
        {"md5": MD5, "attempt": ""},
    ],
)
def test_our_metadata_on_other_bytes_is_not_believed(metadata: dict[str, str]) -> None:
    sent = {f"x-amz-meta-{name}": value for name, value in metadata.items()}
    found = object_of(BUCKET, "k", "v1", {**SEEN, "etag": f'"{MD5}"', **sent})
    assert (found.md5, found.metadata["source"]) == (MD5, "s3")
    assert found.store_version == f"s3.{MD5}.v1#v1"


@pytest.mark.parametrize("md5", ["", "x", f"{MD5}%0D%0ASet-Cookie: a=b", MD5.upper()])
def test_what_is_no_md5_is_not_believed_of_what_came_in_parts_either(md5: str) -> None:
    sent = {"x-amz-meta-attempt": "abc.7", "x-amz-meta-md5": md5}
    found = object_of(BUCKET, "k", "v1", {**SEEN, "etag": f'"{MD5}-2"', **sent})
    assert (found.md5, found.metadata["source"]) == ("", "s3")


def test_what_others_stored_makes_a_record() -> None:
    record = record_of(object_of(BUCKET, "k", "v1", {**SEEN, "etag": f'"{MD5}"'}))
    assert record is not None
    assert (record.md5, record.ts, record.size, record.source, record.generation) == (MD5, 60.0, 5, "s3", 1)
