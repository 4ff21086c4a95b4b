"""One address, several answers: Vary in mode ``origin`` (RFC 9111 section 4.1)."""

import gzip
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.mirror.site import Site
from tests.e2e.mirror.test_writes import send
from tests.harness.behaviour import Gate, LoggedRequest
from tests.harness.patience import until

FRESH = ("Cache-Control", "max-age=3600")
TEXT = b"the same words, again and again. " * 200


@pytest.fixture
def cache(site: Site) -> Site:
    """A mirror in mode ``origin``."""
    site.order(mode="origin", methods="pass")
    return site


def by(name: str) -> dict[str, Any]:
    """An origin whose answer names the value of a header that it was asked with."""

    def answer(request: LoggedRequest) -> bytes:
        body = f"for {request.headers.get(name, 'nobody')}".encode()
        tag = f'"{body.decode()}"'.replace(" ", "-").replace(",", "").replace(";", "")
        head = f"HTTP/1.1 200 OK\r\nVary: {name}\r\nCache-Control: max-age=3600\r\nETag: {tag}\r\n"
        return head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body

    return {"raw": answer}


def language(site: Site, wanted: str, path: str = "/a") -> tuple[bytes, str]:
    answer = site.get(path, {"Accept-Language": wanted})
    return answer.body, answer.proxy_said


def kept(site: Site, count: int) -> list[str]:
    return until(site.keys, lambda keys: len(keys) == count)


def test_each_value_gets_its_own_answer_and_costs_the_origin_once(cache: Site) -> None:
    cache.put("/a", b"", **by("accept-language"))
    for number, wanted in enumerate(("de", "en", "fr"), 1):
        body, said = language(cache, wanted)
        assert body == f"for {wanted}".encode()
        assert said.startswith(f"CephStorage; fwd={'uri-miss' if number == 1 else 'vary-miss'}; stored")
        kept(cache, number)
    for wanted in ("de", "en", "fr", "FR", " fr"):
        body, said = language(cache, wanted)
        assert body == f"for {wanted.strip().lower()}".encode()
        assert said.startswith("CephStorage; hit")
    assert cache.count("/a") == 3
    first, *others = cache.keys()
    assert first == "a"
    assert all(key.startswith("a;variant=") for key in others)


def test_a_request_without_the_header_is_a_value_of_its_own(cache: Site) -> None:
    cache.put("/a", b"", **by("accept-language"))
    language(cache, "de")
    kept(cache, 1)
    assert cache.get("/a").body == b"for nobody"
    kept(cache, 2)
    assert cache.get("/a").body == b"for nobody"
    assert cache.count("/a") == 2


def test_codings_are_told_apart_in_one_spelling(cache: Site) -> None:
    packed = gzip.compress(TEXT)

    def body_of(request: LoggedRequest) -> bytes:
        zipped = "gzip" in request.headers["accept-encoding"]
        body, coding = (packed, "Content-Encoding: gzip\r\n") if zipped else (TEXT, "")
        head = f"HTTP/1.1 200 OK\r\nVary: Accept-Encoding\r\nCache-Control: max-age=3600\r\n{coding}"
        return head.encode() + f'ETag: "{zipped}"\r\nContent-Length: {len(body)}\r\n\r\n'.encode() + body

    cache.put("/a", b"", raw=body_of)
    for number, codings in enumerate(("gzip, deflate", None), 1):
        cache.get("/a", {"Accept-Encoding": codings} if codings else {})
        kept(cache, number)
    for codings in ("gzip", "deflate;q=0.5, GZIP;q=0.9", "x-gzip"):
        answer = cache.get("/a", {"Accept-Encoding": codings})
        assert (answer.body, answer.headers["content-encoding"]) == (packed, "gzip")
        assert answer.headers["vary"].lower() == "accept-encoding"
        part = cache.get("/a", {"Accept-Encoding": codings, "Range": "bytes=3-9"})
        assert (part.status, part.body) == (206, packed[3:10])
    for codings in ("identity", "gzip;q=0", "compress"):
        answer = cache.get("/a", {"Accept-Encoding": codings})
        assert answer.body == TEXT
        assert "content-encoding" not in answer.headers
    assert cache.count("/a") == 2


def test_who_joins_a_fill_gets_its_bytes_only_if_they_are_meant_for_it(cache: Site) -> None:
    gate = Gate()
    cache.put("/a", b"", header_gate=gate, **by("accept-language"))
    with ThreadPoolExecutor(3) as pool:
        german = [pool.submit(language, cache, "de") for _ in range(2)]
        assert gate.reached.wait(60)
        english = pool.submit(language, cache, "en")
        until(lambda: cache.explain("/a")["filling"])
        gate.set()
        assert {one.result()[0] for one in german} == {b"for de"}
        assert english.result()[0] == b"for en"


def test_what_varies_by_anything_is_not_stored(cache: Site) -> None:
    cache.put("/a", b"a", headers=[FRESH, ("Vary", "*")])
    assert [cache.get("/a").body for _ in range(2)] == [b"a", b"a"]
    assert cache.count("/a") == 2
    assert cache.keys() == []


def test_no_address_fills_the_store_with_variants(cache: Site) -> None:
    cache.put("/a", b"", **by("user-agent"))
    for number in range(20):
        assert cache.get("/a", {"User-Agent": f"browser-{number}"}).body == f"for browser-{number}".encode()
        kept(cache, min(number + 1, 17))
    again = cache.get("/a", {"User-Agent": "browser-19"})
    assert again.body == b"for browser-19"
    assert "detail=variants" in again.proxy_said
    assert "hit" in cache.get("/a", {"User-Agent": "browser-7"}).proxy_said


def test_a_purge_means_all_variants(cache: Site) -> None:
    cache.put("/a", b"", **by("accept-language"))
    cache.fill("/a;variants", b"another address", headers=[FRESH])
    for number, wanted in enumerate(("de", "en", "fr"), 2):
        language(cache, wanted)
        kept(cache, number)
    told = cache.service.json("POST", "/mirrors/purge", {"mirror": cache.host, "path": "/a"})
    assert told["counts"]["removed"] == 3
    assert cache.keys() == ["a;variants"]
    assert language(cache, "en")[0] == b"for en"
    assert cache.count("/a") == 4


def test_a_write_means_all_variants(cache: Site) -> None:
    cache.put("/a", b"", **by("accept-language"))
    for number, wanted in enumerate(("de", "en"), 1):
        language(cache, wanted)
        kept(cache, number)
    cache.put("/a", b"", status=204)
    assert send(cache, "POST", "/a", b"x")[0] == 204
    cache.put("/a", b"", **by("accept-language"))
    for wanted in ("de", "en"):
        assert language(cache, wanted)[1].startswith("CephStorage; fwd=stale")
    assert cache.count("/a", "GET") == 4


def test_a_key_that_looks_like_a_variant_is_not_taken_for_one(cache: Site) -> None:
    cache.put("/a", b"", **by("accept-language"))
    for number, wanted in enumerate(("de", "en"), 1):
        language(cache, wanted)
        kept(cache, number)
    (key,) = set(cache.keys()) - {"a"}
    cache.put(f"/{key}", b"my own", headers=[FRESH])
    assert cache.get(f"/{key}").body == b"my own"
    assert language(cache, "en")[0] == b"for en"
