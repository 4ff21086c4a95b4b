"""Creations that repeat, race, come in batches, or are taken back."""

import json

import pytest

from tests.harness.behaviour import Gate
from tests.harness.bucket import Bucket, spooled
from tests.harness.content import MIB, Content
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.service import Service


def test_the_same_request_while_in_progress_is_the_same_creation(bucket: Bucket, shared_origin: FaultOrigin) -> None:
    gate = Gate()
    shared_origin.put("/same", b"x", header_gate=gate)
    url = shared_origin.url + "/same"
    token = bucket.create("k", url)
    assert gate.reached.wait(60)
    assert bucket.create("k", url) == token
    assert bucket.create("k", url, content_type="text/x-other") != token
    assert bucket.create("other", url) != token
    gate.set()
    bucket.success(token)
    again = bucket.create("k", url)
    assert again != token
    bucket.success(again)


def test_idempotency_key(bucket: Bucket, shared: Service, shared_origin: FaultOrigin) -> None:
    shared_origin.put("/idempotent", b"x")
    url, header = shared_origin.url + "/idempotent", {"Idempotency-Key": "order-7"}
    token = bucket.create("k", url, header)
    bucket.success(token)
    assert bucket.create("k", url, header) == token
    assert bucket.record("k")["generation"] == 1
    reused = bucket.post({"key_name": "other", "key_url": url}, header)
    assert (reused.status, reused.json()["code"]) == (409, "idempotency_key_reused")
    assert not bucket.exists("other")
    stranger = Bucket(shared, f"{bucket.username}-2")
    assert stranger.create("k", url, header) != token


@pytest.mark.parametrize("value", ["", "x" * 256, "a\tb"])
def test_bad_idempotency_keys(value: str, bucket: Bucket, shared_origin: FaultOrigin) -> None:
    reply = bucket.post({"key_name": "k", "key_url": shared_origin.url + "/x"}, {"Idempotency-Key": value})
    assert (reply.status, reply.json()["code"]) == (400, "invalid_request")


def test_preconditions_are_checked_when_the_request_arrives(bucket: Bucket, shared_origin: FaultOrigin) -> None:
    shared_origin.put("/early", b"new")
    url = shared_origin.url + "/early"
    etag = bucket.put("k", b"old")["etag"]
    for condition in ({"if_absent": True}, {"if_match": '"another"'}):
        reply = bucket.post({"key_name": "k", "key_url": url, **condition})
        assert (reply.status, reply.json()["code"]) == (412, "precondition_failed")
    missing = bucket.post({"key_name": "missing", "key_url": url, "if_match": "*"})
    assert (missing.status, missing.json()["code"]) == (412, "precondition_failed")
    assert shared_origin.count("/early") == 0
    bucket.success(bucket.create("k", url, if_match=etag))
    bucket.success(bucket.create("fresh", url, if_absent=True))
    assert (bucket.read("k"), bucket.read("fresh")) == (b"new", b"new")


@pytest.mark.parametrize("condition", ["if_absent", "if_match"])
def test_preconditions_are_checked_again_at_landing(condition: str, bucket: Bucket, shared_origin: FaultOrigin) -> None:
    gate, path = Gate(), f"/race-{condition}"
    shared_origin.put(path, Content(1, 2 * MIB), gate=gate, gate_after=MIB)
    wish = {"if_absent": True} if condition == "if_absent" else {"if_match": bucket.put("k", b"first")["etag"]}
    token = bucket.create("k", shared_origin.url + path, **wish)
    assert gate.reached.wait(60)
    bucket.put("k", b"quicker")
    gate.set()
    assert bucket.failure(token) == "precondition_failed"
    assert bucket.read("k") == b"quicker"
    assert bucket.usage() == (7, 1)
    assert spooled(bucket.service.data_dir) == []


def test_cancel(bucket: Bucket, shared_origin: FaultOrigin) -> None:
    gate = Gate()
    shared_origin.put("/cancelled", Content(2, 4 * MIB), gate=gate, gate_after=3 * MIB)
    token = bucket.create("k", shared_origin.url + "/cancelled")
    assert gate.reached.wait(60)
    until(lambda: spooled(bucket.service.data_dir))
    assert bucket.service.json("DELETE", f"/ceph/progress/{token}") == {"msg": "transfer_cancelled"}
    assert bucket.failure(token) == "cancelled"
    gate.set()
    until(lambda: spooled(bucket.service.data_dir) == [])
    assert not bucket.exists("k")
    assert bucket.usage() == (0, 0)
    again = bucket.service.call("DELETE", f"/ceph/progress/{token}")
    assert (again.status, again.json()["code"]) == (409, "transfer_ended")


