"""A miss streams and stores, a hit asks nobody, and an object looks the same during the fill, stored, and restarted."""

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.mirror.site import Download, Site
from tests.harness.aftermath import spool_files
from tests.harness.behaviour import DEFAULT_MODIFIED, Gate
from tests.harness.content import MIB, Content
from tests.harness.patience import until

SIZE = 3 * MIB + 17
BODY = Content(7, SIZE)
KEPT = [
    ("Cache-Control", "max-age=60"),
    ("Content-Language", "de"),
    ("Content-Disposition", 'attachment; filename="a.bin"'),
    ("X-Amz-Meta-Colour", "blue"),
    ("Vary", "Accept-Language"),
    ("Expires", "Thu, 01 Jan 2026 00:00:00 GMT"),
]
ETAGS = {"strong": '"v1"', "weak": 'W/"v1"', "no": None, "broken": "v1"}


def _restart(site: Site) -> None:
    assert site.service.stop() == 0
    site.service.start()


def _face(answer: Download, *, but: tuple[str, ...] = ()) -> dict[str, str]:
    """The headers that must not change over the life of a copy."""
    return {k: v for k, v in answer.headers.items() if k not in {"age", "date", "cache-status", *but}}


def test_a_miss_streams_before_the_origin_has_finished(site: Site) -> None:
    gate = Gate()
    site.put("/a", BODY, gate=gate, gate_after=MIB)
    with site.open("/a") as answer:
        assert answer.status == 200
        assert answer.headers["content-length"] == str(SIZE)
        assert answer.read(MIB) == BODY.read(0, MIB)
        assert site.body_bytes("/a") == MIB
        assert site.record("a") is None
        told = site.explain("/a")
        assert told["filling"] is True
        assert (told["fill"]["phase"], told["fill"]["bytes_total"]) in {("fetching", None), ("fetching", SIZE)}
        gate.set()
        assert answer.rest() == BODY.read(MIB)
    record = site.stored("a")
    assert (record["size"], record["md5"]) == (SIZE, BODY.md5)
    assert site.body_bytes("/a") == SIZE


def test_a_hit_asks_nobody_not_even_after_a_restart(site: Site) -> None:
    site.fill("/d/a.bin", BODY)
    assert site.count("/d/a.bin") == 1
    with site.origin_down():
        assert site.get("/d/a.bin").body == BODY.read()
        _restart(site)
        answer = site.get("/d/a.bin")
        assert answer.body == BODY.read()
        assert answer.proxy_said == "CephStorage; hit"
        assert int(answer.headers["age"]) >= 0
    assert site.count("/d/a.bin") == 1
    assert not spool_files(Path(site.service.data_dir))


def test_usage_counts_what_the_mirror_brought(site: Site) -> None:
    site.fill("/a", BODY)
    site.fill("/b", b"12345")
    bucket = site.service.json("GET", "/ceph/" + site.bucket.replace("___", "/"))
    assert (bucket["size"], bucket["keyamount"]) == (SIZE + 5, 2)


def test_a_mirrored_key_has_a_published_url(site: Site) -> None:
    filled = site.fill("/a", BODY, etag='"v1"')
    url = site.service.json("GET", f"/ceph/{site.bucket.replace('___', '/')}/keys/a")["url"]
    reply = site.service.call("GET", url.removeprefix(site.service.url), token=None)
    assert hashlib.md5(reply.body, usedforsecurity=False).hexdigest() == BODY.md5
    assert reply.headers["etag"] == filled.headers["etag"] == '"v1"'


def _seen_while_filling(site: Site, path: str, **behaviour: Any) -> list[Download]:
    """The one who began the fill, HEAD during it, and one who joined it."""
    gate = Gate()
    site.put(path, BODY, gate=gate, gate_after=MIB, **behaviour)
    with site.open(path) as first:
        first.read(MIB)
        head = site.head(path)
        with site.open(path) as joined:
            assert joined.read(100) == BODY.read(0, 100)
            gate.set()
            assert joined.rest() == BODY.read(100)
        assert first.rest() == BODY.read(MIB)
    site.stored(path.removeprefix("/"))
    return [first, head, joined]


@pytest.mark.stacks("direct")  # nginx hands a body of unknown length on when it pleases
def test_the_same_face_in_every_state(site: Site) -> None:
    variants = {
        f"/{tag}/{framing}": (etag, framing) for tag, etag in ETAGS.items() for framing in ("length", "chunked")
    }
    common: dict[str, Any] = {"headers": KEPT, "content_type": "text/x-odd; charset=utf-8"}
    filling = {
        path: _seen_while_filling(site, path, etag=etag, framing=framing, **common)
        for path, (etag, framing) in variants.items()
    }
    stored = {path: (site.get(path), site.head(path)) for path in variants}
    _restart(site)
    for path, (etag, framing) in variants.items():
        restarted = site.get(path)
        face = _face(restarted)
        assert restarted.body == stored[path][0].body == BODY.read()
        assert [_face(answer) for answer in stored[path]] == [face, face]
        unknown = ("content-length", "transfer-encoding") if framing == "chunked" else ()
        for answer in filling[path]:
            assert _face(answer, but=unknown) == {name: face[name] for name in face if name not in unknown}
        assert site.count(path) == 1
        _has_the_origins_features(face, etag)


