"""Buckets: made, counted to the byte, listed, deleted only when empty."""

import json

import pytest

from tests.harness.behaviour import Gate
from tests.harness.bucket import Bucket
from tests.harness.content import MIB, Content
from tests.harness.origin import FaultOrigin
from tests.harness.service import Service

SETTINGS = {"transfer_attempts": "1"}


def test_created_once(shared: Service) -> None:
    first = shared.call("PUT", "/ceph/created/photos")
    again = shared.call("PUT", "/ceph/created/photos")
    assert (first.status, again.status) == (201, 200)
    shown = first.json()
    assert shown == again.json() == shared.json("GET", "/ceph/created/photos")
    assert (shown["bucket"], shown["username"], shown["bucketname"]) == ("created___photos", "created", "photos")
    assert (shown["size"], shown["keyamount"]) == (0, 0)
    assert shown["created"] > 1_600_000_000


def test_a_tenants_buckets(shared: Service) -> None:
    for name in ("b", "a", "a-1"):
        Bucket(shared, "lister", name).put("k", name.encode())
    Bucket(shared, "lister-2", "other")
    page = shared.json("GET", "/ceph/lister")
    assert page["username"] == "lister"
    assert [(bucket["bucketname"], bucket["size"], bucket["keyamount"]) for bucket in page["buckets"]] == [
        ("a", 1, 1),
        ("a-1", 3, 1),
        ("b", 1, 1),
    ]
    assert shared.json("GET", "/ceph/nobody") == {"username": "nobody", "buckets": []}


def test_usage_is_exact(bucket: Bucket, shared_origin: FaultOrigin) -> None:
    shared_origin.put("/usage", b"x" * 50)
    shared_origin.put("/gone", b"", status=404)
    bucket.put("a", b"x" * 10)
    bucket.put("b", b"x" * 20)
    assert bucket.usage() == (30, 2)
    bucket.put("a", b"x" * 3)
    assert bucket.usage() == (23, 2)
    assert bucket.upload("a", b"x" * 99, md5="0" * 32).status == 400
    assert bucket.upload("c", b"x" * 99, md5="0" * 32).status == 400
    assert bucket.upload("a", b"x" * 99, if_absent="true").status == 412
    assert bucket.usage() == (23, 2)
    bucket.success(bucket.create("b", shared_origin.url + "/usage"))
    assert bucket.usage() == (53, 2)
    bucket.failure(bucket.create("b", shared_origin.url + "/usage", md5="0" * 32))
    bucket.failure(bucket.create("c", shared_origin.url + "/gone"))
    assert bucket.usage() == (53, 2)
    bucket.delete("a")
    assert bucket.usage() == (50, 1)
    missing = bucket.service.call("DELETE", bucket.target("a"))
    assert (missing.status, missing.json()["code"]) == (404, "key_not_found")
    assert bucket.usage() == (50, 1)
    bucket.delete("b")
    assert bucket.usage() == (0, 0)


def test_only_empty_buckets_are_deleted(bucket: Bucket) -> None:
    bucket.put("k", b"x")
    refused = bucket.service.call("DELETE", bucket.path)
    assert (refused.status, refused.json()["code"]) == (409, "bucket_not_empty")
    assert bucket.read("k") == b"x"
    bucket.delete("k")
    assert bucket.service.json("DELETE", bucket.path) == {"msg": "bucket_deleted"}
    for method in ("GET", "DELETE"):
        gone = bucket.service.call(method, bucket.path)
        assert (gone.status, gone.json()["code"]) == (404, "bucket_not_found")
    assert bucket.service.call("PUT", bucket.path).status == 201
    assert bucket.listing(recursive="true")["keys"] == []
    bucket.put("k", b"again")
    assert bucket.read("k") == b"again"


def test_a_bucket_that_something_is_on_its_way_to_is_not_empty(bucket: Bucket, shared_origin: FaultOrigin) -> None:
    gate = Gate()
    shared_origin.put("/way", Content(1, 2 * MIB), gate=gate, gate_after=MIB)
    token = bucket.create("k", shared_origin.url + "/way")
    assert gate.reached.wait(60)
    refused = bucket.service.call("DELETE", bucket.path)
    assert (refused.status, refused.json()["code"]) == (409, "bucket_not_empty")
    gate.set()
    bucket.success(token)
    assert bucket.usage() == (2 * MIB, 1)


@pytest.mark.parametrize("name", ["Photos", "a_b", "a___b", "-a", "a-", "a.b", "a" * 64, "%C3%BC", "%20", "a%00"])
def test_bad_names(name: str, shared: Service) -> None:
    for path in (f"/ceph/{name}/photos", f"/ceph/alice/{name}"):
        for method in ("PUT", "GET", "DELETE"):
            reply = shared.call(method, path)
            assert reply.status == 400
            assert reply.json()["code"] in {"invalid_name", *shared.refuses_itself}
    reply = shared.call("GET", f"/ceph/{name}")
    assert reply.status == 400
    assert reply.json()["code"] in {"invalid_name", *shared.refuses_itself}


@pytest.mark.parametrize("name", ["a", "0", "a-b", "a--b", "a" * 63, "progress"])
def test_good_names(name: str, shared: Service) -> None:
    bucket = Bucket(shared, "names", name)
    bucket.put("k", b"x")
    assert bucket.usage() == (1, 1)


def test_a_key_for_an_unknown_bucket(shared: Service) -> None:
    wish = json.dumps({"key_name": "k", "key_url": "http://example.org/"}).encode()
    for method, path, body in (
        ("POST", "/ceph/nobody/photos/keys", wish),
        ("PUT", "/ceph/nobody/photos/keys/k", b"x"),
        ("GET", "/ceph/nobody/photos/keys/k", None),
        ("DELETE", "/ceph/nobody/photos/keys/k", None),
        ("GET", "/ceph/nobody/photos/keys", None),
        ("GET", "/ceph/nobody/photos", None),
    ):
        reply = shared.call(method, path, body)
        assert (reply.status, reply.json()["code"]) == (404, "bucket_not_found"), (method, path)
