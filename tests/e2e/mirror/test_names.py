"""Nasty names as paths: each is an object of its own, and the second time it comes from the store."""

import posixpath
from urllib.parse import quote

import pytest

from cephstorage.domain.names import encode_key
from tests.e2e.mirror.site import Site
from tests.harness.names import NASTY_KEYS, REFUSED_TARGETS
from tests.harness.origin import FaultOrigin
from tests.harness.service import Service

LETTERS = "-._~!$&'()*+,;=:@/"
WITH_DOTS = {key for key in NASTY_KEYS.values() if {".", ".."} & set(key.split("/"))}


@pytest.fixture(scope="module")
def bare(shared_service: Service, shared_origin: FaultOrigin) -> Site:
    """A mirror of a whole origin host, where dots in a path can't lead out of a folder."""
    made = Site(shared_service, shared_origin, "names")
    made.order()
    return made


def _target(key: str) -> str:
    """The target whose key it is: the path without its first slash; '/' is its own target."""
    return "/" if key == "/" else "/" + quote(key, safe=LETTERS)


@pytest.mark.stacks("direct")  # nginx refuses targets that lead above the root; see tests/e2e/nginx for the others
def test_every_name_is_an_object_of_its_own(bare: Site) -> None:
    targets = {key: _target(key) for key in NASTY_KEYS.values()}
    assert len(set(targets.values())) == len(targets)
    for key, target in targets.items():
        bare.put(target, f"the body of {key!r}".encode())
    for key, target in targets.items():
        assert bare.get(target).body == f"the body of {key!r}".encode(), key
        assert [asked.target for asked in bare.logged(target)] == [target], key
    for key in targets:
        assert bare.stored(key)["key"] == key
    with bare.origin_down():
        for key, target in targets.items():
            answer = bare.get(target)
            assert answer.body == f"the body of {key!r}".encode(), key
            assert answer.proxy_said == "CephStorage; hit", key
            assert bare.head(target).headers["content-length"] == str(len(answer.body))
    assert set(bare.keys()) >= set(targets)


def test_two_spellings_of_a_target_are_one_object(site: Site) -> None:
    """RFC 3986 section 6.2.2: an escape of an unreserved letter, and the case of hex digits, mean nothing."""
    for spelling in ("/caf%C3%A9/~a", "/caf%c3%a9/~a", "/caf%C3%A9/%7Ea", "/%63af%C3%A9/%7ea"):
        site.put(spelling, b"one")
    assert site.get("/caf%C3%A9/~a").body == b"one"
    site.stored("café/~a")
    for spelling in ("/caf%c3%a9/~a", "/caf%C3%A9/%7Ea", "/%63af%C3%A9/%7ea"):
        assert site.get(spelling).proxy_said == "CephStorage; hit"
        assert site.count(spelling) == 0


def test_an_escaped_slash_is_not_a_slash(site: Site) -> None:
    site.put("/a/b", b"plain")
    site.put("/a%2Fb", b"escaped")
    for _ in range(2):
        assert site.get("/a/b").body == b"plain"
        assert site.get("/a%2Fb").body == b"escaped"


def test_dots_do_not_leave_the_origins_folder(site: Site) -> None:
    """The origin is a folder of its host; what lies beside it is not mirrored."""
    site.origin.put("/beside/secret", b"secret")
    for target in ("/../beside/secret", "/a/../../beside/secret", "/%2e%2e/beside/secret", "/..%2Fbeside/secret"):
        answer = site.get(target)
        assert answer.status == 400, target
    for key in WITH_DOTS:
        assert site.get(_target(key)).status == 400, key
    assert site.origin.count("/beside/secret") == 0


def test_denied_paths_are_denied_in_every_spelling(bare: Site) -> None:
    made = Site(bare.service, bare.origin, "names-denied")
    made.order(rules=[{"path": "/denied/**", "mode": "deny"}])
    asked = len(made.origin.logged())
    for target in (
        "/denied/a",
        "/%64enied/a",
        "//denied/a",
        "/./denied/a",
        "/open/../denied/a",
        "/open/%2e%2E/denied/a",
    ):
        assert made.get(target).status == 403, target
    assert len(made.origin.logged()) == asked


@pytest.mark.parametrize("raw", [t for n, t in REFUSED_TARGETS.items() if n not in {"empty", "1,025 bytes"}])
def test_what_can_not_be_read_is_refused(site: Site, raw: bytes) -> None:
    request = b"GET /" + raw + f" HTTP/1.1\r\nHost: {site.host}\r\nConnection: close\r\n\r\n".encode()
    status, _ = site.raw(request)
    assert status == 400
    assert site.keys() == []


def test_a_path_too_long_for_a_key_is_passed_through(site: Site) -> None:
    target = "/" + "x" * 1025
    site.put(target, b"long")
    for _ in range(2):
        answer = site.get(target)
        assert (answer.status, answer.body) == (200, b"long")
        assert "detail=key" in answer.headers["cache-status"]
    assert site.count(target) == 2
    assert site.keys() == []


def test_published_urls_of_nasty_names(bare: Site) -> None:
    """What the mirror brought can be had as a key too."""
    key = "published/a//b/../ü%2F+?#.txt"
    target = _target(key)
    assert posixpath.normpath(target) != target
    bare.put(target, b"bytes")
    assert bare.get(target).body == b"bytes"
    url = bare.stored(key)["url"]
    assert encode_key(key) in url
    assert bare.service.call("GET", url.removeprefix(bare.service.url), token=None).body == b"bytes"
