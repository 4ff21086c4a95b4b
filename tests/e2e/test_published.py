"""Published URLs: the bytes of one key without a token, with everything HTTP offers for them."""

import re
import time
from email.utils import formatdate
from urllib.parse import parse_qs

import pytest

from tests.harness.bucket import Bucket, address
from tests.harness.patience import until
from tests.harness.service import Service

BODY = b"0123456789"
MOMENT = 1_000_000_000


@pytest.fixture(scope="module")
def digits(shared: Service) -> Bucket:
    """A bucket with ten digits at ``k`` and nothing at ``empty``; tests only read it."""
    bucket = Bucket(shared, "digits")
    bucket.put("k", BODY, {"Content-Type": "text/plain"}, timetag=MOMENT)
    bucket.put("empty", b"")
    return bucket


RANGES = {
    "bytes=0-0": (0, 1),
    "bytes=0-": (0, 10),
    "bytes=3-5": (3, 6),
    "bytes=9-9": (9, 10),
    "bytes=5-1000000000000": (5, 10),
    "bytes=-1": (9, 10),
    "bytes=-10": (0, 10),
    "bytes=-999": (0, 10),
    "Bytes=1-2": (1, 3),
}


@pytest.mark.parametrize(("header", "span"), RANGES.items())
def test_ranges(header: str, span: tuple[int, int], digits: Bucket) -> None:
    start, end = span
    reply = digits.published("k", {"Range": header})
    assert (reply.status, reply.body) == (206, BODY[start:end])
    assert reply.headers["content-range"] == f"bytes {start}-{end - 1}/10"
    assert reply.headers["content-length"] == str(end - start)
    assert reply.headers["content-type"] == "text/plain"


@pytest.mark.parametrize(
    "header", ["bytes=0-1,3-4", "bytes=0-0,0-0", "bytes=5-2", "bytes=", "bytes=-", "bytes=a-b", "lines=0-1", "0-1", "x"]
)
def test_ranges_that_are_left_alone(header: str, digits: Bucket) -> None:
    reply = digits.published("k", {"Range": header})
    assert (reply.status, reply.body) == (200, BODY)
    assert "content-range" not in reply.headers


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=999999999999-", "bytes=-0"])
def test_ranges_that_can_not_be_satisfied(header: str, digits: Bucket) -> None:
    reply = digits.published("k", {"Range": header})
    assert (reply.status, reply.headers["content-range"]) == (416, "bytes */10")


def test_an_empty_key(digits: Bucket) -> None:
    whole = digits.published("empty")
    assert (whole.status, whole.body, whole.headers["content-length"]) == (200, b"", "0")
    assert digits.published("empty", {"Range": "bytes=0-"}).status == 416
    assert digits.published("empty", method="HEAD").headers["content-length"] == "0"


def test_if_range(digits: Bucket) -> None:
    etag, modified = digits.record("k")["etag"], formatdate(MOMENT, usegmt=True)
    for validator, status in (
        (etag, 206),
        (modified, 206),
        ('"another"', 200),
        (f"W/{etag}", 200),
        (formatdate(MOMENT + 1, usegmt=True), 200),
        (formatdate(MOMENT - 1, usegmt=True), 200),
        ("rubbish", 200),
    ):
        reply = digits.published("k", {"Range": "bytes=2-3", "If-Range": validator})
        assert (reply.status, reply.body) == (status, BODY[2:4] if status == 206 else BODY), validator