def test_a_creation_that_has_ended_can_not_be_cancelled(bucket: Bucket, shared_origin: FaultOrigin) -> None:
    shared_origin.put("/ended", b"x")
    token = bucket.create("k", shared_origin.url + "/ended")
    bucket.success(token)
    reply = bucket.service.call("DELETE", f"/ceph/progress/{token}")
    assert (reply.status, reply.json()["code"]) == (409, "transfer_ended")
    assert bucket.read("k") == b"x"


def test_unknown_tokens(shared: Service) -> None:
    for method in ("GET", "DELETE"):
        reply = shared.call(method, "/ceph/progress/nobody-gave-this")
        assert (reply.status, reply.json()["code"]) == (404, "token_not_found")


def test_batch(bucket: Bucket, shared_origin: FaultOrigin) -> None:
    bodies = {f"batch/{number}": b"x" * number for number in range(5)}
    for key, body in bodies.items():
        shared_origin.put("/" + key, body)
    items = [{"key_name": key, "key_url": f"{shared_origin.url}/{key}"} for key in bodies]
    reply = bucket.post(items)
    assert reply.status == 202
    assert [item["key"] for item in reply.json()] == list(bodies)
    assert len({item["token"] for item in reply.json()}) == 5
    for item in reply.json():
        bucket.success(item["token"])
    assert {key: bucket.read(key) for key in bodies} == bodies
    assert bucket.usage() == (10, 5)


@pytest.mark.parametrize("media_type", ["application/x-ndjson", "application/ndjson", "application/jsonl"])
def test_batch_by_lines(media_type: str, bucket: Bucket, shared_origin: FaultOrigin) -> None:
    shared_origin.put("/line", b"line")
    lines = [json.dumps({"key_name": key, "key_url": shared_origin.url + "/line"}) for key in ("a", "b\u2028c")]
    body = ("\n\n".join(lines) + "\r\n").encode()
    reply = bucket.service.call("POST", f"{bucket.path}/keys", body, {"Content-Type": media_type})
    assert reply.status == 202, reply.body
    assert [item["key"] for item in reply.json()] == ["a", "b\u2028c"]
    for item in reply.json():
        bucket.success(item["token"])


@pytest.mark.parametrize(
    "bad",
    [
        {"key_name": "x"},
        {"key_name": "", "key_url": "http://example.org/"},
        {"key_name": "x", "key_url": "nowhere"},
        {"key_name": "x", "key_url": "http://example.org/", "md5": "?"},
        {"key_name": "x", "key_url": "http://example.org/", "if_match": "*"},
        "text",
        None,
    ],
)
@pytest.mark.parametrize("lines", [False, True])
def test_a_bad_item_spoils_its_batch(lines: bool, bad: object, bucket: Bucket, shared_origin: FaultOrigin) -> None:
    shared_origin.put("/good", b"x")
    shared_origin.reset_counters()
    items = [{"key_name": "good", "key_url": shared_origin.url + "/good"}, bad]
    body = "\n".join(map(json.dumps, items)) if lines else json.dumps(items)
    media_type = "application/x-ndjson" if lines else "application/json"
    reply = bucket.service.call("POST", f"{bucket.path}/keys", body.encode(), {"Content-Type": media_type})
    assert reply.status in {400, 412}, reply.body
    # A creation that came in afterwards is done, and the first item of the batch was still not begun.
    bucket.success(bucket.create("later", shared_origin.url + "/good"))
    assert shared_origin.count("/good") == 1
    assert not bucket.exists("good")


@pytest.mark.parametrize("body", ["[]", "", "{", '{"key_name": "k"}\n[', "null", "7", '"text"'])
def test_bodies_that_ask_for_nothing(body: str, bucket: Bucket) -> None:
    for media_type in ("application/json", "application/x-ndjson"):
        reply = bucket.service.call("POST", f"{bucket.path}/keys", body.encode(), {"Content-Type": media_type})
        assert (reply.status, reply.json()["code"]) == (400, "invalid_request")
