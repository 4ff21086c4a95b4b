"""Keys created from URLs: queued, fetched, verified, visible. Faults of the origin are in test_create_failures."""

import base64
import json
from collections.abc import Callable
from email.utils import formatdate

import pytest

from tests.harness.behaviour import Gate
from tests.harness.bucket import Bucket, md5
from tests.harness.content import MIB, Content
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.service import Service

SETTINGS = {"transfer_attempts": "60", "transfer_retry_base": "0.05", "transfer_retry_cap": "0.5"}


def test_a_key_is_created_in_the_background(bucket: Bucket, shared_origin: FaultOrigin) -> None:
    gate, body = Gate(), Content(1, 2 * MIB)
    shared_origin.put("/a", body, content_type="image/x-test", gate=gate, gate_after=MIB)
    token = bucket.create("pets/cat.jpg", shared_origin.url + "/a")
    assert gate.reached.wait(60)
    running = until(lambda: bucket.progress(token), lambda progress: progress["bytes_done"] > 0)
    assert (running["token"], running["progress"], running["state"]) == (token, "inprogress", "inprogress")
    assert (running["key"], running["bucket"]) == ("pets/cat.jpg", f"{bucket.username}___photos")
    assert running["bytes_total"] == body.size
    assert running["bytes_done"] < body.size
    assert running["error"] is None
    assert not bucket.exists("pets/cat.jpg")
    gate.set()
    assert bucket.success(token)["bytes_done"] == body.size
    record = bucket.record("pets/cat.jpg")
    assert (record["md5"], record["size"], record["vfolder"]) == (body.md5, body.size, "pets")
    assert record["content_type"] == "image/x-test"
    assert bucket.read("pets/cat.jpg") == body.read()
    assert shared_origin.body_bytes("/a") == body.size
    assert bucket.usage() == (body.size, 1)


def test_tokens_can_not_be_guessed(bucket: Bucket, shared_origin: FaultOrigin) -> None:
    shared_origin.put("/random", b"x")
    tokens = []
    for number in range(5):
        tokens.append(bucket.create(f"k{number}", shared_origin.url + "/random"))
        bucket.success(tokens[-1])
    assert len({token[:8] for token in tokens}) == 5
    assert min(map(len, tokens)) >= 40


@pytest.mark.parametrize("written", ["hex", "upper-case hex", "base64"])
def test_what_the_caller_says_is_taken_over(written: str, bucket: Bucket, shared_origin: FaultOrigin) -> None:
    body = b"a cat" * 100
    shared_origin.put("/said", body, content_type="image/x-origin")
    digest = md5(body)
    told = {
        "hex": digest,
        "upper-case hex": digest.upper(),
        "base64": base64.b64encode(bytes.fromhex(digest)).decode(),
    }[written]
    moment = 1_000_000_000
    token = bucket.create("k", shared_origin.url + "/said", content_type="image/x-said", md5=told, timetag=moment)
    bucket.success(token)
    record = bucket.record("k")
    assert (record["md5"], record["content_type"], record["ts"]) == (digest, "image/x-said", moment)
    shown = bucket.published("k").headers
    assert shown["content-type"] == "image/x-said"
    assert shown["last-modified"] == formatdate(moment, usegmt=True)
    assert shown["etag"] == record["etag"]


@pytest.mark.parametrize(
    ("timetag", "seconds"), [("2001-09-09T01:46:40Z", 1_000_000_000), ("1000000000", 1_000_000_000), (0, 0)]
)
def test_timetags(timetag: str | int, seconds: int, bucket: Bucket, shared_origin: FaultOrigin) -> None:
    shared_origin.put("/time", b"x")
    bucket.success(bucket.create("k", shared_origin.url + "/time", timetag=timetag))
    assert bucket.record("k")["ts"] == seconds


def test_the_key_may_stand_in_the_path(bucket: Bucket, shared_origin: FaultOrigin) -> None:
    shared_origin.put("/path", b"x")
    wish = {"key_url": shared_origin.url + "/path"}
    answer = bucket.service.json("POST", bucket.target("a//b?"), wish)
    assert answer["key"] == "a//b?"
    bucket.success(answer["token"])
    assert bucket.read("a//b?") == b"x"
    other = bucket.service.call("POST", bucket.target("k"), json.dumps({**wish, "key_name": "other"}).encode())
    assert (other.status, other.json()["code"]) == (400, "invalid_request")
    missing = bucket.post(wish)
    assert (missing.status, missing.json()["code"]) == (400, "invalid_request")


