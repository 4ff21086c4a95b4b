"""Creations that must fail, with the right code, at once where asking again is useless, and leaving no trace."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.harness.bucket import Bucket, spooled
from tests.harness.content import MIB, Content
from tests.harness.origin import FaultOrigin
from tests.harness.service import Service

SETTINGS = {"transfer_attempts": "2", "transfer_retry_base": "0.05", "transfer_max_object_size": "2000000"}


@pytest.fixture
def kept(bucket: Bucket) -> Any:
    """A bucket whose key ``k`` has a version that a failure must not touch."""
    record = bucket.put("k", b"the previous version")
    yield bucket
    unsigned = {name: value for name, value in bucket.record("k").items() if name != "url"}
    assert unsigned == {name: value for name, value in record.items() if name != "url"}
    assert bucket.read("k") == b"the previous version"
    assert bucket.usage() == (20, 1)
    assert spooled(bucket.service.data_dir) == []


def test_wrong_md5(kept: Bucket, shared_origin: FaultOrigin) -> None:
    shared_origin.put("/md5", Content(1, MIB + 5))
    assert kept.failure(kept.create("k", shared_origin.url + "/md5", md5="0" * 32)) == "md5_mismatch"
    assert shared_origin.count("/md5") == 1


def test_digest_that_the_origin_itself_declares(kept: Bucket, shared_origin: FaultOrigin) -> None:
    wrong = [("Content-MD5", "AAAAAAAAAAAAAAAAAAAAAA==")]
    shared_origin.put("/digest", b"other bytes", headers=wrong)
    assert kept.failure(kept.create("k", shared_origin.url + "/digest")) == "digest_mismatch"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
def test_refusals_are_final(status: int, kept: Bucket, shared_origin: FaultOrigin) -> None:
    path = f"/refused-{status}"
    shared_origin.put(path, b"no", status=status)
    assert kept.failure(kept.create("k", shared_origin.url + path)) == "origin_refused"
    assert shared_origin.count(path) == 1


@pytest.mark.parametrize("status", [500, 502])
def test_faults_are_asked_again_until_attempts_are_used_up(
    status: int, kept: Bucket, shared_origin: FaultOrigin
) -> None:
    path = f"/fault-{status}"
    shared_origin.put(path, b"broken", status=status)
    token = kept.create("k", shared_origin.url + path)
    assert kept.failure(token) == "origin_fault"
    assert shared_origin.count(path) == kept.progress(token)["attempts"] == 2


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("how", ["fin", "rst"])
def test_truncated_bodies_are_never_stored(framing: str, how: str, kept: Bucket, shared_origin: FaultOrigin) -> None:
    path, fault = f"/cut-{framing}-{how}", {"die_after": 100_000, "how": how}
    # Without validators nothing can be joined to what came: each attempt begins anew.
    shared_origin.put(path, Content(2, 300_000), framing=framing, etag=None, last_modified=None, **fault)
    assert kept.failure(kept.create("k", shared_origin.url + path)) == "origin_broken"


def test_a_clean_looking_truncation_is_caught_by_the_md5(kept: Bucket, shared_origin: FaultOrigin) -> None:
    body = Content(3, 300_000)
    shared_origin.put("/cut", body, framing="close", ranges=False, die_after=100_000)
    assert kept.failure(kept.create("k", shared_origin.url + "/cut", md5=body.md5)) == "md5_mismatch"


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_too_large(framing: str, kept: Bucket, shared_origin: FaultOrigin) -> None:
    path = f"/large-{framing}"
    shared_origin.put(path, Content(4, 70 * MIB), framing=framing, ranges=False)
    assert kept.failure(kept.create("k", shared_origin.url + path)) == "too_large"
    assert shared_origin.count(path) == 1


def test_redirects_without_end(kept: Bucket, shared_origin: FaultOrigin) -> None:
    shared_origin.put("/loop", redirect="/loop")
    assert kept.failure(kept.create("k", shared_origin.url + "/loop")) == "too_many_redirects"


def test_redirect_to_a_port_that_is_not_allowed(kept: Bucket, shared_origin: FaultOrigin, origin: FaultOrigin) -> None:
    origin.put("/secret", b"secret")
    shared_origin.put("/out", redirect=origin.url + "/secret")
    assert kept.failure(kept.create("k", shared_origin.url + "/out")) == "forbidden_address"
    assert kept.failure(kept.create("k", origin.url + "/secret")) == "forbidden_address"
    assert origin.count() == 0


def test_an_answer_that_is_not_http(kept: Bucket, shared_origin: FaultOrigin) -> None:
    shared_origin.put("/garbage", raw=b"SSH-2.0-OpenSSH_9\r\n\r\n")
    assert kept.failure(kept.create("k", shared_origin.url + "/garbage")) in {"origin_protocol", "origin_broken"}


def test_this_machine_is_forbidden_by_default(launch: Callable[..., Service], origin: FaultOrigin) -> None:
    origin.put("/secret", b"secret")
    bucket = Bucket(launch(origin_allowed_networks=""), "alice")
    hosts = [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::]",
    ]
    reply = bucket.post([{"key_name": host, "key_url": f"http://{host}:{origin.port}/secret"} for host in hosts])
    assert reply.status == 202, reply.body
    assert {item["key"]: bucket.failure(item["token"]) for item in reply.json()} == dict.fromkeys(
        hosts, "forbidden_address"
    )
    assert origin.connections_accepted() == 0


@pytest.mark.parametrize(
    "url",
    [
        "",
        "cat.jpg",
        "/etc/passwd",
        "//example.org/x",
        "http://",
        "http:///x",
        "file:///etc/passwd",
        "ftp://example.org/x",
        "javascript:alert(1)",
        "http://example.org:99999/",
        "http://example.org:0/",
        "http://example.org:x/",
        "http://exa mple.org/",
        "http://example.org/a b",
        "http://example.org/ü",
        "http://example.org/\r\nX: y",
        "http://example.org/\x00",
        "http://[::1/",
        "http://example.org\\@x/",
        "http://example.org/" + "x" * 10_000,
    ],
)
def test_bad_urls(url: str, bucket: Bucket) -> None:
    reply = bucket.post({"key_name": "k", "key_url": url})
    assert (reply.status, reply.json()["code"]) == (400, "invalid_url")


@pytest.mark.parametrize(
    ("option", "code"),
    [
        ({"key_name": ""}, "invalid_key"),
        ({"key_name": "x" * 1025}, "invalid_key"),
        ({"key_name": "a\0b"}, "invalid_key"),
        ({"key_name": "\ud800"}, "invalid_request"),
        ({"key_name": 7}, "invalid_request"),
        ({"md5": "0" * 31}, "invalid_digest"),
        ({"md5": "AAAA"}, "invalid_digest"),
        ({"timetag": "yesterday"}, "invalid_timetag"),
        ({"timetag": -1}, "invalid_timetag"),
        ({"timetag": 1e300}, "invalid_timetag"),
        ({"content_type": "text/\nplain"}, "invalid_request"),
        ({"if_absent": "perhaps"}, "invalid_request"),
        ({"unknown_option": 1}, "invalid_request"),
    ],
)
def test_bad_options(option: dict[str, Any], code: str, bucket: Bucket) -> None:
    reply = bucket.post({"key_name": "k", "key_url": "http://example.org/x", **option})
    assert (reply.status, reply.json()["code"]) == (400, code)
    assert bucket.listing(recursive="true")["keys"] == []
