"""Nasty key names through every door: requests travel byte by byte as written, on a socket of our own."""

from collections.abc import Callable
from urllib.parse import quote

import pytest

from tests.harness import raw
from tests.harness.bucket import Bucket, address, md5
from tests.harness.names import NASTY_KEYS, REFUSED_TARGETS
from tests.harness.origin import FaultOrigin
from tests.harness.service import Service

nasty = pytest.mark.parametrize("key", NASTY_KEYS.values(), ids=NASTY_KEYS.keys())

SPELLINGS: dict[str, Callable[[str], str]] = {
    "slashes and dots as they are": lambda key: quote(key, safe="/"),
    "everything escaped": lambda key: quote(key, safe=""),
    "as little as possible": lambda key: quote(key, safe="/!$&'()*+,;=:@~"),
    "lower-case escapes, letters too": lambda key: "".join(f"%{byte:02x}" for byte in key.encode()),
}


def target(bucket: Bucket, spelling: str) -> bytes:
    return f"{bucket.path}/keys/{spelling}".encode("ascii")


@nasty
def test_upload_record_published_url_delete(key: str, bucket: Bucket) -> None:
    service, body = bucket.service, key.encode() * 3
    plain = target(bucket, SPELLINGS["slashes and dots as they are"](key))
    stored = raw.ask(service, "PUT", plain, body)
    assert stored.status == 201, stored.body
    assert (stored.json()["key"], stored.json()["vfolder"]) == (key, key.rpartition("/")[0])
    for spell in SPELLINGS.values():
        record = raw.ask(service, "GET", target(bucket, spell(key)))
        assert (record.status, record.json()["key"], record.json()["md5"]) == (200, key, md5(body))
    assert raw.ask(service, "HEAD", plain).status == 200
    assert [item["key"] for item in bucket.listing(recursive="true")["keys"]] == [key]
    assert [item["key"] for item in bucket.listing(vfolder=key.rpartition("/")[0])["keys"]] == [key]
    read_published(service, address(stored.json()["url"]).encode("ascii"), body)
    assert raw.ask(service, "DELETE", plain).json() == {"msg": "key_deleted"}
    assert raw.ask(service, "GET", plain).json()["code"] == "key_not_found"
    assert bucket.usage() == (0, 0)


def read_published(service: Service, url: bytes, body: bytes) -> None:
    """GET, HEAD and Range of a published address, which is plain ASCII and needs no token."""
    whole = raw.ask(service, "GET", url, token=False)
    assert (whole.status, whole.body) == (200, body)
    shown = raw.ask(service, "HEAD", url, token=False)
    assert (shown.status, shown.headers["content-length"], shown.body) == (200, str(len(body)), b"")
    assert shown.headers["etag"] == whole.headers["etag"]
    part = raw.ask(service, "GET", url, headers=["Range: bytes=1-2"], token=False)
    assert (part.status, part.body) == (206, body[1:3])
    assert part.headers["content-range"] == f"bytes 1-2/{len(body)}"
    saved = raw.ask(service, "GET", url + b"&download=1", token=False)
    assert saved.status == 200
    assert saved.headers["content-disposition"].startswith("attachment")


def test_created_from_urls_and_still_there_after_a_restart(launch: Callable[..., Service], origin: FaultOrigin) -> None:
    bucket = Bucket(launch(), "alice")
    bodies = {key: f"{number}: {key}".encode() for number, key in enumerate(NASTY_KEYS.values())}
    for number, body in enumerate(bodies.values()):
        origin.put(f"/{number}", body)
    wishes = [
        {"key_name": key, "key_url": f"{origin.url}/{number}", "md5": md5(body)}
        for number, (key, body) in enumerate(bodies.items())
    ]
    answer = bucket.post(wishes)
    assert [item["key"] for item in answer.json()] == list(bodies)
    for item in answer.json():
        assert bucket.success(item["token"])["key"] == item["key"]
    before = {record["key"]: record for record in bucket.listing(recursive="true")["keys"]}
    assert before.keys() == bodies.keys()
    assert bucket.service.stop() == 0
    bucket.service.start()
    assert {record["key"]: record for record in bucket.listing(recursive="true")["keys"]} == before
    assert {key: bucket.read(key) for key in bodies} == bodies
    assert bucket.usage() == (sum(map(len, bodies.values())), len(bodies))


def test_similar_keys_are_different_keys(bucket: Bucket) -> None:
    for key in NASTY_KEYS.values():
        bucket.put(key, key.encode())
    for key in NASTY_KEYS.values():
        assert bucket.read(key) == key.encode()
    for key in NASTY_KEYS.values():
        bucket.delete(key)
    assert bucket.usage() == (0, 0)


@pytest.mark.parametrize("spelling", REFUSED_TARGETS.values(), ids=REFUSED_TARGETS.keys())
@pytest.mark.parametrize("method", ["PUT", "POST", "GET", "DELETE"])
def test_refused_names(method: str, spelling: bytes, bucket: Bucket) -> None:
    body = b'{"key_url": "http://example.org/"}' if method == "POST" else b""
    reply = raw.ask(bucket.service, method, bucket.path.encode() + b"/keys/" + spelling, body)
    assert reply.status == 400
    assert reply.json()["code"] in {"invalid_key", *bucket.service.refuses_itself}
    assert reply.headers["content-type"] == "application/problem+json"
    assert bucket.usage() == (0, 0)


@pytest.mark.parametrize("spelling", REFUSED_TARGETS.values(), ids=REFUSED_TARGETS.keys())
def test_refused_names_at_published_addresses(spelling: bytes, bucket: Bucket) -> None:
    path = f"/objects/{bucket.username}___{bucket.name}/".encode() + spelling
    reply = raw.ask(bucket.service, "GET", path + b"?expires=9999999999&signature=x", token=False)
    assert reply.status == 400
    assert reply.json()["code"] in {"invalid_key", *bucket.service.refuses_itself}


@pytest.mark.parametrize("raw_byte", [b"\xff", b"\xc3\xbc", b"\xe9"])
def test_raw_bytes_in_the_target(raw_byte: bytes, bucket: Bucket) -> None:
    # Not allowed by RFC 3986; whatever is made of them, it is no fault of the service and no other key.
    path = bucket.path.encode() + b"/keys/a" + raw_byte
    reply = raw.ask(bucket.service, "PUT", path, b"x")
    assert reply.status in {201, 400}
    expected = [f"a{raw_byte.decode()}"] if reply.status == 201 else []
    assert [record["key"] for record in bucket.listing(recursive="true")["keys"]] == expected


@pytest.mark.parametrize("name", ["..", ".", "%2e%2e", "Alice", "a___b", "a%2Fb", "a/b/c", "a_b", "-a", "a" * 64])
def test_refused_tenant_and_bucket_names(name: str, shared: Service) -> None:
    for path in (f"/ceph/{name}/photos", f"/ceph/alice/{name}", f"/ceph/alice/photos/{name}"):
        reply = raw.ask(shared, "PUT", path.encode())
        assert reply.status in {400, 404, 405}, (path, reply.status)
        assert reply.headers["content-type"] == "application/problem+json"


def test_the_tenant_whose_address_is_taken(shared: Service) -> None:
    reply = shared.call("PUT", "/ceph/progress/photos")
    assert reply.status in {400, 405}
