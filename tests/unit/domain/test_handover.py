"""What the edge may do in the proxy's place: one row per case."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephstorage.domain.edge import CONTINUES, EDGE, SLICE, STORE_FAILED
from cephstorage.domain.handover import (
    EDGE_LIFETIME,
    ORIGINS_EDGE_LIFETIME,
    EdgeAsk,
    asked_range,
    edge_ask,
    edge_lifetime,
    file_serves,
    last_slice,
    needs_bytes,
)
from cephstorage.domain.mirrors import Mirror, Target, edge_targets, read_target
from cephstorage.domain.names import BucketName
from cephstorage.domain.policy import Mode, Policy, Query
from cephstorage.domain.records import OriginFacts, Record
from cephstorage.domain.validators import Answer, Validators, evaluate

SECRET = "s3cret"
BUCKET = BucketName("mirrors", "debian")
MIRROR = Mirror("debs.example", BUCKET, "http://origin.example")
RECORD = Record(
    BUCKET, "pool/x.deb", 1000.0, "0" * 32, "text/plain", 100, 1, '"e"', None, "v", "fill", 1000.0,
    OriginFacts("/pool/x.deb"),
)  # fmt: skip
TARGET = Target("/pool/x.deb", "/pool/x.deb", "/pool/x.deb", "pool/x.deb")
ORIGIN = Policy(mode=Mode.ORIGIN)


def _said(control: str) -> Record:
    answer = OriginFacts("/pool/x.deb", (("Cache-Control", control),), request_time=1000.0, response_time=1000.0)
    return replace(RECORD, origin=answer)


SAID, MEANWHILE, LONG = _said("max-age=60"), _said("max-age=60, stale-while-revalidate=60"), _said("max-age=9999999")
REVALIDATE = Policy(mode=Mode.REVALIDATE, ttl=300.0)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({SLICE: "1"}, None),
        ({EDGE: ""}, None),
        ({EDGE: "other", SLICE: "1"}, None),
        ({EDGE: "s3creT"}, None),
        ({EDGE: "s3cret\xff"}, None),
        ({EDGE: SECRET}, EdgeAsk()),
        ({EDGE: SECRET, SLICE: "1"}, EdgeAsk(slice=True)),
        ({EDGE: SECRET, SLICE: "whole"}, EdgeAsk(slice=True, whole=True)),
        ({EDGE: SECRET, SLICE: "0"}, EdgeAsk()),
        ({EDGE: SECRET, SLICE: "1", CONTINUES: "1"}, EdgeAsk(slice=True, continues=True)),
        ({CONTINUES: "1"}, None),
        ({EDGE: SECRET, STORE_FAILED: "404"}, EdgeAsk(store_failed=404)),
        ({EDGE: SECRET, STORE_FAILED: ""}, EdgeAsk()),
        ({EDGE: SECRET, STORE_FAILED: "gone"}, EdgeAsk(store_failed=502)),
    ],
)
def test_only_who_knows_the_secret_is_the_edge(headers: dict[str, str], expected: EdgeAsk | None) -> None:
    assert edge_ask(headers, SECRET) == expected
    assert edge_ask(headers, "") is None


@pytest.mark.parametrize(
    ("what", "changed", "expected"),
    [
        ("a permanent copy is kept long", {}, EDGE_LIFETIME),
        ("an immutable one too", {"policy": Policy(mode=Mode.IMMUTABLE)}, EDGE_LIFETIME),
        ("a private mirror's is not kept", {"mirror": replace(MIRROR, private=True)}, 0),
        ("nor where credentials travel", {"policy": Policy(pass_headers=("Authorization",))}, 0),
        ("nor where cookies do", {"policy": Policy(pass_headers=("cookie",))}, 0),
        ("other passed headers change nothing", {"policy": Policy(pass_headers=("x-team",))}, EDGE_LIFETIME),
        ("nor what a rule passes through", {"policy": Policy(mode=Mode.BYPASS)}, 0),
        ("what is left of the ttl", {"policy": REVALIDATE, "now": 1100.0}, 200),
        ("rounded down", {"policy": REVALIDATE, "now": 1299.5}, 0),
        ("nothing when it is over", {"policy": REVALIDATE, "now": 1300.0}, 0),
        ("nothing for a stale copy", {"policy": REVALIDATE, "now": 9000.0}, 0),
        ("mode origin: what is left", {"policy": ORIGIN, "record": SAID, "now": 1020.5}, 39),
        ("mode origin: nothing when it is over", {"policy": ORIGIN, "record": SAID, "now": 1060.0}, 0),
        ("mode origin: nothing of what says nothing", {"policy": ORIGIN, "now": 1000.0}, 0),
        ("mode origin: nothing while it is revalidated", {"policy": ORIGIN, "record": MEANWHILE, "now": 1061.0}, 0),
        ("mode origin: not for long, for Age's sake", {"policy": ORIGIN, "record": LONG}, ORIGINS_EDGE_LIFETIME),
        (
            "mode origin: nothing where requests have a say",
            {"policy": replace(ORIGIN, client_control=True), "record": SAID, "now": 1020.0},
            0,
        ),
        ("a long ttl is bounded", {"policy": replace(REVALIDATE, ttl=1e9), "now": 1000.0}, EDGE_LIFETIME),
        ("a copy from the future is bounded", {"policy": replace(REVALIDATE, ttl=1e9), "now": -1e9}, EDGE_LIFETIME),
        ("nor of a record that the database could not confirm", {"record": replace(RECORD, current=False)}, 0),
        ("nor before the origin has confirmed it", {"record": replace(RECORD, invalidated_at=900.0)}, 0),
        ("nor for longer than the key lives", {"record": replace(RECORD, expires_at=1010.5)}, 10),
        ("nor when it has ended", {"record": replace(RECORD, expires_at=999.0)}, 0),
        ("a later end changes nothing", {"record": replace(RECORD, expires_at=9e9)}, EDGE_LIFETIME),
        ("not under another spelling", {"written": "/pool/%78.deb"}, 0),
        ("nor with an ignored query", {"written": "/pool/x.deb?a"}, 0),
        ("nor with an empty one", {"written": "/pool/x.deb?"}, 0),
        ("nor under the proxy's own path", {"written": "/mirrors/proxy/pool/x.deb"}, 0),
        (
            "nor under a canonical target that a purge would not name",
            {"written": "/pool%2Fx.deb", "target": replace(TARGET, canonical="/pool%2Fx.deb")},
            0,
        ),
    ],
)
def test_how_long_the_edge_may_keep_it(what: str, changed: dict[str, object], expected: int) -> None:
    facts = {
        "mirror": MIRROR, "policy": Policy(), "target": TARGET, "written": TARGET.canonical, "record": RECORD,
        "now": 1000.0, **changed,
    }  # fmt: skip
    assert edge_lifetime(**facts) == expected, what  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "targets"),
    [
        ("a", ("/a",)),
        ("/", ("/",)),
        ("//", ("///",)),
        ("a/b c/ü", ("/a/b%20c/%C3%BC",)),
        ("a+b~c%", ("/a+b~c%25",)),
        ("a?b=c", ("/a%3Fb=c", "/a?b=c")),
        ("a?b?c", ("/a%3Fb%3Fc", "/a?b?c")),
        ("a?ü", ("/a%3F%C3%BC",)),
        ("/?q", ("//%3Fq", "/?q")),
        ("?q", ("/%3Fq",)),
        ("a?", ("/a%3F",)),
    ],
)
def test_the_targets_of_a_key(key: str, targets: tuple[str, ...]) -> None:
    assert edge_targets(key) == targets


@given(st.text(st.sampled_from("a/%?.~+ ü&="), min_size=1, max_size=12))
def test_every_target_that_a_purge_names_leads_to_its_key(key: str) -> None:
    for target in edge_targets(key):
        path, _, query = target.partition("?")
        read, _ = read_target(path, query, Mirror("m.example", BUCKET, "http://o.example"))
        assert (read.key, read.canonical) == (key, target)


def test_a_query_that_counts_is_part_of_the_one_spelling() -> None:
    listed = Mirror("m.example", BUCKET, "http://o.example", Policy(query=Query.LISTED, query_names=("v",)))
    target, policy = read_target("/a", "v=1&utm=2", listed)
    assert target.key is not None
    record = replace(RECORD, key=target.key)
    assert edge_lifetime(listed, policy, target, "/a?v=1", record, 1000.0) == EDGE_LIFETIME
    assert edge_lifetime(listed, policy, target, "/a?v=1&utm=2", record, 1000.0) == 0


def _answer(headers: dict[str, str], length: int = 100) -> Answer:
    return evaluate(headers, Validators('"e"'), length)


@pytest.mark.parametrize(
    ("headers", "served", "asked"),
    [
        ({}, True, None),
        ({"range": "bytes=0-9"}, True, "bytes=0-9"),
        ({"range": "bytes=90-"}, True, "bytes=90-99"),
        ({"range": "bytes=-10"}, True, "bytes=90-99"),
        ({"range": "bytes=0-999"}, True, "bytes=0-99"),
        ({"range": "bytes=0-9999999999999999999"}, False, "bytes=0-99"),
        ({"range": "bytes=-9999999999999999999"}, False, "bytes=0-99"),
        ({"range": "bytes=0-1,5-6"}, False, None),
        ({"range": "lines=0-1"}, False, None),
        ({"range": "bytes=0-9", "if-range": '"e"'}, False, "bytes=0-9"),
        ({"if-range": '"e"'}, False, None),
        ({"if-none-match": '"x"'}, False, None),
        ({"if-match": "*"}, False, None),
        ({"if-modified-since": "Thu, 01 Jan 1970 00:00:00 GMT"}, False, None),
        ({"if-unmodified-since": "nonsense"}, False, None),
    ],
)
def test_when_a_file_serves_and_what_a_store_is_asked_for(
    headers: dict[str, str], served: bool, asked: str | None
) -> None:
    answer = _answer(headers)
    assert (file_serves(headers, answer), asked_range(answer)) == (served, asked)


@pytest.mark.parametrize(
    ("headers", "method", "size", "expected"),
    [
        ({}, "GET", 100, True),
        ({"range": "bytes=5-"}, "GET", 100, True),
        ({}, "HEAD", 100, False),
        ({}, "GET", 0, False),
        ({"range": "bytes=100-"}, "GET", 100, False),
        ({"if-none-match": '"e"'}, "GET", 100, False),
        ({"if-match": '"x"'}, "GET", 100, False),
    ],
)
def test_which_answers_have_stored_bytes(headers: dict[str, str], method: str, size: int, expected: bool) -> None:
    assert needs_bytes(_answer(headers, size), method, size) is expected


@pytest.mark.parametrize(
    ("asked", "size", "last"),
    [
        ("bytes=0-3", 10, "bytes=8-11"),
        ("bytes=4-7", 10, "bytes=8-11"),
        ("bytes=8-11", 10, "bytes=8-11"),
        ("bytes=0-3", 8, "bytes=4-7"),
        ("bytes=0-3", 5, "bytes=4-7"),
        ("bytes=0-3", 4, None),
        ("bytes=0-3", 0, None),
        ("bytes=1-4", 10, None),
        ("bytes=4-", 10, None),
        ("bytes=-4", 10, None),
        (None, 10, None),
    ],
)
def test_the_last_slice_by_the_range_of_any(asked: str | None, size: int, last: str | None) -> None:
    assert last_slice(asked, size) == last