def test_an_overwrite_grows_the_generation(bucket: Bucket, shared_origin: FaultOrigin) -> None:
    first = bucket.put("k", b"old bytes")
    shared_origin.put("/new", b"new")
    bucket.success(bucket.create("k", shared_origin.url + "/new"))
    record = bucket.record("k")
    assert (first["generation"], record["generation"]) == (1, 2)
    assert bucket.read("k") == b"new"
    assert bucket.usage() == (3, 1)


def test_redirects_are_followed(bucket: Bucket, shared_origin: FaultOrigin) -> None:
    shared_origin.put("/deep/one", redirect=shared_origin.url + "/deep/two")
    shared_origin.put("/deep/two", redirect="three", redirect_status=307)
    shared_origin.put("/deep/three", b"found")
    bucket.success(bucket.create("k", shared_origin.url + "/deep/one"))
    assert bucket.read("k") == b"found"


def test_an_empty_object(bucket: Bucket, shared_origin: FaultOrigin) -> None:
    shared_origin.put("/empty", b"")
    bucket.success(bucket.create("k", shared_origin.url + "/empty"))
    assert (bucket.record("k")["size"], bucket.record("k")["md5"]) == (0, md5(b""))
    assert bucket.read("k") == b""


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_bodies_with_an_end_that_shows(framing: str, bucket: Bucket, shared_origin: FaultOrigin) -> None:
    body = Content(2, 3 * MIB + 7)
    shared_origin.put(f"/{framing}", body, framing=framing, ranges=False)
    bucket.success(bucket.create("k", f"{shared_origin.url}/{framing}"))
    assert bucket.record("k")["md5"] == body.md5


def test_a_body_that_ends_with_the_connection_needs_an_md5(bucket: Bucket, shared_origin: FaultOrigin) -> None:
    body = Content(3, 100_000)
    shared_origin.put("/close", body, framing="close", ranges=False)
    assert bucket.failure(bucket.create("k", shared_origin.url + "/close")) == "length_unverifiable"
    assert not bucket.exists("k")
    bucket.success(bucket.create("k", shared_origin.url + "/close", md5=body.md5))
    assert bucket.read("k") == body.read()


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_broken_body_is_made_whole(framing: str, how: str, bucket: Bucket, shared_origin: FaultOrigin) -> None:
    path, body = f"/break-{framing}-{how}", Content(4, 2 * MIB)
    shared_origin.put(path, body, framing=framing, die_after=MIB, die_times=1, how=how)
    bucket.success(bucket.create("k", shared_origin.url + path, md5=body.md5))
    assert bucket.read("k") == body.read()


def test_a_small_object_is_seen_fetching_too(bucket: Bucket, shared_origin: FaultOrigin) -> None:
    gate = Gate()
    shared_origin.put("/held", b"small", header_gate=gate)
    token = bucket.create("k", shared_origin.url + "/held")
    assert gate.reached.wait(30)
    held = bucket.progress(token)
    assert (held["progress"], held["phase"], held["attempts"]) == ("inprogress", "fetching", 1)
    gate.set()
    bucket.success(token)


def test_a_busy_origin_is_asked_again(bucket: Bucket, shared_origin: FaultOrigin) -> None:
    shared_origin.put("/busy", b"at last", refuse_times=2, refuse_status=503, retry_after=1)
    progress = bucket.success(bucket.create("k", shared_origin.url + "/busy"))
    assert progress["attempts"] > 1
    assert bucket.read("k") == b"at last"
    assert [request.status for request in shared_origin.logged("/busy")] == [503, 503, 200]


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_the_least_wait(status: int, bucket: Bucket, shared_origin: FaultOrigin) -> None:
    shared_origin.put(f"/later-{status}", b"", refuse_times=9, refuse_status=status, retry_after=1000)
    token = bucket.create("k", f"{shared_origin.url}/later-{status}")
    waiting = until(lambda: bucket.progress(token), lambda progress: progress["next_attempt"] is not None)
    assert waiting["next_attempt"] - waiting["updated"] >= 1000
    assert (waiting["state"], waiting["phase"], waiting["attempts"]) == ("inprogress", "queued", 1)
    assert waiting["error"]["code"] == "origin_busy"
    assert bucket.service.json("DELETE", f"/ceph/progress/{token}") == {"msg": "transfer_cancelled"}
    assert bucket.failure(token) == "cancelled"


