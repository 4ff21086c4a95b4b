"""Direct uploads: any framing and size, verified before they are visible, and nothing left of what breaks off."""

import base64
import gzip
import hashlib
import socket
import struct
from collections.abc import Callable
from email.utils import formatdate

import pytest

from tests.harness import raw
from tests.harness.bucket import Bucket, md5, spooled
from tests.harness.content import MIB, Content
from tests.harness.patience import until
from tests.harness.service import Service


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def md5_field(body: bytes) -> str:
    return b64(bytes.fromhex(md5(body)))


def repr_digest(body: bytes, algorithm: str = "sha-256") -> str:
    return f"{algorithm}=:{b64(hashlib.new(algorithm.replace('-', ''), body).digest())}:"


def test_an_upload_is_visible_when_it_is_answered(bucket: Bucket) -> None:
    body = b"a cat" * 1000
    record = bucket.put("pets/cat.jpg", body, {"Content-Type": "image/jpeg"})
    assert (record["key"], record["vfolder"], record["md5"]) == ("pets/cat.jpg", "pets", md5(body))
    assert (record["size"], record["content_type"], record["generation"]) == (5000, "image/jpeg", 1)
    assert record["source"] == "upload"
    shown = bucket.published("pets/cat.jpg")
    assert shown.body == body
    assert shown.headers["content-type"] == "image/jpeg"
    assert bucket.usage() == (5000, 1)


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_framings_and_sizes(framing: str, size: int, bucket: Bucket) -> None:
    body = Content(size, size)
    if framing == "chunked":
        assert bucket.upload_chunked("k", (bytes(view) for view in body.views(0, size))) == 201
    else:
        bucket.put("k", body.read())
    record = bucket.record("k")
    assert (record["size"], record["md5"]) == (size, body.md5)
    assert bucket.read("k") == body.read()


def test_twenty_mebibytes(bucket: Bucket) -> None:
    body = Content(20, 20 * MIB)
    assert bucket.put("big", body.read(), md5=body.md5)["md5"] == body.md5
    assert bucket.upload_chunked("big", (bytes(view) for view in body.views(0, body.size))) == 201
    assert bucket.record("big")["generation"] == 2
    assert hashlib.md5(bucket.read("big"), usedforsecurity=False).hexdigest() == body.md5
    assert bucket.usage() == (body.size, 1)


def test_content_type_as_it_was_sent(bucket: Bucket) -> None:
    for told in ("text/html; charset=UTF-8", "x/y", 'multipart/form-data; boundary="a b"'):
        assert bucket.put("k", b"x", {"Content-Type": told})["content_type"] == told
        assert bucket.published("k").headers["content-type"] == told
    with raw.connect(bucket.service) as sock:
        target = bucket.target("plain").encode()
        sock.sendall(raw.head(bucket.service, "PUT", target, ["Content-Length: 1"]) + b"x")
        assert raw.answer(sock).json()["content_type"] == "application/octet-stream"


@pytest.mark.parametrize("place", ["query", "header"])
def test_timetag(place: str, bucket: Bucket) -> None:
    moment = 1_000_000_000
    query, headers = ({"timetag": moment}, {}) if place == "query" else ({}, {"timetag": str(moment)})
    record = bucket.put("k", b"x", headers, **query)
    assert record["ts"] == moment
    assert record["last_modified"] == formatdate(moment, usegmt=True)
    assert bucket.published("k").headers["last-modified"] == record["last_modified"]


GOOD = b"the right bytes"
PROMISES: dict[str, Callable[[bytes], tuple[dict[str, str], dict[str, str]]]] = {
    "md5 in the query": lambda body: ({}, {"md5": md5(body)}),
    "md5 as base64": lambda body: ({}, {"md5": md5_field(body)}),
    "md5 as a header": lambda body: ({"md5": md5(body)}, {}),
    "Content-MD5": lambda body: ({"Content-MD5": md5_field(body)}, {}),
    "Repr-Digest sha-256": lambda body: ({"Repr-Digest": repr_digest(body)}, {}),
    "Repr-Digest sha-512": lambda body: ({"Repr-Digest": repr_digest(body, "sha-512")}, {}),
    "Content-Digest": lambda body: ({"Content-Digest": repr_digest(body)}, {}),
    "both digest fields": lambda body: (
        {"Repr-Digest": repr_digest(GOOD), "Content-Digest": repr_digest(body, "sha-512")},
        {},
    ),
    "two digests": lambda body: ({"Repr-Digest": f"{repr_digest(GOOD)}, {repr_digest(body, 'sha-512')}"}, {}),
}