def _has_the_origins_features(face: dict[str, str], etag: str | None) -> None:
    assert face["content-length"] == str(SIZE)
    assert face["content-type"] == "text/x-odd; charset=utf-8"
    assert face["last-modified"] == DEFAULT_MODIFIED
    assert {(name, face[name.lower()]) for name, _ in KEPT} == set(KEPT)
    if etag in {ETAGS["strong"], ETAGS["weak"]}:
        assert face["etag"] == etag
    else:
        assert re.fullmatch(r'"[0-9a-f]{32}"', face["etag"])


def test_head_in_every_state(site: Site) -> None:
    gate = Gate()
    site.put("/a", BODY, gate=gate, gate_after=MIB)
    cold = site.head("/a")
    assert (cold.status, cold.body) == (200, b"")
    assert cold.headers["content-length"] == str(SIZE)
    assert site.body_bytes("/a") == 0
    assert site.record("a") is None
    with site.open("/a") as answer:
        answer.read(1)
        filling = site.head("/a")
        assert (filling.status, filling.headers["content-length"]) == (200, str(SIZE))
        gate.set()
        answer.rest()
    site.stored("a")
    asked = site.count("/a")
    stored = site.head("/a")
    assert stored.headers["content-length"] == str(SIZE)
    assert stored.headers["etag"] == filling.headers["etag"] == cold.headers["etag"]
    assert site.count("/a") == asked == 2


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_empty_object(site: Site, framing: str) -> None:
    site.fill("/empty", b"", framing=framing)
    assert site.record("empty")["size"] == 0
    stored = site.get("/empty")
    assert (stored.status, stored.headers["content-length"], stored.body) == (200, "0", b"")
    assert site.count("/empty") == 1


@pytest.mark.stacks(
    "direct"
)  # nginx knows no range of nothing and sends the whole of it (RFC 9110 section 14.2 lets it)
def test_no_range_of_an_empty_object_can_be_satisfied(site: Site) -> None:
    site.fill("/empty", b"")
    assert site.range("/empty", "0-0").status == 416


def test_client_conditions_are_answered_here(site: Site) -> None:
    site.fill("/a", b"content", etag='"v1"')
    for headers in ({"If-None-Match": '"v0", W/"v1"'}, {"If-Modified-Since": DEFAULT_MODIFIED}):
        for method in ("GET", "HEAD"):
            answer = site.get("/a", headers, method)
            assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", '"v1"')
    assert site.get("/a", {"If-None-Match": '"v0"'}).body == b"content"
    assert site.get("/a", {"If-Match": '"v0"'}).status == 412
    assert site.count("/a") == 1


def test_a_conditional_request_for_a_cold_object_fills_it(site: Site) -> None:
    site.put("/a", b"content", etag='"v1"')
    assert site.get("/a", {"If-None-Match": '"v1"'}).status == 304
    assert site.stored("a")["size"] == 7
    [asked] = site.logged("/a")
    assert "if-none-match" not in asked.headers


def test_every_answer_explains_itself(site: Site) -> None:
    """RFC 9211: one member of ours, whose first item is our name; RFC 9110 section 7.6.3: Via."""
    site.order(
        rules=[{"path": "/denied/**", "mode": "deny"}, {"path": "/bypass/**", "mode": "bypass"}],
    )
    site.put("/a", BODY)
    site.put("/bypass/a", b"a")
    site.put("/private", b"a", headers=[("Cache-Control", "private")])
    site.put("/fails", b"no", status=500)
    site.put("/loops", redirect="loops")
    site.put("/torn", raw=b"HTTP/1.1 200 OK\r\nContent-Le")
    answers = {
        "miss": site.get("/a"),
        "hit": until(lambda: site.get("/a"), lambda got: "hit" in got.headers["cache-status"]),
        "range": site.range("/a", "0-9"),
        "unsatisfiable": site.range("/a", f"{SIZE}-"),
        "not modified": site.get("/a", {"If-None-Match": "*"}),
        "head": site.head("/a"),
        "bypass": site.get("/bypass/a"),
        "private": site.get("/private"),
        "missing": site.get("/nothing"),
        "head of missing": site.head("/nothing"),
        "fails": site.get("/fails"),
        "denied": site.get("/denied/a"),
        "loops": site.get("/loops"),
        "torn": site.get("/torn"),
        "method": site.get("/a", method="POST"),
        "only if cached": site.get("/b", {"Cache-Control": "only-if-cached"}),
    }
    assert {name: answer.status for name, answer in answers.items()} == {
        "miss": 200,
        "hit": 200,
        "range": 206,
        "unsatisfiable": 416,
        "not modified": 304,
        "head": 200,
        "bypass": 200,
        "private": 200,
        "missing": 404,
        "head of missing": 404,
        "fails": 500,
        "denied": 403,
        "loops": 502,
        "torn": 502,
        "method": 405,
        "only if cached": 504,
    }
    for name, answer in answers.items():
        assert answer.headers.get("cache-status", "").startswith("CephStorage"), name
        assert "cephstorage-" in answer.headers.get("via", ""), name
    assert answers["miss"].proxy_said == "CephStorage; fwd=uri-miss; stored"
    assert answers["hit"].proxy_said == "CephStorage; hit"
    assert "detail=private" in answers["private"].headers["cache-status"]
    assert "detail=bypass" in answers["bypass"].headers["cache-status"]


@pytest.mark.stacks("direct")  # nginx refuses such a target by itself
def test_a_broken_target_is_explained_too(site: Site) -> None:
    answer = site.get("/%zz")
    assert answer.status == 400
    assert answer.proxy_said.startswith("CephStorage")
    assert "cephstorage-" in answer.headers["via"]
