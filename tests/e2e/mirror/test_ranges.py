"""Ranges: right in every state of the object, and part of its one fill, so that no byte is fetched twice."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.mirror.site import Site
from tests.harness.behaviour import DEFAULT_MODIFIED, Gate
from tests.harness.content import MIB, Content

SIZE = 2 * MIB + 3
BODY = Content(11, SIZE)
BIG = Content(12, 40 * MIB + 5)
ETAG = '"v1"'

CASES: dict[str, tuple[str, tuple[int, int] | None]] = {
    "first byte": ("0-0", (0, 1)),
    "middle": ("1000-70000", (1000, 70001)),
    "open end": (f"{SIZE - 5}-", (SIZE - 5, SIZE)),
    "last byte": (f"{SIZE - 1}-{SIZE - 1}", (SIZE - 1, SIZE)),
    "beyond the end": (f"{SIZE - 5}-{SIZE + 100}", (SIZE - 5, SIZE)),
    "suffix": ("-7", (SIZE - 7, SIZE)),
    "suffix longer than the object": (f"-{SIZE + 1}", (0, SIZE)),
    "whole": ("0-", (0, SIZE)),
    "first after the end": (f"{SIZE}-", None),
    "far after the end": (f"{SIZE * 10}-{SIZE * 11}", None),
    "empty suffix": ("-0", None),
}
IGNORED = ["bytes=0-1,5-6", "bytes=0-0, -1", "bytes=5-2", "bytes=a-b", "lines=0-5", "bytes=", "bytes=-", "0-5"]


def check(site: Site, path: str, wanted: str, span: tuple[int, int] | None, body: Content = BODY) -> None:
    """Ask for a range and look at everything that the answer says of it."""
    answer = site.range(path, wanted)
    if span is None:
        assert (answer.status, answer.body) == (416, b"")
        assert answer.headers["content-range"] == f"bytes */{body.size}"
        return
    start, end = span
    assert answer.status == 206
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{body.size}"
    assert answer.headers["content-length"] == str(end - start)
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.body == body.read(start, end)


@pytest.mark.parametrize(("wanted", "span"), CASES.values(), ids=CASES.keys())
def test_cold(site: Site, wanted: str, span: tuple[int, int] | None) -> None:
    site.put("/a", BODY, etag=ETAG)
    check(site, "/a", wanted, span)
    assert site.stored("a")["md5"] == BODY.md5
    assert site.body_bytes("/a") == SIZE
    check(site, "/a", wanted, span)
    assert site.body_bytes("/a") == SIZE


@pytest.mark.stacks("direct")  # nginx waits for slices that are whole
def test_filling(site: Site) -> None:
    gate = Gate()
    site.put("/a", BODY, etag=ETAG, gate=gate, gate_after=MIB, ranges=False)
    with site.open("/a") as first:
        first.read(MIB)
        check(site, "/a", "1000-70000", (1000, 70001))
        check(site, "/a", f"{SIZE}-", None)
        for header in IGNORED:
            with site.open("/a", {"Range": header}) as answer:
                assert (answer.status, answer.read(9)) == (200, BODY.read(0, 9))
        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(check, site, "/a", "-7", (SIZE - 7, SIZE))
            gate.set()
            late.result()
        assert first.rest() == BODY.read(MIB)
    assert site.stored("a")["md5"] == BODY.md5
    assert site.count("/a") == 1


def test_stored(site: Site) -> None:
    site.fill("/a", BODY, etag=ETAG)
    for wanted, span in CASES.values():
        check(site, "/a", wanted, span)


@pytest.mark.stacks("direct")  # nginx calls some of them unsatisfiable
def test_ranges_that_mean_nothing_are_ignored(site: Site) -> None:
    site.fill("/a", BODY, etag=ETAG)
    for header in IGNORED:
        answer = site.get("/a", {"Range": header})
        assert (answer.status, answer.body) == (200, BODY.read())
    assert site.head("/a", {"Range": "bytes=0-5"}).status == 200
    assert site.count("/a") == 1


@pytest.mark.parametrize("state", ["cold", "filling", "stored"])
@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (ETAG, True),
        ('"v0"', False),
        (f"W/{ETAG}", False),
        (DEFAULT_MODIFIED, True),
        ("Sun, 31 Dec 2023 00:00:00 GMT", False),
        ("Tue, 02 Jan 2024 00:00:00 GMT", False),
        ("nonsense", False),
    ],
)
def test_if_range(site: Site, state: str, condition: str, holds: bool) -> None:
    gate = Gate()
    if state == "stored":
        site.fill("/a", BODY, etag=ETAG)
    else:
        site.put("/a", BODY, etag=ETAG, gate=gate, gate_after=MIB)
    with site.open("/a" if state == "filling" else "/nothing") as other:
        if state == "filling":
            other.read(MIB)
        with site.open("/a", {"Range": "bytes=10-19", "If-Range": condition}) as answer:
            assert answer.status == (206 if holds else 200)
            assert answer.read(10) == (BODY.read(10, 20) if holds else BODY.read(0, 10))
        gate.set()
    site.stored("a")
    assert site.body_bytes("/a") == SIZE


def test_a_far_range_of_a_cold_object_comes_first_and_nothing_is_fetched_twice(site: Site) -> None:
    """The last bytes are there while the rest is held back at the origin, and the whole costs exactly one body."""
    gate = Gate()

    def held(request: Any) -> Gate | None:
        return None if request.headers.get("range", "").startswith("bytes=-") else gate

    site.put("/big", BIG, etag=ETAG, gate=held)
    check(site, "/big", "-1048576", (BIG.size - MIB, BIG.size), BIG)
    assert site.body_bytes("/big") == MIB
    gate.set()
    assert site.get("/big").body == BIG.read()
    assert site.stored("big")["md5"] == BIG.md5
    assert site.body_bytes("/big") == BIG.size


def test_a_far_range_during_a_fill_overtakes_it(site: Site) -> None:
    """The running answer is cut where the range begins; what of it was in flight there is all that comes twice."""
    gate = Gate()

    def held(request: Any) -> Gate | None:
        return None if f"bytes={BIG.size - MIB}-" in request.headers.get("range", "") else gate

    site.put("/big", BIG, etag=ETAG, gate=held, gate_after=MIB)
    with site.open("/big") as first:
        assert first.read(MIB) == BIG.read(0, MIB)
        check(site, "/big", "-1048576", (BIG.size - MIB, BIG.size), BIG)
        gate.set()
        assert first.rest() == BIG.read(MIB)
    assert site.stored("big")["md5"] == BIG.md5
    assert site.body_bytes("/big") <= BIG.size + MIB


@pytest.mark.stacks("direct")  # an edge asks for slices
def test_what_a_far_range_in_the_middle_of_a_fill_costs(site: Site) -> None:
    """Up to 4 MiB in all: just these bytes once more, because the running answer passes over them."""
    gate = Gate()
    site.put("/big", BIG, etag=ETAG, gate=lambda request: None if "range" in request.headers else gate, gate_after=MIB)
    with site.open("/big") as first:
        assert first.read(MIB) == BIG.read(0, MIB)
        spans = [(20 * MIB, 21 * MIB), (30 * MIB + 1, 32 * MIB)]
        for start, end in spans:
            check(site, "/big", f"{start}-{end - 1}", (start, end), BIG)
        gate.set()
        assert first.rest() == BIG.read(MIB)
    assert site.stored("big")["md5"] == BIG.md5
    assert site.body_bytes("/big") == BIG.size + 3 * MIB - 1
    assert site.count("/big") == 3


def _quarters() -> list[tuple[int, int]]:
    quarter = BIG.size // 4 + 1
    return [(start, min(start + quarter, BIG.size)) for start in range(0, BIG.size, quarter)]


@pytest.mark.stacks(
    "direct"
)  # behind an edge the first answer is cut where a far slice was asked for, and what was in flight is lost
def test_parallel_ranges_of_a_cold_object_cost_one_body(site: Site) -> None:
    site.put("/big", BIG, etag=ETAG)
    with ThreadPoolExecutor(4) as pool:
        parts = [
            pool.submit(check, site, "/big", f"{start}-{end - 1}", (start, end), BIG) for start, end in _quarters()
        ]
        for part in parts:
            part.result()
    assert site.get("/big").body == BIG.read()
    assert site.stored("big")["md5"] == BIG.md5
    assert site.body_bytes("/big") == BIG.size


def test_a_whole_read_with_parallel_ranges(site: Site) -> None:
    site.put("/big", BIG, etag=ETAG)
    with ThreadPoolExecutor(5) as pool:
        whole = pool.submit(site.get, "/big")
        parts = [
            pool.submit(check, site, "/big", f"{start}-{end - 1}", (start, end), BIG) for start, end in _quarters()
        ]
        for part in parts:
            part.result()
        assert whole.result().body == BIG.read()
    assert site.stored("big")["md5"] == BIG.md5


@pytest.mark.parametrize("wanted", [f"{20 * MIB}-{21 * MIB - 1}", "-1048576"])
@pytest.mark.parametrize(
    "origin",
    [
        {"ranges": False},
        {"ranges": False, "headers": [("Accept-Ranges", "bytes")]},
        {"wrong_content_range": "bytes 0-99/100"},
        {"wrong_content_range": f"bytes 5-{MIB + 4}/{BIG.size}"},
        {"wrong_content_range": "nonsense"},
        {"wrong_content_range": f"bytes 0-{MIB - 1}/*"},
        {"etag": None, "last_modified": None},
        {"etag": 'W/"v1"'},
        {"framing": "chunked"},
        {"ranges": False, "framing": "chunked"},
    ],
    ids=lambda fields: " ".join(f"{name}={value}" for name, value in fields.items()).replace("/", "|"),
)
def test_ranges_are_right_whatever_the_origin_does_with_them(site: Site, origin: dict[str, Any], wanted: str) -> None:
    site.put("/big", BIG, **({"etag": ETAG} | origin))
    answer = site.range("/big", wanted)
    start, end = (20 * MIB, 21 * MIB) if wanted[0] != "-" else (BIG.size - MIB, BIG.size)
    if answer.status == 206:
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{BIG.size}"
        assert answer.body == BIG.read(start, end)
    else:
        assert answer.status == 200
        assert answer.body == BIG.read()
    assert site.stored("big")["md5"] == BIG.md5
    check(site, "/big", wanted, (start, end), BIG)


@pytest.mark.stacks(
    "direct"
)  # an edge asks for the slice, whose last bytes may come twice from an origin without a strong validator
@pytest.mark.parametrize("sizes", [{"etag": ETAG}, {"etag": None, "last_modified": None}])
def test_an_unsatisfiable_range_of_a_cold_object_still_fills_it(site: Site, sizes: dict[str, Any]) -> None:
    site.put("/big", BIG, **sizes)
    check(site, "/big", f"{BIG.size}-", None, BIG)
    assert site.stored("big")["md5"] == BIG.md5
    assert site.body_bytes("/big") == BIG.size


def test_a_range_of_a_missing_object_is_its_404(site: Site) -> None:
    assert site.range("/nothing", "0-5").status == 404
    assert site.range("/nothing", "-5").status == 404