@pytest.mark.parametrize("name", PROMISES)
def test_promises_are_held(name: str, bucket: Bucket) -> None:
    headers, query = PROMISES[name](GOOD)
    first = bucket.put("k", GOOD, headers, **query)
    headers, query = PROMISES[name](b"other bytes")
    reply = bucket.upload("k", GOOD, headers, **query)
    assert reply.status == 400
    assert reply.json()["code"] in {"md5_mismatch", "digest_mismatch"}
    assert bucket.record("k")["generation"] == first["generation"]
    assert bucket.read("k") == GOOD
    assert bucket.usage() == (len(GOOD), 1)
    assert spooled(bucket.service.data_dir) == []


@pytest.mark.parametrize(
    ("headers", "query", "code"),
    [
        ({"Content-MD5": "x"}, {}, "invalid_digest"),
        ({}, {"md5": "0" * 31}, "invalid_digest"),
        ({"Repr-Digest": "sha-256=abc"}, {}, "invalid_digest"),
        ({"Repr-Digest": "sha-256=:AAAA:"}, {}, "invalid_digest"),
        ({"Content-MD5": md5_field(b"y")}, {"md5": md5(b"x")}, "invalid_digest"),
        ({}, {"timetag": "soon"}, "invalid_timetag"),
        ({}, {"if_absent": "perhaps"}, "invalid_request"),
    ],
)
def test_promises_that_can_not_be_read(
    headers: dict[str, str], query: dict[str, str], code: str, bucket: Bucket
) -> None:
    reply = bucket.upload("k", b"x", headers, **query)
    assert (reply.status, reply.json()["code"]) == (400, code)
    assert not bucket.exists("k")


def test_preconditions(bucket: Bucket) -> None:
    etag = bucket.put("k", b"one", if_absent="true")["etag"]
    for headers, query in (
        ({}, {"if_absent": "true"}),
        ({"If-None-Match": "*"}, {}),
        ({"If-Match": '"another"'}, {}),
        ({}, {"if_match": "another"}),
    ):
        reply = bucket.upload("k", b"two", headers, **query)
        assert (reply.status, reply.json()["code"]) == (412, "precondition_failed")
    assert bucket.upload("missing", b"x", {"If-Match": "*"}).status == 412
    assert bucket.read("k") == b"one"
    second = bucket.put("k", b"two", {"If-Match": etag})["etag"]
    assert bucket.upload("k", b"three", {"If-Match": etag}).status == 412
    bucket.put("k", b"three", if_match=second)
    bucket.put("fresh", b"x", {"If-None-Match": "*"})
    assert bucket.read("k") == b"three"


def begin(bucket: Bucket, key: str, fields: list[str], sent: bytes) -> socket.socket:
    """Send the head and some of the body of an upload; return when the spool shows that it was taken up."""
    before = spooled(bucket.service.data_dir)
    sock = raw.connect(bucket.service)
    sock.sendall(raw.head(bucket.service, "PUT", bucket.target(key).encode(), fields) + sent)
    until(lambda: spooled(bucket.service.data_dir) != before)
    return sock


@pytest.mark.stacks("direct")  # the API alone reads these fields
def test_a_field_in_several_lines_is_one(bucket: Bucket) -> None:
    """RFC 9110 section 5.3: proxies may send what was one line as two."""
    etag = bucket.put("k", b"one")["etag"]
    for fields, status in (
        ([f"Repr-Digest: {repr_digest(b'two')}", f"Repr-Digest: {repr_digest(b'other', 'sha-512')}"], 400),
        (['If-Match: "another"', 'If-Match: "third"'], 412),
        (['If-Match: "another"', f"If-Match: {etag}"], 201),
    ):
        with raw.connect(bucket.service) as sock:
            sock.sendall(
                raw.head(bucket.service, "PUT", bucket.target("k").encode(), ["Content-Length: 3", *fields]) + b"two"
            )
            assert raw.answer(sock).status == status, fields


