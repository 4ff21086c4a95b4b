"""The mirror's specification: what happens to a request, one row per case.

A row reads: with these facts (all others as in ``BASE``) the decision is that one. ``BASE`` is a GET
of ``/pool/x.deb`` by a permanent mirror that holds nothing, fills nothing and is not cooling down.
Records were validated at second 1,000; it is second 1,500; the ttl is 300 seconds.
"""

from dataclasses import replace
from itertools import product

import pytest

from cephstorage.domain.absences import Absence
from cephstorage.domain.decision import (
    AskHead,
    Decision,
    Facts,
    JoinFill,
    KnownAbsent,
    PassThrough,
    Refuse,
    Revalidate,
    StartFill,
    StoreHit,
    decide,
    is_failure,
    stands_in,
)
from cephstorage.domain.mirrors import Target
from cephstorage.domain.names import BucketName
from cephstorage.domain.policy import Methods, Mode, Policy
from cephstorage.domain.records import OriginFacts, Record
from cephstorage.domain.validators import Validators

TARGET = Target("/pool/x.deb", "/pool/x.deb", "/pool/x.deb", "pool/x.deb")
NO_KEY = replace(TARGET, key=None)
HELD = Record(
    BucketName("mirrors", "debian"), "pool/x.deb", 1000.0, "0" * 32, "text/plain", 1, 1, '"e"', None, "v", "fill", 1000.0,
    OriginFacts("/pool/x.deb"),
)  # fmt: skip
FRESH = replace(HELD, validated_at=1201.0)
EXPIRED = replace(HELD, validated_at=1200.0)
FROM_THE_FUTURE = replace(HELD, validated_at=9000.0)
OTHERS = replace(HELD, origin=OriginFacts("/pool%2Fx.deb"))
MARKED = replace(HELD, invalidated_at=1400.0)
UPLOADED = replace(HELD, origin=None)

PERMANENT, IMMUTABLE, BYPASS, DENY = (Policy(mode=m) for m in (Mode.PERMANENT, Mode.IMMUTABLE, Mode.BYPASS, Mode.DENY))
REVALIDATE = Policy(mode=Mode.REVALIDATE, ttl=300.0)
WRITING = Policy(methods=Methods.PASS)
ORIGIN = Policy(mode=Mode.ORIGIN)
SENDING = Policy(pass_headers=("Authorization",))
SENDING_MORE = Policy(pass_headers=("X-Team", "Cookie"))
BASE = Facts("GET", TARGET, PERMANENT, {}, None, filling=False, now=1500.0)

HEAD = {"method": "HEAD"}
FILLING = {"filling": True}
COOLING = {"cooling_until": 1530.0}
COOLED = {"cooling_until": 1500.0}
ONLY_CACHED = {"headers": {"cache-control": "max-age=0, Only-If-Cached"}}
LOOP = {"loop": True}
GONE = Absence(410, (), b"gone", 1400.0, 1600.0)
ABSENT = {"absence": GONE}
ASKING = {"policy": Policy(mode=Mode.ORIGIN, client_control=True)} | ABSENT

# What a refusal is known by is its code (and how long to wait); its sentence is for people.
LOOPS, DENIED, METHOD, NOT_STORED = (
    Refuse(code, "") for code in ("loop_detected", "path_denied", "method_not_allowed", "not_stored")
)
WAIT = Refuse("origin_cooling", "", 30.0)