def test_conditions(digits: Bucket) -> None:
    etag = digits.record("k")["etag"]
    at, before, after = (formatdate(MOMENT + shift, usegmt=True) for shift in (0, -1, 1))
    for headers, status in (
        ({"If-None-Match": etag}, 304),
        ({"If-None-Match": f"W/{etag}"}, 304),
        ({"If-None-Match": f'"x", {etag}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-None-Match": '"x"', "If-Modified-Since": after}, 200),
        ({"If-Modified-Since": at}, 304),
        ({"If-Modified-Since": after}, 304),
        ({"If-Modified-Since": before}, 200),
        ({"If-Modified-Since": "yesterday"}, 200),
        ({"If-Match": etag}, 200),
        ({"If-Match": '"x"'}, 412),
        ({"If-Unmodified-Since": before}, 412),
        ({"If-Unmodified-Since": at}, 200),
        ({"If-None-Match": etag, "Range": "bytes=0-1"}, 304),
        ({"If-Match": '"x"', "Range": "bytes=0-1"}, 412),
    ):
        for method in ("GET", "HEAD"):
            reply = digits.published("k", headers, method)
            assert reply.status == status, (method, headers)
            assert reply.headers["etag"] == etag
            assert reply.body == (BODY if (method, status) == ("GET", 200) else b"")


def test_head(digits: Bucket) -> None:
    whole, shown = digits.published("k"), digits.published("k", method="HEAD")
    assert (shown.status, shown.body) == (200, b"")
    different = {"date"}
    assert {k: v for k, v in shown.headers.items() if k not in different} == {
        k: v for k, v in whole.headers.items() if k not in different
    }
    assert shown.headers["accept-ranges"] == "bytes"
    assert digits.published("k", {"Range": "bytes=0-1"}, "HEAD").status == 200


def test_browsers_are_kept_from_guessing(digits: Bucket) -> None:
    url = address(digits.record("k")["url"])
    plain = digits.service.call("GET", url, token=None)
    assert plain.headers["x-content-type-options"] == "nosniff"
    assert "content-disposition" not in plain.headers


@pytest.mark.parametrize("key", ["pets/cat.jpg", 'naïve "name".txt', "a\r\nX-Evil: 1", "dir/"])
def test_download(key: str, bucket: Bucket) -> None:
    url = address(bucket.put(key, b"x")["url"])
    reply = bucket.service.call("GET", f"{url}&download=1", token=None)
    assert (reply.status, reply.body) == (200, b"x")
    assert reply.headers["content-disposition"].startswith("attachment")
    assert "x-evil" not in reply.headers


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
def test_reading_only(method: str, digits: Bucket) -> None:
    reply = digits.service.call(method, address(digits.record("k")["url"]), b"", token=None)
    assert (reply.status, reply.json()["code"]) == (405, "method_not_allowed")
    assert digits.read("k") == BODY


def refused(service: Service, url: str) -> None:
    for method in ("GET", "HEAD"):
        reply = service.call(method, url, token=None)
        assert reply.status == 403, url
        assert reply.headers["content-type"] == "application/problem+json"
        assert BODY not in reply.body
    assert service.call("GET", url, token=None).json()["code"] == "signature_invalid"


def test_signatures(digits: Bucket) -> None:
    service, url = digits.service, address(digits.record("k")["url"])
    path, _, query = url.partition("?")
    signed = {name: values[0] for name, values in parse_qs(query).items()}
    expires, signature = signed["expires"], signed["signature"]
    other = address(digits.record("empty")["url"]).partition("?")[2]
    flipped = ("B" if signature[0] == "A" else "A") + signature[1:]
    for tampered in (
        path,
        f"{path}?expires={expires}",
        f"{path}?signature={signature}",
        f"{path}?expires={expires}&signature=",
        f"{path}?expires={expires}&signature={flipped}",
        f"{path}?expires={expires}&signature={signature}A",
        f"{path}?expires={expires}&signature={signature[:-1]}",
        f"{path}?expires={expires}&signature=%FF",
        f"{path}?expires={int(expires) + 1}&signature={signature}",
        f"{path}?expires=0{expires}&signature={signature}",
        f"{path}?expires=+{expires}&signature={signature}",
        f"{path}?expires=never&signature={signature}",
        f"{path}?expires=&signature=",
        f"{path}?{other}",
        f"{path}x?{query}",
        f"/objects/digits___photos/empty?{query}",
        f"/objects/other___photos/k?{query}",
        f"/objects/nonsense/k?{query}",
    ):
        refused(service, tampered)
    assert service.call("GET", url, token=None).body == BODY


def test_expiry(digits: Bucket) -> None:
    url = address(digits.record("k", expires_in=1)["url"])
    assert int(re.findall(r"expires=(\d+)", url)[0]) <= time.time() + 2
    until(lambda: digits.service.call("GET", url, token=None).status, lambda status: status == 403)
    refused(digits.service, url)


def test_a_deleted_key(bucket: Bucket) -> None:
    url = address(bucket.put("k", b"x")["url"])
    bucket.delete("k")
    reply = bucket.service.call("GET", url, token=None)
    assert (reply.status, reply.json()["code"]) == (404, "key_not_found")
