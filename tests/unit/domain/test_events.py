"""Events: what they claim is read with suspicion, and spares a look only where the index knows the same."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephstorage.domain.consistency import Known
from cephstorage.domain.errors import InvalidDocument
from cephstorage.domain.events import Event, address_of, is_news, is_token, read_events, token_of
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import Record

BUCKET = BucketName("alice", "photos")


def pushed(key: Any = "k", name: Any = "ObjectCreated:Put", bucket: Any = "alice___photos", **of_object: Any) -> Any:
    """An event as RGW pushes it, as far as it is read."""
    return {"eventName": name, "s3": {"bucket": {"name": bucket}, "object": {"key": key, **of_object}}}


def body(*records: Any) -> bytes:
    return json.dumps({"Records": records}).encode()


def record(store_version: str) -> Record:
    return Record(BUCKET, "k", 1.0, "0" * 32, "text/plain", 1, 1, None, None, store_version, "upload", 1.0)


def test_events_are_read_in_their_order() -> None:
    written = pushed("a b+ü%20/x", versionId="v1", metadata=[{"key": "x-amz-meta-attempt", "val": "t.1"}])
    removed = pushed("gone", "s3:ObjectRemoved:DeleteMarkerCreated", versionId="")
    read, strange = read_events(body(written, removed))
    assert (list(read), strange) == (
        [
            Event(BUCKET, "a b+ü%20/x", "ObjectCreated:Put", "v1", "t.1"),
            Event(BUCKET, "gone", "ObjectRemoved:DeleteMarkerCreated"),
        ],
        0,
    )


@pytest.mark.parametrize(
    "record",
    [
        None,
        5,
        {},
        pushed(None),
        pushed(""),
        pushed("x" * 1025),
        pushed("a\0b"),
        pushed(5),
        pushed(name="ObjectRestore:Post"),
        pushed(name=None),
        pushed(bucket="photos"),
        pushed(bucket=None),
        pushed(metadata=5),
        pushed(metadata=[{"key": "a"}]),
        pushed("\ud800"),
    ],
)
def test_what_makes_no_sense_is_counted_and_the_rest_is_read(record: Any) -> None:
    read, strange = read_events(body(record, pushed()))
    assert (list(read), strange) == ([Event(BUCKET, "k", "ObjectCreated:Put")], 1)


@pytest.mark.parametrize("wrong", [b"", b"{", b"[]", b"5", b"{}", b'{"Records": 5}', b"\xff", b"[" * 100_000])
def test_a_body_without_events_is_refused(wrong: bytes) -> None:
    with pytest.raises(InvalidDocument):
        read_events(wrong)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["eventName", "s3", "bucket", "object", "key", "name", "metadata"]), inner)
    ),
    max_leaves=8,
)


@given(st.one_of(st.binary(max_size=40), st.lists(JSON, max_size=3).map(lambda records: body(*records))))
def test_whatever_comes_is_read_or_refused(sent: bytes) -> None:
    with contextlib.suppress(InvalidDocument):
        read_events(sent)


CREATED = Event(BUCKET, "k", "ObjectCreated:Put", "v1", "t.1")
DELETED = Event(BUCKET, "k", "ObjectRemoved:Delete", "v1")
MARKED = Event(BUCKET, "k", "ObjectRemoved:DeleteMarkerCreated", "v9")


@pytest.mark.parametrize(
    ("event", "known", "news"),
    [
        (CREATED, Known(record("t.1#v1")), False),
        (CREATED, Known(record("t.1#v2")), True),
        (CREATED, Known(), True),
        (CREATED, Known(coming=frozenset({"t.1"})), False),
        (CREATED, Known(record("u.1#v0"), coming=frozenset({"t.1"})), False),
        (CREATED, Known(coming=frozenset({"t.2"})), True),
        (Event(BUCKET, "k", "ObjectCreated:Copy", "", ""), Known(record("t.1#v1"), coming=frozenset({""})), True),
        (DELETED, Known(leaving=frozenset({"t.1#v1"})), False),
        (DELETED, Known(leaving=frozenset({"t.1#v2"})), True),
        (DELETED, Known(), True),
        (DELETED, Known(record("t.1#v1")), True),
        (MARKED, Known(record("t.1#v1"), leaving=frozenset({"t.0#v9"})), True),
        (MARKED, Known(), True),
    ],
)
def test_our_own_doings_are_no_news(event: Event, known: Known, news: bool) -> None:
    assert is_news([event], known) is news


def test_one_event_that_tells_news_is_enough() -> None:
    assert is_news([CREATED, MARKED, CREATED], Known(record("t.1#v1")))
    assert not is_news([CREATED, CREATED], Known(record("t.1#v1")))


def test_an_address_opens_one_bucket_and_shows_no_secret() -> None:
    secret = "s" * 64
    address = address_of("http://a.example:8080/", BUCKET, secret)
    assert address == f"http://a.example:8080/events/alice___photos/{token_of(BUCKET, secret)}"
    assert is_token(BUCKET, secret, token_of(BUCKET, secret))
    assert not is_token(BucketName("alice", "other"), secret, token_of(BUCKET, secret))
    assert not is_token(BUCKET, "t" * 64, token_of(BUCKET, secret))
    assert not is_token(BUCKET, secret, "ü")
    assert secret not in address