Case = tuple[str, dict[str, object], Decision]
NOTHING_HELD: list[Case] = [
    ("a miss starts a fill", {}, StartFill()),
    ("a miss while it is filled joins", FILLING, JoinFill()),
    ("what is known to be absent is not asked for", ABSENT, KnownAbsent(GONE)),
    ("nor by HEAD", ABSENT | HEAD, KnownAbsent(GONE)),
    ("nor while cooling down", ABSENT | COOLING, KnownAbsent(GONE)),
    ("what is known of absence is stored, too", ABSENT | ONLY_CACHED, KnownAbsent(GONE)),
    ("a fill under way may bring it", ABSENT | FILLING, JoinFill()),
    ("a rule that bypasses asks", ABSENT | {"policy": BYPASS}, PassThrough("bypass")),
    ("a stored copy beats what is known of absence", ABSENT | {"record": HELD}, StoreHit(HELD)),
    ("a range starts the same fill", {"headers": {"range": "bytes=-10"}}, StartFill()),
    ("a conditional miss starts a fill", {"headers": {"if-none-match": '"x"'}}, StartFill()),
    ("no-cache changes nothing", {"headers": {"cache-control": "no-cache"}}, StartFill()),
    ("no-store of the client changes nothing", {"headers": {"cache-control": "no-store"}}, StartFill()),
    ("HEAD of nothing asks the origin", HEAD, PassThrough("head")),
    ("HEAD while it is filled joins", HEAD | FILLING, JoinFill()),
    ("cooling down refuses", COOLING, WAIT),
    ("cooling down refuses HEAD", HEAD | COOLING, WAIT),
    ("cooled down starts a fill", COOLED, StartFill()),
    ("a fill under way wins over cooling", FILLING | COOLING, JoinFill()),
    ("only-if-cached refuses", ONLY_CACHED, NOT_STORED),
    ("only-if-cached refuses before cooling", ONLY_CACHED | COOLING, NOT_STORED),
    ("only-if-cached refuses HEAD", ONLY_CACHED | HEAD, NOT_STORED),
    ("only-if-cached joins a fill", ONLY_CACHED | FILLING, JoinFill()),
    ("an immutable miss starts a fill", {"policy": IMMUTABLE}, StartFill()),
    ("a revalidating miss starts a fill", {"policy": REVALIDATE}, StartFill()),
]
HELD_FOR_GOOD: list[Case] = [
    ("permanent: the copy", {"record": HELD}, StoreHit(HELD)),
    ("permanent: the copy for HEAD", {"record": HELD} | HEAD, StoreHit(HELD)),
    ("permanent: the copy though old", {"record": HELD, "now": 9e9}, StoreHit(HELD)),
    ("permanent: the copy though filling", {"record": HELD} | FILLING, StoreHit(HELD)),
    ("permanent: the copy though cooling", {"record": HELD} | COOLING, StoreHit(HELD)),
    ("permanent: the copy for only-if-cached", {"record": HELD} | ONLY_CACHED, StoreHit(HELD)),
    ("permanent: the copy for no-cache", {"record": HELD, "headers": {"cache-control": "no-cache"}}, StoreHit(HELD)),
    ("permanent: an uploaded key too", {"record": UPLOADED}, StoreHit(UPLOADED)),
    ("permanent: a copy to be confirmed is asked for", {"record": MARKED}, Revalidate(MARKED)),
    ("and joins the fill", {"record": MARKED} | FILLING, JoinFill(MARKED)),
    ("it beats an origin that fails", {"record": MARKED} | COOLING, StoreHit(MARKED, stale="cooling")),
    ("and goes on while the edge sends it", {"record": MARKED, "continues": True}, StoreHit(MARKED)),
    ("immutable: it is asked for, too", {"record": MARKED, "policy": IMMUTABLE}, Revalidate(MARKED)),
    ("immutable: the copy", {"record": HELD, "policy": IMMUTABLE}, StoreHit(HELD)),
    ("immutable: the copy though old", {"record": HELD, "policy": IMMUTABLE, "now": 9e9}, StoreHit(HELD)),
]
ASKED_AGAIN: list[Case] = [
    ("a fresh copy is served", {"record": FRESH}, StoreHit(FRESH)),
    ("a fresh copy though filling", {"record": FRESH} | FILLING, StoreHit(FRESH)),
    ("a copy validated after now is fresh", {"record": FROM_THE_FUTURE}, StoreHit(FROM_THE_FUTURE)),
    ("at its ttl a copy has expired", {"record": EXPIRED}, Revalidate(EXPIRED)),
    ("an expired copy that the edge is sending on", {"record": EXPIRED, "continues": True}, StoreHit(EXPIRED)),
    ("and while it is filled anew", {"record": EXPIRED, "continues": True} | FILLING, JoinFill(EXPIRED)),
    ("HEAD revalidates too", {"record": EXPIRED} | HEAD, Revalidate(EXPIRED)),
    ("an uploaded key is revalidated too", {"record": UPLOADED}, Revalidate(UPLOADED)),
    ("an expired copy while it is filled", {"record": EXPIRED} | FILLING, JoinFill(EXPIRED)),
    ("an expired copy while cooling", {"record": EXPIRED} | COOLING, StoreHit(EXPIRED, stale="cooling")),
    ("an expired copy once cooled", {"record": EXPIRED} | COOLED, Revalidate(EXPIRED)),
    ("filling before cooling", {"record": EXPIRED} | FILLING | COOLING, JoinFill(EXPIRED)),
    ("only-if-cached: the expired copy", {"record": EXPIRED} | ONLY_CACHED, StoreHit(EXPIRED, stale="only-if-cached")),
    ("and before filling", {"record": EXPIRED} | ONLY_CACHED | FILLING, StoreHit(EXPIRED, stale="only-if-cached")),
    ("and before cooling", {"record": EXPIRED} | ONLY_CACHED | COOLING, StoreHit(EXPIRED, stale="only-if-cached")),
]
# Mode origin. An answer of the origin came at second 1,000; what it says of its freshness, and what that comes to.


