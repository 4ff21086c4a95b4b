"""The nasty names of keys through the edge: uploaded, read, published and mirrored under their own names."""

from urllib.parse import quote, urlsplit

import pytest

from tests.e2e.mirror.site import Site
from tests.harness import raw
from tests.harness.bucket import Bucket, md5
from tests.harness.names import NASTY_KEYS, REFUSED_TARGETS


@pytest.mark.parametrize("name", NASTY_KEYS)
def test_a_key_is_uploaded_read_and_published(bucket: Bucket, name: str) -> None:
    key = NASTY_KEYS[name]
    body = f"the body of {name}".encode()
    assert bucket.put(key, body)["key"] == key
    record = bucket.service.json("GET", bucket.target(key))
    assert (record["key"], record["md5"]) == (key, md5(body))
    place = urlsplit(record["url"])
    answer = bucket.service.call("GET", f"{place.path}?{place.query}", token=None)
    assert (answer.status, answer.body) == (200, body)
    raw_target = f"{bucket.path}/keys/".encode() + quote(key, safe="/").encode()
    assert raw.ask(bucket.service, "GET", raw_target).json()["key"] == key


@pytest.mark.parametrize("name", [name for name, key in NASTY_KEYS.items() if key not in {"/", "//a", "/a", "///"}])
def test_a_name_is_mirrored(site: Site, name: str) -> None:
    key = NASTY_KEYS[name]
    path = "/" + quote(key, safe="/")
    body = f"the body of {name}".encode()
    site.put(path, body)
    answer = site.get(path)
    if {".", ".."} & set(key.split("/")):
        assert answer.status == 400, "such a path could leave the origin's folder"
        return
    assert (answer.status, answer.body) == (200, body)
    assert site.get(path).body == body


@pytest.mark.parametrize("name", REFUSED_TARGETS)
def test_what_is_no_key_is_refused(bucket: Bucket, name: str) -> None:
    target = f"{bucket.path}/keys/".encode() + REFUSED_TARGETS[name]
    assert 400 <= raw.ask(bucket.service, "PUT", target, b"x").status < 500