@pytest.mark.stacks("direct")  # the API alone reads these fields
def test_a_part_of_a_body_does_not_replace_the_whole(bucket: Bucket) -> None:
    """`curl -C` goes on with an upload so (RFC 9110 section 14.5): what it sends is the rest."""
    bucket.put("k", b"0123456789")
    reply = bucket.upload("k", b"56789", {"Content-Range": "bytes 5-9/10"})
    assert (reply.status, reply.json()["code"]) == (400, "invalid_request")
    assert bucket.read("k") == b"0123456789"


@pytest.mark.stacks("direct")  # the API alone reads these fields
def test_coded_bytes_are_refused_because_readers_would_not_know(bucket: Bucket) -> None:
    """What is kept of a body is its media type: gzip served without its Content-Encoding is other content."""
    bucket.put("k", b"plain")
    reply = bucket.upload("k", gzip.compress(b"coded"), {"Content-Encoding": "gzip"})
    assert (reply.status, reply.json()["code"]) == (415, "content_coding_unsupported")
    assert reply.headers["accept-encoding"] == "identity"
    assert bucket.read("k") == b"plain"
    assert bucket.upload("k", b"as it is", {"Content-Encoding": "identity"}).status == 201


def test_preconditions_are_checked_again_at_landing(bucket: Bucket) -> None:
    with begin(bucket, "k", ["Content-Length: 10", "If-None-Match: *"], b"slow ") as slow:
        bucket.put("k", b"quicker")
        slow.sendall(b"bytes")
        reply = raw.answer(slow)
    assert (reply.status, reply.json()["code"]) == (412, "precondition_failed")
    assert bucket.read("k") == b"quicker"
    assert bucket.usage() == (7, 1)


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_client_that_leaves_stores_nothing(framing: str, how: str, bucket: Bucket) -> None:
    bucket.put("k", b"the previous version")
    piece = Content(1, 3 * MIB).read()
    if framing == "length":
        sock = begin(bucket, "k", [f"Content-Length: {2 * len(piece)}"], piece)
    else:
        sock = begin(bucket, "k", ["Transfer-Encoding: chunked"], b"%x\r\n%b\r\n" % (len(piece), piece))
    if how == "rst":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    until(lambda: spooled(bucket.service.data_dir) == [])
    assert bucket.read("k") == b"the previous version"
    assert bucket.usage() == (20, 1)


def test_a_broken_chunk_stores_nothing(bucket: Bucket) -> None:
    with begin(bucket, "k", ["Transfer-Encoding: chunked"], b"5\r\nhello\r\n") as sock:
        sock.sendall(b"zz\r\nworld\r\n0\r\n\r\n")
        assert raw.answer(sock).status == 400
    until(lambda: spooled(bucket.service.data_dir) == [])
    assert not bucket.exists("k")


def test_two_lengths_are_refused(bucket: Bucket) -> None:
    fields = ["Content-Length: 5", "Transfer-Encoding: chunked"]
    with raw.connect(bucket.service) as sock:
        sock.sendall(raw.head(bucket.service, "PUT", bucket.target("k").encode(), fields) + b"0\r\n\r\nGET")
        assert raw.answer(sock).status == 400
    assert not bucket.exists("k")


def test_unknown_bucket(shared: Service) -> None:
    reply = shared.call("PUT", "/ceph/nobody/photos/keys/k", b"x")
    assert (reply.status, reply.json()["code"]) == (404, "bucket_not_found")
    assert spooled(shared.data_dir) == []


def test_too_large(launch: Callable[..., Service]) -> None:
    bucket = Bucket(launch(transfer_max_object_size="1000000"), "alice")
    bucket.put("fits", bytes(1_000_000))
    announced = bucket.upload("k", bytes(1_000_001))
    assert (announced.status, announced.json()["code"]) == (413, "too_large")
    assert bucket.upload_chunked("k", iter([bytes(1_000_001)])) == 413
    assert not bucket.exists("k")
    assert spooled(bucket.service.data_dir) == []