def test_an_origin_that_is_down_is_waited_for(bucket: Bucket, shared_origin: FaultOrigin) -> None:
    shared_origin.put("/down", b"up again")
    shared_origin.stop_listening()
    try:
        token = bucket.create("k", shared_origin.url + "/down")
        down = until(lambda: bucket.progress(token), lambda progress: progress["error"] is not None)
        assert down["state"] == "inprogress"
        assert down["error"]["code"] == "origin_unreachable"
    finally:
        shared_origin.listen_again()
    assert bucket.success(token)["attempts"] > 1
    assert bucket.read("k") == b"up again"


def test_unknown_bucket(shared: Service, shared_origin: FaultOrigin) -> None:
    wish = json.dumps({"key_name": "k", "key_url": shared_origin.url + "/never"}).encode()
    for path in ("/ceph/nobody/photos/keys", "/ceph/nobody/photos/keys/k"):
        reply = shared.call("POST", path, wish)
        assert (reply.status, reply.json()["code"]) == (404, "bucket_not_found")
    assert shared_origin.count("/never") == 0


@pytest.mark.stacks("direct")  # looks into the data folder, and restarts
def test_credentials_in_an_address_stand_nowhere(launch: Callable[..., Service], origin: FaultOrigin) -> None:
    """Who goes on after kill -9 has them from the row, where they are sealed; nothing shows them, at any stage."""
    service, secret, gate = launch(log_level="debug", **SETTINGS), "hush-0815", Gate()
    bucket, body = Bucket(service, "alice"), Content(3, 3 * MIB)
    origin.put("/open", body, gate=gate, gate_after=2 * MIB)
    for path, status in (("/gone", 404), ("/closed", 401), ("/busy", 503)):
        origin.put(path, status=status)
    origin.put("/away", redirect=f"http://localhost:{origin.port}/elsewhere")
    origin.put("/elsewhere", b"x")
    address = origin.url.replace("://", f"://user:{secret}@")
    paths = ("/open", "/gone", "/closed", "/away", "/busy")
    wishes = {path: bucket.create(f"k{path}", address + path) for path in paths}
    assert bucket.create("k/open", address + "/open") == wishes["/open"]
    assert bucket.create("k/open", address.replace("0815", "4711") + "/gone") != wishes["/gone"]
    assert gate.reached.wait(60)
    until(lambda: bucket.progress(wishes["/open"]), lambda progress: progress["bytes_done"] > 0)
    until(lambda: bucket.progress(wishes["/busy"]), lambda progress: progress["error"] is not None)
    service.kill()
    running = [file.read_bytes() for file in service.data_dir.rglob("*") if file.is_file()]
    gate.set()
    service.start()
    bucket.success(wishes["/open"])
    bucket.success(wishes["/away"])
    assert [bucket.failure(wishes[path]) for path in ("/gone", "/closed")] == ["origin_refused"] * 2
    said = json.dumps([bucket.progress(token) for token in wishes.values()]).encode()
    said += json.dumps(bucket.listing(recursive="true")).encode()
    said += service.call("GET", f"{bucket.path}/export?urls=true").body
    assert bucket.record("k/open")["source"] == f"{origin.url}/open"
    shown = {request.headers.get("authorization") for request in origin.logged("/open")}
    assert (shown, origin.count("/open") > 1) == ({"Basic dXNlcjpodXNoLTA4MTU="}, True)
    assert "authorization" not in origin.logged("/elsewhere")[0].headers
    service.stop()
    files = [file.read_bytes() for file in service.data_dir.rglob("*") if file.is_file()]
    assert any(b"sealed:1:" in content for content in running)
    for place in (said, service.log().encode(), *running, *files):
        assert secret.encode() not in place
        assert b"dXNlcjpodXNo" not in place  # user:hush in Base64
