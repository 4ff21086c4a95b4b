"""What a key lives through beside its bytes: custom metadata."""

import json
from typing import Any

import pytest

from tests.harness.bucket import Bucket
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.service import Reply

META = {"x-amz-meta-Color": "deep blue", "X-Amz-Meta-md5": "mine"}
SAID = {"color": "deep blue", "md5": "mine"}


def metadata_of(reply: Reply) -> dict[str, str]:
    named = {name.lower(): value for name, value in reply.headers.items()}
    return {name.removeprefix("x-amz-meta-"): value for name, value in named.items() if name.startswith("x-amz-meta-")}


def test_metadata_goes_with_the_key_and_not_with_the_next_version(bucket: Bucket) -> None:
    assert bucket.put("k", b"bytes", META)["metadata"] == SAID == bucket.record("k")["metadata"]
    for method, body in (("GET", b"bytes"), ("HEAD", b"")):
        shown = bucket.published("k", method=method)
        assert (shown.status, shown.body, metadata_of(shown)) == (200, body, SAID)
    part = bucket.published("k", {"Range": "bytes=1-2"})
    assert (part.status, part.body, metadata_of(part)) == (206, b"yt", SAID)
    assert "metadata" not in bucket.listing()["keys"][0]
    assert bucket.listing(metadata="true")["keys"][0]["metadata"] == SAID
    assert "metadata" not in bucket.put("k", b"other")
    assert metadata_of(bucket.published("k")) == {}


@pytest.mark.stacks("direct")  # nothing here differs behind nginx, nor on other engines
def test_metadata_of_a_creation_goes_through_export_and_import(bucket: Bucket, shared_origin: FaultOrigin) -> None:
    shared_origin.put("/said", b"bytes")
    bucket.success(bucket.create("k", shared_origin.url + "/said", metadata={"Color": "blue"}))
    assert bucket.record("k")["metadata"] == {"color": "blue"}
    line = {**json.loads(bucket.service.call("GET", f"{bucket.path}/export").body), "url": shared_origin.url + "/said"}
    other = Bucket(bucket.service, bucket.username, "imported")
    sent = {"Content-Type": "application/x-ndjson"}
    report = bucket.service.call("POST", f"{other.path}/import", json.dumps(line).encode(), sent).json()
    assert (report["created"], report["refused"]) == (1, 0)
    assert imported(other, "k")["metadata"] == {"color": "blue"}


def imported(bucket: Bucket, key: str) -> Any:
    until(lambda: bucket.exists(key))
    return bucket.record(key)


@pytest.mark.stacks("direct")
@pytest.mark.parametrize("headers", [{"x-amz-meta-a_b": "x"}, {"x-amz-meta-a": "x" * 2048}, {"x-amz-meta-a": "\xe4"}])
def test_metadata_that_can_not_be_kept_is_refused_and_nothing_stored(headers: dict[str, str], bucket: Bucket) -> None:
    reply = bucket.upload("refused", b"x", headers)
    assert (reply.status, reply.json()["code"]) == (400, "invalid_metadata")
    assert not bucket.exists("refused")
