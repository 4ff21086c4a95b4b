"""What is written on a version and read back from it."""

from dataclasses import replace

import pytest

from cephstorage.domain.names import BucketName
from cephstorage.domain.records import OriginFacts, Record, key_validators
from cephstorage.domain.transfers import Kind, Plan, TransferRequest
from cephstorage.domain.validators import Validators
from cephstorage.ports.store import StoredObject
from cephstorage.store.ceph.naming import headers_of, object_of
from cephstorage.transfer.description import planned_object, record_of

BUCKET = BucketName("alice", "photos")
MD5 = "0123456789abcdef0123456789abcdef"
ORIGIN = OriginFacts(
    "/k?v=1",
    (("Content-Disposition", 'attachment; filename="ä.txt"'), ("X-Two", "a"), ("X-Two", "b")),
    Validators('W/"o"', "Thu, 01 Jan 1970 00:00:09 GMT"),
    "Thu, 01 Jan 1970 00:00:10 GMT",
)
UPLOADED = Plan(10, MD5, "text/plain", 5.25, key_validators(MD5, 5.25), "id.1", "upload")
MIRRORED = Plan(10, MD5, "image/jpeg", 7.5, Validators('"e"', None), "id.1#v", "http://o.example/k", ORIGIN)


def read_back(plan: Plan, generation: int = 3) -> Record | None:
    return record_of(planned_object(TransferRequest(Kind.FILL, BUCKET, "a//b"), plan, generation))


@pytest.mark.parametrize(
    "plan", [UPLOADED, MIRRORED, replace(MIRRORED, public=Validators()), replace(UPLOADED, size=0)]
)
def test_a_record_comes_back_as_it_was(plan: Plan) -> None:
    assert read_back(plan) == Record(
        BUCKET, "a//b", plan.ts, MD5, plan.content_type, plan.size, 3, plan.public.etag, plan.public.last_modified,
        plan.store_version, plan.source, plan.ts, plan.origin,
    )  # fmt: skip


def test_headers_that_are_too_long_to_be_carried_are_left_out_and_nothing_else() -> None:
    long = replace(ORIGIN, headers=(("X-Long", "x" * 2000),))
    read = read_back(replace(MIRRORED, origin=long))
    assert read is not None
    assert read.origin == replace(ORIGIN, headers=())


def of_origin(facts: str, **more: str) -> dict[str, str]:
    return {"timetag": "1.0", "target": "/", "origin": facts, **more}


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"timetag": "noon"},
        {"timetag": "nan"},
        {"timetag": "inf"},
        {"timetag": "1e18"},
        {"timetag": "-1"},
        {"timetag": "1.0", "generation": "x"},
        {"timetag": "1.0", "generation": "-1"},
        {"timetag": "1.0", "generation": str(2**63)},
        {"timetag": "1.0", "generation": "9" * 5000},
        {"timetag": "1.0", "expires": "nan"},
        {"timetag": "1.0", "content_type": "text/plain\r\nSet-Cookie: a=b"},
        {"timetag": "1.0", "source": "http://o.example/\0"},
        {"timetag": "1.0", "target": "/", "last_modified": "yesterday\n"},
        of_origin("{"),
        of_origin("[]"),
        of_origin("[" * 100_000),
        of_origin('{"headers":5}'),
        of_origin('{"headers":[["a"]]}'),
        of_origin('{"headers":[["a",1]]}'),
        of_origin('{"headers":[["a","b\\r\\nc: d"]]}'),
        of_origin('{"headers":[["a","b"]],"varies":[["a"]]}'),
        of_origin('{"validators":{"etag":5}}'),
        of_origin('{"validators":null}'),
        of_origin('{"date":"\\n"}'),
        of_origin('{"age":"old"}'),
        of_origin('{"age":1%s}' % ("0" * 400)),
        of_origin('{"response_time":NaN}'),
        of_origin('{"response_time":1e18}'),
    ],
)
def test_too_little_or_nonsense_makes_no_record(metadata: dict[str, str]) -> None:
    assert record_of(StoredObject(BUCKET, "k", "id.1", 1, MD5, metadata)) is None


def test_what_no_origin_may_say_is_not_said_by_a_stored_version_either() -> None:
    facts = '{"headers":[["X-Accel-Redirect","/_disk/"],["Connection","X-Hop"],["X-Hop","1"],["X-Kept","2"]]}'
    read = record_of(StoredObject(BUCKET, "k", "id.1", 1, MD5, of_origin(facts, etag="no tag")))
    assert read is not None
    assert read.origin is not None
    assert (read.origin.headers, read.etag) == ((("X-Kept", "2"),), None)


def test_what_the_caller_said_comes_back() -> None:
    plan = replace(UPLOADED, metadata=(("color", "blue"), ("md5", "mine")), expires=99.5)
    read = read_back(plan)
    assert read is not None
    assert (read.metadata, read.expires, read.expires_at) == (plan.metadata, 99.5, 99.5)


def test_ceph_knows_every_name_that_a_record_writes() -> None:
    everything = replace(MIRRORED, expires=99.5)
    written = planned_object(TransferRequest(Kind.FILL, BUCKET, "a//b"), everything, 3)
    headers = {**headers_of(written), "content-length": "10", "etag": f'"{MD5}"'}
    assert object_of(BUCKET, "a//b", "v", headers) == replace(written, store_version="id.1#v")