def said(control: str, **facts: object) -> Record:
    answer = OriginFacts("/pool/x.deb", (("Cache-Control", control),), request_time=1000.0, response_time=1000.0)
    return replace(HELD, origin=replace(answer, **facts))  # type: ignore[arg-type]


YOUNG, OLD = said("max-age=600"), said("max-age=400")
MEANWHILE = said("max-age=400, stale-while-revalidate=200")
STRICT = said("max-age=400, must-revalidate")
BRIEF = said("max-age=400, stale-if-error=50")
INVALID = replace(YOUNG, invalidated_at=1400.0)
CONTROLLED = {"policy": Policy(mode=Mode.ORIGIN, client_control=True)}


def asks(control: str) -> dict[str, object]:
    return {"headers": {"cache-control": control}} | CONTROLLED


BY_ORIGIN: list[Case] = [
    ("a miss starts a fill", {}, StartFill()),
    ("HEAD of nothing asks the origin", HEAD, PassThrough("head")),
    ("4.2 a fresh copy", {"record": YOUNG}, StoreHit(YOUNG)),
    ("4.2 a fresh copy though filling", {"record": YOUNG} | FILLING, StoreHit(YOUNG)),
    ("4.2 a stale copy", {"record": OLD}, Revalidate(OLD)),
    ("4.3.5 HEAD of a fresh copy", {"record": YOUNG} | HEAD, StoreHit(YOUNG)),
    ("4.3.5 HEAD of a stale copy", {"record": OLD} | HEAD, AskHead(OLD)),
    ("4.3.5 HEAD of a stale copy while it is filled", {"record": OLD} | HEAD | FILLING, JoinFill(OLD)),
    ("4.3.5 HEAD of a copy that was invalidated", {"record": INVALID} | HEAD, AskHead(INVALID)),
    ("4.1 a copy that Vary keeps from this request", {"unlike": YOUNG}, StartFill(YOUNG)),
    ("4.1 HEAD of it", {"unlike": YOUNG} | HEAD, PassThrough("head")),
    ("4.1 more variants than are stored", {"crowded": True}, PassThrough("variants")),
    ("4.1 and only-if-cached", {"crowded": True} | ONLY_CACHED, NOT_STORED),
    ("4.2 a copy that says nothing", {"record": HELD}, Revalidate(HELD)),
    ("4.2 an uploaded key", {"record": UPLOADED}, Revalidate(UPLOADED)),
    ("4.2.2 a guess, where it is switched on",
     {"record": (guess := said("public", validators=Validators(None, "Wed, 31 Dec 1969 22:00:00 GMT"))),
      "policy": Policy(mode=Mode.ORIGIN, heuristic=True)}, StoreHit(guess)),
    ("4.2.2 and not else", {"record": guess}, Revalidate(guess)),
    ("4.4 a fresh copy that was invalidated", {"record": INVALID}, Revalidate(INVALID)),
    ("a stale copy while it is filled", {"record": OLD} | FILLING, JoinFill(OLD)),
    ("a stale copy that the edge is sending on", {"record": OLD, "continues": True}, StoreHit(OLD)),
    ("and while it is filled anew", {"record": OLD, "continues": True} | FILLING, JoinFill(OLD)),
    ("4.2.4 a stale copy while cooling", {"record": OLD} | COOLING, StoreHit(OLD, stale="cooling")),
    ("5.2.2.2 must-revalidate while cooling", {"record": STRICT} | COOLING, Revalidate(STRICT)),
    ("RFC 5861 4 beyond stale-if-error while cooling", {"record": BRIEF} | COOLING, Revalidate(BRIEF)),
    ("RFC 5861 3 while it is asked again", {"record": MEANWHILE}, StoreHit(MEANWHILE, "while-revalidate", refresh=True)),
    ("RFC 5861 3 somebody asks already", {"record": MEANWHILE} | FILLING, StoreHit(MEANWHILE, "while-revalidate")),
    ("RFC 5861 3 the origin is spared", {"record": MEANWHILE} | COOLING, StoreHit(MEANWHILE, "while-revalidate")),
    ("RFC 5861 3 beyond", {"record": MEANWHILE, "now": 1601.0}, Revalidate(MEANWHILE)),
    ("5.2.1.7 only-if-cached: fresh", {"record": YOUNG} | ONLY_CACHED, StoreHit(YOUNG)),
    ("5.2.1.7 only-if-cached: stale", {"record": OLD} | ONLY_CACHED, NOT_STORED),
    ("5.2.1.7 only-if-cached: asks nobody", {"record": MEANWHILE} | ONLY_CACHED,
     StoreHit(MEANWHILE, "while-revalidate")),
    ("requests have no say by themselves", {"record": YOUNG, "headers": {"cache-control": "no-cache"}}, StoreHit(YOUNG)),
    ("nor by Pragma", {"record": YOUNG, "headers": {"pragma": "no-cache"}}, StoreHit(YOUNG)),
    ("5.2.1.4 no-cache", {"record": YOUNG} | asks("no-cache"), Revalidate(YOUNG, asked_for=True)),
    ("5.4 Pragma", {"record": YOUNG, "headers": {"pragma": "no-cache"}} | CONTROLLED,
     Revalidate(YOUNG, asked_for=True)),
    ("5.2.1.1 max-age", {"record": YOUNG} | asks("max-age=500"), StoreHit(YOUNG)),
    ("5.2.1.1 max-age exceeded", {"record": YOUNG} | asks("max-age=499"), Revalidate(YOUNG, asked_for=True)),
    ("5.2.1.2 max-stale", {"record": OLD} | asks("max-stale=100"), StoreHit(OLD, stale="max-stale")),
    ("5.2.1.2 max-stale exceeded", {"record": OLD} | asks("max-stale=99"), Revalidate(OLD)),
    ("5.2.1.3 min-fresh", {"record": YOUNG} | asks("min-fresh=100"), StoreHit(YOUNG)),
    ("5.2.1.3 min-fresh not met", {"record": YOUNG} | asks("min-fresh=101"), Revalidate(YOUNG, asked_for=True)),
    ("5.2.1.5 no-store of nothing", asks("no-store"), PassThrough("no-store")),
    ("5.2.1.5 no-store of a fresh copy", {"record": YOUNG} | asks("no-store"), StoreHit(YOUNG)),
    ("5.2.1.5 no-store of a stale copy", {"record": OLD} | asks("no-store"), PassThrough("no-store")),
    ("5.2.1.7 only-if-cached, max-stale", {"record": OLD} | asks("only-if-cached, max-stale"),
     StoreHit(OLD, stale="max-stale")),
    ("5.2.1.7 only-if-cached, no-cache", {"record": YOUNG} | asks("only-if-cached, no-cache"), NOT_STORED),
]  # fmt: skip
PASSED_THROUGH: list[Case] = [
    ("bypass", {"policy": BYPASS}, PassThrough("bypass")),
    ("bypass though held", {"policy": BYPASS, "record": HELD}, PassThrough("bypass")),
    ("bypass though filling", {"policy": BYPASS} | FILLING, PassThrough("bypass")),
    ("bypass though cooling", {"policy": BYPASS} | COOLING, PassThrough("bypass")),
    ("bypass HEAD", {"policy": BYPASS} | HEAD, PassThrough("bypass")),
    ("bypass asks nobody for only-if-cached", {"policy": BYPASS} | ONLY_CACHED, NOT_STORED),
    ("no key can stand for it", {"target": NO_KEY}, PassThrough("key")),
    ("no key and only-if-cached", {"target": NO_KEY} | ONLY_CACHED, NOT_STORED),
    ("credentials that a rule sends", {"policy": SENDING, "headers": {"authorization": "x"}}, PassThrough("credentials")),
    ("a cookie that a rule sends", {"policy": SENDING_MORE, "headers": {"cookie": "x"}}, PassThrough("credentials")),
    ("and though held", {"policy": SENDING, "headers": {"authorization": "x"}, "record": HELD},
     PassThrough("credentials")),
    ("a rule that sends, a client without", {"policy": SENDING}, StartFill()),
    ("a rule that sends, held, a client without", {"policy": SENDING, "record": HELD}, StoreHit(HELD)),
    ("credentials that no rule sends", {"headers": {"authorization": "x", "cookie": "y"}}, StartFill()),
    ("credentials that no rule sends, held", {"headers": {"cookie": "y"}, "record": HELD}, StoreHit(HELD)),
    ("the key is held for another target", {"record": OTHERS}, PassThrough("target")),
    ("the key is held for another target, HEAD", {"record": OTHERS} | HEAD, PassThrough("target")),
    ("and while filling", {"record": OTHERS} | FILLING, PassThrough("target")),
    ("and while cooling", {"record": OTHERS} | COOLING, PassThrough("target")),
    ("and only-if-cached", {"record": OTHERS} | ONLY_CACHED, NOT_STORED),
    ("the key is being filled for another target", FILLING | {"filling_target": "/pool%2Fx.deb"}, PassThrough("target")),
    ("the key is being filled for this target", FILLING | {"filling_target": "/pool/x.deb"}, JoinFill()),
    ("no fill, so no target of one", {"filling_target": "/pool%2Fx.deb"}, StartFill()),
]  # fmt: skip
REPEATED: list[Case] = [
    ("fresh", {"policy": ORIGIN} | ABSENT, KnownAbsent(GONE)),
    ("fresh, HEAD", {"policy": ORIGIN} | HEAD | ABSENT, KnownAbsent(GONE)),
    ("the request does not want it", ASKING | {"headers": {"cache-control": "no-cache"}}, StartFill()),
    ("it is too old for the request", ASKING | {"headers": {"cache-control": "max-age=99"}}, StartFill()),
    ("it is young enough", ASKING | {"headers": {"cache-control": "max-age=100"}}, KnownAbsent(GONE)),
    ("it will not be fresh for long enough", ASKING | {"headers": {"cache-control": "min-fresh=101"}}, StartFill()),
    ("requests have no say", {"policy": ORIGIN, "headers": {"cache-control": "no-cache"}} | ABSENT, KnownAbsent(GONE)),
    ("nor have they in other modes", ABSENT | {"headers": {"cache-control": "no-cache"}}, KnownAbsent(GONE)),
]  # fmt: skip
REFUSED: list[Case] = [
    ("a denied path", {"policy": DENY}, DENIED),
    ("a denied path though held", {"policy": DENY, "record": HELD}, DENIED),
    ("a denied path though filling", {"policy": DENY} | FILLING, DENIED),
    ("a denied path, HEAD", {"policy": DENY} | HEAD, DENIED),
    ("a denied path before the method", {"policy": DENY, "method": "PUT"}, DENIED),
    ("a denied path before a missing key", {"policy": DENY, "target": NO_KEY}, DENIED),
    ("a loop", LOOP, LOOPS),
    ("a loop though held", {"record": HELD} | LOOP, LOOPS),
    ("a loop before bypass", {"policy": BYPASS} | LOOP, LOOPS),
    ("a loop before a denied path", {"policy": DENY} | LOOP, LOOPS),
    ("a method but GET and HEAD though held", {"method": "DELETE", "record": HELD}, METHOD),
    ("a method but GET and HEAD before bypass", {"method": "POST", "policy": BYPASS}, METHOD),
    *((f"{method}", {"method": method}, METHOD) for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get", "")),
]
WRITES: list[Case] = [
    *((f"{method} is passed on", {"method": method}, PassThrough("method"))
      for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND")),
    ("though held", {"method": "POST", "record": HELD}, PassThrough("method")),
    ("though filling", {"method": "POST"} | FILLING, PassThrough("method")),
    ("though cooling", {"method": "POST"} | COOLING, PassThrough("method")),
    ("before a missing key", {"method": "POST", "target": NO_KEY}, PassThrough("method")),
    ("whatever mode it is", {"method": "POST", "policy": Policy(mode=Mode.ORIGIN, methods=Methods.PASS)},
     PassThrough("method")),
    ("not on a denied path", {"method": "POST", "policy": Policy(mode=Mode.DENY, methods=Methods.PASS)}, DENIED),
    ("not in a loop", {"method": "POST"} | LOOP, LOOPS),
    *((f"{method} never is", {"method": method}, METHOD) for method in ("CONNECT", "TRACE", "post", "get", "")),
    ("GET is what it was", {}, StartFill()),
]  # fmt: skip
CASES = [
    *(("nothing held: " + name, facts, wanted) for name, facts, wanted in NOTHING_HELD),
    *(("held for good: " + name, facts, wanted) for name, facts, wanted in HELD_FOR_GOOD),
    *(("revalidate: " + name, {"policy": REVALIDATE} | facts, wanted) for name, facts, wanted in ASKED_AGAIN),
    *(("origin: " + name, {"policy": ORIGIN} | facts, wanted) for name, facts, wanted in BY_ORIGIN),
    *(("passed through: " + name, facts, wanted) for name, facts, wanted in PASSED_THROUGH),
    *(("writes: " + name, {"policy": WRITING} | facts, wanted) for name, facts, wanted in WRITES),
    *(("repeated: " + name, facts, wanted) for name, facts, wanted in REPEATED),
    *(("refused: " + name, facts, wanted) for name, facts, wanted in REFUSED),
]


@pytest.mark.parametrize(("facts", "wanted"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_decision(facts: dict[str, object], wanted: Decision) -> None:
    decision = decide(replace(BASE, **facts))  # type: ignore[arg-type]
    if isinstance(decision, Refuse):
        assert decision.msg
        decision = replace(decision, msg="")
    assert decision == wanted


EVERY = [
    Facts(method, target, policy, headers, record, filling, 1500.0, cooling, loop)
    for method, target, policy, headers, record, filling, cooling, loop in product(
        ("GET", "HEAD", "PUT"),
        (TARGET, NO_KEY),
        (PERMANENT, ORIGIN, IMMUTABLE, REVALIDATE, BYPASS, DENY, SENDING),
        ({}, {"authorization": "x"}, {"cache-control": "only-if-cached"}),
        (None, FRESH, EXPIRED, OTHERS, UPLOADED),
        (False, True),
        (0.0, 1530.0),
        (False, True),
    )
]


def asks_the_origin(decision: Decision) -> bool:
    return isinstance(decision, (StartFill, Revalidate, AskHead, PassThrough))


def test_only_if_cached_never_asks_the_origin() -> None:
    asking = [f for f in EVERY if "cache-control" in f.headers and asks_the_origin(decide(f))]
    assert asking == []


def test_a_loop_a_denied_path_and_a_write_never_ask_anybody() -> None:
    barred = [f for f in EVERY if f.loop or f.policy is DENY or f.method == "PUT"]
    assert [f for f in barred if not isinstance(decide(f), Refuse)] == []


def test_a_copy_is_only_served_for_its_own_target_and_key() -> None:
    served = [f for f in EVERY if isinstance(decide(f), (StoreHit, Revalidate))]
    assert [f for f in served if f.record is OTHERS or f.target.key is None] == []
    assert {id(f.record) for f in served} == {id(FRESH), id(EXPIRED), id(UPLOADED)}


def test_a_permanent_copy_never_costs_the_origin_anything() -> None:
    held = [
        f
        for f in EVERY
        if f.policy in (PERMANENT, IMMUTABLE) and f.record in (FRESH, EXPIRED, UPLOADED) and f.target.key
    ]
    assert [f for f in held if asks_the_origin(decide(f))] == []


def test_only_a_get_begins_a_fill() -> None:
    assert {f.method for f in EVERY if isinstance(decide(f), StartFill)} == {"GET"}


def test_the_origin_is_left_alone_while_it_cools_down() -> None:
    cooling = [f for f in EVERY if f.cooling_until > f.now]
    asked = [decision for f in cooling if asks_the_origin(decision := decide(f))]
    assert {decision.reason for decision in asked if isinstance(decision, PassThrough)} == {
        "bypass",
        "key",
        "credentials",
        "target",
    }
    assert all(isinstance(decision, PassThrough) for decision in asked)


@pytest.mark.parametrize(
    ("record", "policy", "headers", "allowed"),
    [
        (OLD, ORIGIN, {}, True),
        (HELD, ORIGIN, {}, True),
        (UPLOADED, ORIGIN, {}, True),
        (STRICT, ORIGIN, {}, False),
        (INVALID, ORIGIN, {}, False),
        (BRIEF, ORIGIN, {}, False),
        (OLD, ORIGIN, {"cache-control": "stale-if-error=1"}, True),
        (OLD, CONTROLLED["policy"], {"cache-control": "stale-if-error=1"}, False),
        *((record, policy, {}, True) for record in (STRICT, INVALID, BRIEF) for policy in (PERMANENT, REVALIDATE)),
    ],
)
def test_a_copy_stands_in_for_an_origin_that_fails(
    record: Record, policy: Policy, headers: dict[str, str], allowed: bool
) -> None:
    """RFC 9111 section 4.2.4: unless mode ``origin`` has the origin's word against it."""
    assert stands_in(policy, record, headers, 1500.0) is allowed


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 416, 451])
def test_what_is_the_origins_word_in_mode_origin(status: int) -> None:
    assert not is_failure(Mode.ORIGIN, status)
    assert is_failure(Mode.REVALIDATE, status)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504, 599])
def test_what_is_a_failure_everywhere(status: int) -> None:
    assert is_failure(Mode.ORIGIN, status)
    assert is_failure(Mode.REVALIDATE, status)


@pytest.mark.parametrize("status", [200, 203, 204, 206, 301, 302, 304])
def test_what_is_none_anywhere(status: int) -> None:
    assert not any(is_failure(mode, status) for mode in Mode)
