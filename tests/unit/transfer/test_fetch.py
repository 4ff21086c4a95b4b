"""The coordinator of pulls, with the real client and a real origin: what is asked, how often, and what comes of faults."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from cephstorage.domain.errors import (
    OriginBroken,
    OriginBusy,
    OriginChanged,
    OriginProtocol,
    OriginRefused,
    StoreFull,
    TooLarge,
    TransferError,
)
from cephstorage.domain.ranges import RangeRequest
from cephstorage.domain.transfers import Kind, Lease, RetryPolicy, SourceFacts
from cephstorage.domain.validators import Validators
from cephstorage.origin.http import HttpOrigin, HttpOriginResponse
from cephstorage.ports.origin import OriginRequest
from cephstorage.transfer import fetch as fetch_module
from cephstorage.transfer import pull
from cephstorage.transfer.fetch import Fetch
from cephstorage.transfer.intake import Limits
from cephstorage.transfer.live import Confirmed, Flowing, LiveTransfer, NotStored, Refused
from cephstorage.transfer.spools import SpoolDirectory
from tests.harness.content import MIB, Content
from tests.harness.origin import FaultOrigin, Gate, LoggedRequest
from tests.unit.transfer.conftest import PLENTY, QUICK, Bench, fill_request

KIB = 1024
BODY = Content(1, 3 * MIB + 17)
ETAG = f'"1-{BODY.size:x}"'
SEGMENT = 128 * KIB
PATH = "/k"


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments that suit small test objects."""
    monkeypatch.setattr(fetch_module, "SEGMENT", SEGMENT)


async def read_span(live: LiveTransfer, start: int, end: int) -> bytes:
    """What a reader of ``[start, end)`` gets."""
    body = b""
    while start + len(body) < end and (piece := await live.read(start + len(body), end - start - len(body), end)):
        body += piece
    return body


def spooled(live: LiveTransfer) -> bytes:
    """Everything that the part file holds."""
    return live.spool.read(0, 64 * MIB)


def ranged(request: LoggedRequest) -> bool:
    return "range" in request.headers


def asked_ranges(origin: FaultOrigin) -> list[str | None]:
    return [request.headers.get("range") for request in origin.logged(PATH)]


async def run_whole(bench: Bench, origin: FaultOrigin, first_range: RangeRequest | None = None) -> LiveTransfer:
    live = bench.live(fill_request(origin.url + PATH), first_range)
    assert await bench.fetch(live).run()
    live.spool.close()
    return live


# -- what is asked for


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_whole_object_is_one_request(bench: Bench, origin: FaultOrigin, framing: str) -> None:
    origin.put(PATH, BODY, framing=framing)
    live = bench.live(fill_request(origin.url + PATH))
    assert await bench.fetch(live).run()
    assert live.complete
    assert live.length == BODY.size
    assert spooled(live) == BODY.read()
    assert asked_ranges(origin) == [None]
    live.spool.close()


async def test_an_empty_object(bench: Bench, origin: FaultOrigin) -> None:
    origin.put(PATH, b"")
    live = await run_whole(bench, origin)
    assert live.length == 0
    assert live.complete


@pytest.mark.usefixtures("short_segments")
async def test_after_a_first_range_the_rest_comes_in_segments_that_do_not_overlap(
    bench: Bench, origin: FaultOrigin
) -> None:
    origin.put(PATH, BODY)
    live = bench.live(fill_request(origin.url + PATH), RangeRequest(None, None, suffix=1000))
    assert await bench.fetch(live).run()
    assert spooled(live) == BODY.read()
    first, *others = [str(text) for text in asked_ranges(origin)]
    assert first == "bytes=-1000"
    pairs = sorted(tuple(map(int, text.removeprefix("bytes=").split("-"))) for text in others)
    assert pairs[0][0] == 0
    assert [last + 1 for _, last in pairs] == [start for start, _ in pairs[1:]] + [BODY.size - 1000]
    assert all(last - start < SEGMENT for start, last in pairs)
    assert {request.headers.get("if-range") for request in origin.logged(PATH)[1:]} == {ETAG}
    assert origin.body_bytes(PATH) == BODY.size
    live.spool.close()


@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize("seed", range(12))
async def test_whatever_readers_want_every_byte_is_asked_for_once(bench: Bench, origin: FaultOrigin, seed: int) -> None:
    chance = random.Random(seed)
    body = Content(seed, chance.randrange(MIB, 3 * MIB))
    origin.put(PATH, body)

    def some_span() -> tuple[int, int]:
        start = chance.randrange(body.size)
        return start, min(body.size, start + chance.randrange(1, SEGMENT))

    start, end = some_span()
    live = bench.live(fill_request(origin.url + PATH), RangeRequest(start, end - 1))
    running = asyncio.create_task(bench.fetch(live).run())
    wanted = [(start, end), *(some_span() for _ in range(chance.randrange(12)))]
    got = await asyncio.gather(*(read_span(live, *span) for span in wanted))
    assert await running
    assert got == [body.read(*span) for span in wanted]
    assert spooled(live) == body.read()
    assert origin.body_bytes(PATH) == body.size
    live.spool.close()


@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize("way", ["spliced", "through the library"])
async def test_a_running_answer_passes_over_what_was_fetched_ahead_of_it(
    bench: Bench, origin: FaultOrigin, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """As long as that is little: it comes twice, and nothing else does."""
    monkeypatch.setattr(fetch_module, "PASSED_OVER", 70 * KIB)
    if way != "spliced":
        monkeypatch.setattr(HttpOriginResponse, "passage", lambda _: None)
    gate = Gate()
    origin.put(PATH, BODY, gate=lambda request: None if ranged(request) else gate, gate_after=KIB)
    live = bench.live(fill_request(origin.url + PATH))
    running = asyncio.create_task(bench.fetch(live).run())
    assert await live.read(0, 1) == BODY.read(0, 1)
    spans = [(MIB, MIB + 40 * KIB + 1), (2 * MIB + 5, 2 * MIB + 30 * KIB)]
    for start, end in spans:
        assert await read_span(live, start, end) == BODY.read(start, end)
    assert not gate.is_set()
    gate.set()
    assert await running
    assert spooled(live) == BODY.read()
    assert asked_ranges(origin) == [None, *(f"bytes={start}-{end - 1}" for start, end in spans)]
    assert origin.body_bytes(PATH) == BODY.size + sum(end - start for start, end in spans)
    live.spool.close()


@pytest.mark.usefixtures("short_segments")
async def test_for_more_than_a_little_fetched_ahead_of_it_the_running_answer_is_cut(
    bench: Bench, origin: FaultOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is cut there, and goes on until then."""
    monkeypatch.setattr(fetch_module, "PASSED_OVER", 70 * KIB)
    gate = Gate()
    origin.put(PATH, BODY, gate=lambda request: None if ranged(request) else gate, gate_after=KIB)
    live = bench.live(fill_request(origin.url + PATH))
    running = asyncio.create_task(bench.fetch(live).run())
    assert await live.read(0, 1) == BODY.read(0, 1)
    for start in (MIB, 2 * MIB):
        assert await read_span(live, start, start + 40 * KIB) == BODY.read(start, start + 40 * KIB)
    gate.set()
    assert await running
    assert spooled(live) == BODY.read()
    whole, *pieces = asked_ranges(origin)
    assert whole is None
    asked = sorted(tuple(map(int, str(piece).removeprefix("bytes=").split("-"))) for piece in pieces)
    assert asked[0] == (MIB, MIB + 40 * KIB - 1)
    assert asked[1][0] == 2 * MIB
    assert [last + 1 for _, last in asked[1:]] == [start for start, _ in asked[2:]] + [BODY.size]
    live.spool.close()


@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize("fault", [{"status": 500}, {"wrong_content_range": "bytes 0-9/10"}], ids=["error", "lie"])
async def test_what_could_not_be_fetched_ahead_comes_with_the_running_answer(
    bench: Bench, origin: FaultOrigin, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    gate = Gate()
    behaviour = origin.put(PATH, BODY, gate=lambda request: None if ranged(request) else gate, gate_after=KIB)
    live = bench.live(fill_request(origin.url + PATH))
    running = asyncio.create_task(bench.fetch(live).run())
    assert await live.read(0, 1) == BODY.read(0, 1)
    for name, value in fault.items():
        setattr(behaviour, name, value)  # of answers from now on
    failed = asyncio.Event()
    take_back = Fetch._take_back
    monkeypatch.setattr(Fetch, "_take_back", lambda fetch: (take_back(fetch), failed.set()))
    reading = asyncio.create_task(read_span(live, MIB, MIB + 1000))
    await failed.wait()
    gate.set()
    assert await reading == BODY.read(MIB, MIB + 1000)
    assert await running
    assert spooled(live) == BODY.read()
    assert asked_ranges(origin).count(None) == 1
    live.spool.close()


@pytest.mark.usefixtures("short_segments")
async def test_a_far_demand_gets_a_pull_of_its_own_and_cuts_the_running_one_short(
    bench: Bench, origin: FaultOrigin
) -> None:
    gate = Gate()
    origin.put(PATH, BODY, gate=lambda request: None if ranged(request) else gate, gate_after=SEGMENT // 2)
    live = bench.live(fill_request(origin.url + PATH))
    running = asyncio.create_task(bench.fetch(live).run())
    assert await live.read(0, 1) == BODY.read(0, 1)
    tail = BODY.size - 1000
    assert await read_span(live, tail, BODY.size) == BODY.read(tail)
    assert not gate.is_set()
    assert asked_ranges(origin) == [None, f"bytes={tail}-{BODY.size - 1}"]
    gate.set()
    assert await running
    assert spooled(live) == BODY.read()
    assert asked_ranges(origin) == [None, f"bytes={tail}-{BODY.size - 1}"]
    live.spool.close()


@dataclass(frozen=True)
class NoPause(RetryPolicy):
    """Nothing is waited for: a second try would be one too many."""

    def delay(self, attempt: int, chance: float, retry_after: float | None = None) -> float | None:
        return None


@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize("status", [429, 503])
async def test_an_origin_without_a_place_for_one_more_is_read_by_those_that_run(
    bench: Bench, origin: FaultOrigin, status: int
) -> None:
    """A refusal of a further request is no failure of the fill: what runs goes on, and brings the bytes in time."""
    gate = Gate()
    origin.put(
        PATH,
        BODY,
        gate=lambda request: None if ranged(request) else gate,
        gate_after=SEGMENT // 2,
        status=lambda request: status if ranged(request) and not gate.is_set() else 200,
    )
    live = bench.live(fill_request(origin.url + PATH))
    running = asyncio.create_task(bench.fetch(live, NoPause()).run())
    assert await live.read(0, 1) == BODY.read(0, 1)
    reader = asyncio.create_task(read_span(live, BODY.size - 1000, BODY.size))
    while not any(ranged(request) and request.status for request in origin.logged(PATH)):  # noqa: ASYNC110
        await asyncio.sleep(0)
    gate.set()
    assert await running
    assert await reader == BODY.read(BODY.size - 1000)
    assert spooled(live) == BODY.read()
    live.spool.close()


@pytest.mark.usefixtures("short_segments")
async def test_a_near_demand_waits_for_the_running_pull(bench: Bench, origin: FaultOrigin) -> None:
    gate = Gate()
    origin.put(PATH, BODY, gate=gate, gate_after=1000)
    live = bench.live(fill_request(origin.url + PATH))
    running = asyncio.create_task(bench.fetch(live).run())
    assert await live.read(0, 1) == BODY.read(0, 1)
    reader = asyncio.create_task(read_span(live, SEGMENT // 2, SEGMENT))
    await asyncio.sleep(0)
    gate.set()
    assert await reader == BODY.read(SEGMENT // 2, SEGMENT)
    assert await running
    assert asked_ranges(origin) == [None]
    live.spool.close()


@pytest.mark.usefixtures("short_segments")
async def test_an_origin_that_ignores_ranges_is_read_once_from_byte_0(bench: Bench, origin: FaultOrigin) -> None:
    origin.put(PATH, BODY, ranges=False)
    live = bench.live(fill_request(origin.url + PATH), RangeRequest(None, None, suffix=10))
    running = asyncio.create_task(bench.fetch(live).run())
    tail = BODY.size - 10
    assert await read_span(live, tail, BODY.size) == BODY.read(tail)
    assert await running
    assert origin.count(PATH) == 1
    assert origin.body_bytes(PATH) == BODY.size
    live.spool.close()


@pytest.mark.parametrize(
    "behaviour",
    [
        {"wrong_content_range": "bytes 0-999/1000"},
        {"wrong_content_range": "nonsense"},
        {"etag": None, "last_modified": None},
        {"etag": 'W/"weak"'},
    ],
    ids=str,
)
async def test_a_first_span_that_nothing_can_be_joined_to_is_not_used(
    bench: Bench, origin: FaultOrigin, behaviour: dict[str, Any]
) -> None:
    origin.put(PATH, BODY, **behaviour)
    live = bench.live(fill_request(origin.url + PATH), RangeRequest(5000, 5999))
    assert await bench.fetch(live).run()
    assert spooled(live) == BODY.read()
    assert asked_ranges(origin) == ["bytes=5000-5999", None]
    live.spool.close()


async def test_a_first_range_beyond_the_object_is_no_error(bench: Bench, origin: FaultOrigin) -> None:
    origin.put(PATH, b"short")
    live = await run_whole(bench, origin, RangeRequest(1000, 2000))
    assert live.length == 5


# -- breaks


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_broken_body_goes_on_where_it_broke(bench: Bench, origin: FaultOrigin, how: str, framing: str) -> None:
    origin.put(PATH, BODY, framing=framing, die_after=700 * KIB, die_times=3, how=how)
    live = bench.live(fill_request(origin.url + PATH))
    running = asyncio.create_task(bench.fetch(live).run())
    assert await read_span(live, 0, BODY.size) == BODY.read()
    assert await running
    assert all(text is not None for text in asked_ranges(origin)[1:])
    if how == "fin":
        assert origin.body_bytes(PATH) == BODY.size
    live.spool.close()


async def test_requests_that_are_hung_up_on_are_made_again(bench: Bench, origin: FaultOrigin) -> None:
    broken = origin.put(PATH, BODY, die_after=MIB, die_times=1)
    gate = Gate()
    broken.gate, broken.gate_after = gate, MIB // 2
    live = bench.live(fill_request(origin.url + PATH))
    running = asyncio.create_task(bench.fetch(live).run())
    await live.read(0, 1)
    broken.hang_up_times = 2
    gate.set()
    assert await running
    assert spooled(live) == BODY.read()
    assert origin.count(PATH) >= 4
    live.spool.close()


@dataclass(frozen=True)
class NotingPolicy(RetryPolicy):
    """Tries again at once and remembers what the origin had asked for."""

    heard: list[float | None] = field(default_factory=list)

    def delay(self, attempt: int, chance: float, retry_after: float | None = None) -> float | None:
        self.heard.append(retry_after)
        return None if super().delay(attempt, chance, retry_after) is None else 0.0


def statuses(*first: int) -> Callable[[LoggedRequest], int]:
    """These statuses in turn, then 200."""
    left = list(first)
    return lambda _: left.pop(0) if left else 200


async def test_retry_after_reaches_the_policy(bench: Bench, origin: FaultOrigin) -> None:
    origin.put(
        PATH, BODY, status=statuses(200, 503, 429), die_after=MIB, die_times=1, headers=[("Retry-After", "1234")]
    )
    live = bench.live(fill_request(origin.url + PATH))
    policy = NotingPolicy()
    assert await bench.fetch(live, policy).run()
    assert spooled(live) == BODY.read()
    assert policy.heard == [None, 1234.0, 1234.0]
    live.spool.close()


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        ({"die_after": lambda request: 0 if ranged(request) else MIB}, OriginBroken),
        ({"status": statuses(200, *[503] * 50), "die_after": MIB}, OriginBusy),
    ],
    ids=["breaks", "busy"],
)
async def test_when_the_policy_is_exhausted_the_last_error_stands(
    bench: Bench, origin: FaultOrigin, behaviour: dict[str, Any], error: type[TransferError]
) -> None:
    origin.put(PATH, BODY, **behaviour)
    live = bench.live(fill_request(origin.url + PATH))
    with pytest.raises(error):
        await bench.fetch(live).run()
    assert origin.count(PATH) == QUICK.attempts
    assert live.front == MIB
    live.spool.close()


async def test_readers_are_not_held_for_as_long_as_a_retry_after_may_ask(bench: Bench, origin: FaultOrigin) -> None:
    headers = [("Retry-After", "3600")]
    origin.put(PATH, BODY, status=statuses(200, 503), die_after=MIB, die_times=1, headers=headers)
    live = bench.live(fill_request(origin.url + PATH))
    with pytest.raises(OriginBusy) as raised:
        await bench.fetch(live).run()
    assert raised.value.retry_after == 3600
    assert origin.count(PATH) == 2
    live.spool.close()


async def test_a_final_error_in_the_middle_ends_it_at_once(bench: Bench, origin: FaultOrigin) -> None:
    origin.put(PATH, BODY, status=statuses(200, 403), die_after=MIB, die_times=1)
    live = bench.live(fill_request(origin.url + PATH))
    with pytest.raises(OriginRefused):
        await bench.fetch(live).run()
    assert origin.count(PATH) == 2
    live.spool.close()


async def test_without_a_strong_validator_nothing_is_joined(bench: Bench, origin: FaultOrigin) -> None:
    origin.put(PATH, BODY, etag=None, last_modified=None, die_after=MIB, die_times=1)
    live = bench.live(fill_request(origin.url + PATH))
    with pytest.raises(OriginBroken):
        await bench.fetch(live).run()
    assert origin.count(PATH) == 1
    live.spool.close()


@pytest.mark.parametrize("size", [BODY.size, BODY.size + 5])
@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("honours", [True, False])
async def test_an_object_that_changed_is_never_joined(
    bench: Bench, origin: FaultOrigin, size: int, ranges: bool, honours: bool
) -> None:
    origin.put(
        PATH,
        BODY,
        die_after=MIB,
        die_times=1,
        change_after_requests=1,
        changed_body=Content(2, size),
        ranges=ranges,
        honours_if_range=honours,
    )
    live = bench.live(fill_request(origin.url + PATH))
    with pytest.raises(OriginChanged):
        await bench.fetch(live).run()
    assert live.spool.read(0, live.front) == BODY.read(0, live.front)
    live.spool.close()


async def test_whoever_stops_the_fetch_leaves_a_spool_to_go_on_with(bench: Bench, origin: FaultOrigin) -> None:
    gate = Gate()
    behaviour = origin.put(PATH, BODY, gate=gate, gate_after=2 * MIB)
    live = bench.live(fill_request(origin.url + PATH))
    running = asyncio.create_task(bench.fetch(live).run())
    assert await read_span(live, 0, 2 * MIB) == BODY.read(0, 2 * MIB)
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled()
    live.spool.close()
    behaviour.gate = None
    again = bench.live(fill_request(origin.url + PATH))
    again.source = live.source
    assert await bench.fetch(again).run()
    assert spooled(again) == BODY.read()
    assert asked_ranges(origin) == [None, f"bytes={2 * MIB}-{BODY.size - 1}"]
    again.spool.close()


# -- spools that another process left


async def left_behind(bench: Bench, held: list[tuple[int, int]]) -> None:
    """A spool with these spans, whose process is gone."""
    spool = bench.spools.open("t")
    for start, end in held:
        await spool.put(start, BODY.read(start, end))
        spool.publish(start, end - start)
    spool.close()


def facts(origin: FaultOrigin, validator: str | None) -> SourceFacts:
    request = fill_request(origin.url + PATH)
    return SourceFacts(str(request.url), BODY.size, validator, Validators(validator), "application/octet-stream")


async def test_only_what_is_missing_is_asked_for(bench: Bench, origin: FaultOrigin) -> None:
    origin.put(PATH, BODY)
    await left_behind(bench, [(0, MIB), (2 * MIB, BODY.size)])
    live = bench.live(fill_request(origin.url + PATH))
    live.source = facts(origin, ETAG)
    assert await bench.fetch(live).run()
    assert isinstance(await live.head(), Flowing)
    assert spooled(live) == BODY.read()
    assert asked_ranges(origin) == [f"bytes={MIB}-{2 * MIB - 1}"]
    live.spool.close()


async def test_room_is_held_for_what_a_resumed_transfer_still_lacks(bench: Bench, origin: FaultOrigin) -> None:
    """An earlier process was promised the room: this one must not promise it to somebody else."""
    gate = Gate()
    origin.put(PATH, BODY, gate=gate)
    bench.spools = SpoolDirectory(bench.spools.folder, 5 * MIB)
    await left_behind(bench, [(0, MIB), (2 * MIB, BODY.size)])
    live = bench.live(fill_request(origin.url + PATH))
    live.source = facts(origin, ETAG)
    running = asyncio.create_task(bench.fetch(live).run())
    await asyncio.to_thread(gate.reached.wait, 30)
    with pytest.raises(StoreFull):
        bench.spools.admit("another", int(2.5 * MIB))
    gate.set()
    assert await running
    live.spool.close()


async def test_a_complete_spool_needs_no_validator_and_no_origin(bench: Bench, origin: FaultOrigin) -> None:
    await left_behind(bench, [(0, BODY.size)])
    live = bench.live(fill_request(origin.url + PATH))
    live.source = facts(origin, None)
    assert await bench.fetch(live).run()
    assert live.complete
    assert spooled(live) == BODY.read()
    assert origin.count() == 0
    live.spool.close()


async def test_an_incomplete_spool_without_a_validator_is_thrown_away(bench: Bench, origin: FaultOrigin) -> None:
    new = Content(7, BODY.size)
    origin.put(PATH, new)
    await left_behind(bench, [(0, BODY.size - 1)])
    live = bench.live(fill_request(origin.url + PATH))
    live.source = facts(origin, None)
    assert await bench.fetch(live).run()
    assert spooled(live) == new.read()
    assert asked_ranges(origin) == [None]
    live.spool.close()


async def test_a_spool_of_a_version_that_is_gone_raises_and_keeps_no_mixture(bench: Bench, origin: FaultOrigin) -> None:
    origin.put(PATH, Content(7, BODY.size))
    await left_behind(bench, [(0, 2 * MIB)])
    live = bench.live(fill_request(origin.url + PATH))
    live.source = facts(origin, ETAG)
    with pytest.raises(OriginChanged):
        await bench.fetch(live).run()
    assert live.front == 2 * MIB
    live.spool.close()


# -- answers that are not spooled


async def test_answers_that_leave_nothing_to_land(bench: Bench, origin: FaultOrigin) -> None:
    origin.put("/no-store", BODY, headers=[("Cache-Control", "no-store")])
    origin.put("/missing", b"nothing here", status=404)
    origin.put("/close", BODY, framing="close")
    origin.put("/same", BODY)
    heads = {}
    for path in ("/no-store", "/missing", "/close", "/same"):
        live = bench.live(fill_request(origin.url + path), name=path[1:])
        live.revalidating = {"If-None-Match": ETAG} if path == "/same" else {}
        assert not await bench.fetch(live).run()
        heads[path] = await live.head()
        live.drop_untaken()
        live.spool.close()
    assert isinstance(heads["/same"], Confirmed)
    missing, no_store, close = heads["/missing"], heads["/no-store"], heads["/close"]
    assert isinstance(missing, Refused)
    assert (missing.status, missing.body) == (404, b"nothing here")
    assert isinstance(no_store, NotStored)
    assert isinstance(close, NotStored)
    assert (no_store.reason, close.reason) == ("no-store", "length")


def at_first(first: Any, then: Any) -> Callable[[LoggedRequest], Any]:
    """A behaviour of the first answer, and that of those after it."""
    left = [first]
    return lambda _: left.pop() if left else then


async def test_a_length_that_is_told_by_a_second_answer_only_ends_the_object(bench: Bench, origin: FaultOrigin) -> None:
    """As of a server that has kept what it passed on in chunks at first; it knows no ranges."""
    origin.put(PATH, BODY, framing=at_first("chunked", "length"), ranges=False, die_after=MIB, die_times=1)
    live = bench.live(fill_request(origin.url + PATH))
    async with asyncio.timeout(30):
        assert await bench.fetch(live).run()
    assert live.length == BODY.size
    assert spooled(live) == BODY.read()
    assert origin.count() == 2
    live.spool.close()


@pytest.mark.parametrize("framing", ["chunked", "length"])
async def test_a_second_answer_that_ends_before_what_is_there_does_not_end_the_object(
    bench: Bench, origin: FaultOrigin, framing: str
) -> None:
    """It shows the same ETag, but it can't be the same: what has come before was cut, and is not the whole."""
    origin.put(
        PATH,
        BODY,
        etag='"same"',
        framing=at_first("chunked", framing),
        ranges=False,
        die_after=2 * MIB,
        die_times=1,
        change_after_requests=1,
        changed_body=BODY.read(0, MIB),
        changed_etag='"same"',
    )
    live = bench.live(fill_request(origin.url + PATH))
    with pytest.raises(OriginChanged):
        await bench.fetch(live).run()
    assert not live.complete
    live.spool.close()


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("told", [None, f"bytes {MIB}-{BODY.size - 1}/*"])
async def test_a_length_that_is_told_late_is_bounded_all_the_same(
    bench: Bench, origin: FaultOrigin, told: str | None, *, ranges: bool
) -> None:
    """So is a part that does not say of how much it is one."""
    origin.put(
        PATH,
        BODY,
        framing=at_first("chunked", "length"),
        ranges=ranges,
        die_after=MIB,
        die_times=1,
        wrong_content_range=told,
    )
    live = bench.live(fill_request(origin.url + PATH))
    with pytest.raises(TooLarge):
        await bench.fetch(live, largest=2 * MIB).run()
    live.spool.close()


@pytest.mark.parametrize("told", [b"", b"Content-Range: bytes */5\r\n", b"Content-Range: bytes 4-1/5\r\n"])
@pytest.mark.parametrize("first", [None, RangeRequest(100, None)])
async def test_a_part_that_nobody_can_place_is_not_taken_for_the_whole(
    bench: Bench, origin: FaultOrigin, told: bytes, first: RangeRequest | None
) -> None:
    head = b'HTTP/1.1 206 Partial Content\r\nETag: "a"\r\nContent-Length: 5\r\n'
    origin.put(PATH, raw=head + told + b"\r\nhello")
    live = bench.live(fill_request(origin.url + PATH), first)
    with pytest.raises(OriginProtocol):
        await bench.fetch(live).run()
    live.spool.close()


@pytest.mark.usefixtures("short_segments")
async def test_what_readers_want_is_not_piled_up_where_there_are_no_ranges(bench: Bench, origin: FaultOrigin) -> None:
    origin.put(PATH, BODY, ranges=False)
    live = bench.live(fill_request(origin.url + PATH))
    fetch = bench.fetch(live)
    running = asyncio.create_task(fetch.run())
    ends = [read_span(live, BODY.size - 100, BODY.size) for _ in range(20)]
    assert await asyncio.gather(*ends) == [BODY.read(BODY.size - 100, BODY.size)] * 20
    assert await running
    assert len(fetch._demands) <= 20
    live.spool.close()


class NotingOrigin:
    """The client; notes how many of its answers are open."""

    def __init__(self, client: HttpOrigin) -> None:
        self._client = client
        self.open_answers = 0

    async def open(self, request: OriginRequest) -> HttpOriginResponse:
        response = await self._client.open(request)
        self.open_answers += 1
        response.on_close(self._closed)
        return response

    def _closed(self) -> None:
        self.open_answers -= 1


async def test_a_fetch_that_is_dropped_while_an_error_comes_slowly_closes_the_answer(
    bench: Bench, origin: FaultOrigin
) -> None:
    """Else its place at the origin would be lost for ever."""
    gate = Gate()
    origin.put(PATH, b"x" * 1000, status=404, gate=gate, gate_after=10)
    noting = NotingOrigin(bench.client)
    live = bench.live(fill_request(origin.url + PATH))
    fetch = bench.fetch(live)
    fetch.origin = noting
    running = asyncio.create_task(fetch.run())
    await asyncio.to_thread(gate.reached.wait, 30)
    while noting.open_answers == 0:  # noqa: ASYNC110 - it says nothing
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait({running})
    assert noting.open_answers == 0
    gate.set()
    live.spool.close()


@pytest.mark.parametrize("length", [True, False])
async def test_where_the_spool_takes_no_file_the_answer_is_handed_on(
    bench: Bench, origin: FaultOrigin, tmp_path: Path, *, length: bool
) -> None:
    """A disk that is read-only, or has no inodes left: nothing can be stored, and clients get all the same what they want."""
    origin.put(PATH, BODY, framing="length" if length else "chunked")
    in_the_way = tmp_path / "spool" / "t.part"
    in_the_way.mkdir(parents=True)
    live = LiveTransfer(fill_request(origin.url + PATH), Lease("t", "owner", 1), bench.spools.begin("t"))
    assert not await bench.fetch(live).run()
    head = await live.head()
    assert isinstance(head, NotStored)
    answer = head.take()
    assert answer is not None
    assert b"".join([chunk async for chunk in answer.chunks()]) == BODY.read()
    await answer.close()
    live.spool.close()


async def test_an_object_over_the_limit(bench: Bench, origin: FaultOrigin) -> None:
    origin.put(PATH, BODY)
    request = fill_request(origin.url + PATH)
    live = bench.live(request)
    assert not await bench.fetch(live, largest=BODY.size - 1).run()
    head = await live.head()
    assert isinstance(head, NotStored)
    assert head.reason == "too_large"
    live.drop_untaken()
    live.spool.close()
    fetched = bench.live(replace(request, kind=Kind.FETCH, mirror_host=None, target=None), name="fetched")
    with pytest.raises(TooLarge):
        await bench.fetch(fetched, largest=BODY.size - 1).run()
    fetched.spool.close()


# -- pages whose links lead through the mirror


PAGE = b'<a href="http://files.example/packages/a">a</a> <a href="http://files.example/packages/b">b</a>'
LINKS = ("http://files.example/packages/", "/packages/")


@pytest.mark.parametrize(
    "first_range", [None, RangeRequest(0, 9), RangeRequest(None, None, 5), RangeRequest(9999, None)]
)
@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_links_are_rewritten_in_the_whole_page(
    bench: Bench, origin: FaultOrigin, first_range: RangeRequest | None, framing: str
) -> None:
    origin.put(PATH, PAGE, framing=framing, content_type="text/html")
    live = bench.live(fill_request(origin.url + PATH, rewrite_links=LINKS), first_range)
    assert await bench.fetch(live).run()
    page = PAGE.replace(LINKS[0].encode(), LINKS[1].encode())
    assert spooled(live) == page
    assert live.length == len(page)
    assert live.complete
    live.spool.close()


async def test_a_broken_page_is_not_rewritten(bench: Bench, origin: FaultOrigin) -> None:
    origin.put(PATH, PAGE, die_after=50)
    live = bench.live(fill_request(origin.url + PATH, rewrite_links=LINKS))
    with pytest.raises(OriginBroken):
        await bench.fetch(live).run()
    assert live.front == 0
    live.spool.close()


async def test_a_pull_that_is_cut_before_its_answer_came_stops_there(bench: Bench, origin: FaultOrigin) -> None:
    """Somebody else was given the rest: the answer may hold more, and is neither taken for a lie nor read on."""
    gate = Gate()
    origin.put(PATH, BODY, header_gate=gate)
    live = bench.live(fill_request(origin.url + PATH))
    live.source = SourceFacts("", BODY.size, ETAG, Validators(), "text/plain")
    live.length = BODY.size
    piece = pull.Pull(MIB, BODY.size)
    running = asyncio.create_task(pull.run(piece, live, bench.client, Limits(bench.spools, PLENTY)))
    await asyncio.to_thread(gate.reached.wait, 30)
    piece.stop_at(2 * MIB)
    gate.set()
    await running
    assert [(span.start, span.end) for span in live.spool.spans] == [(MIB, 2 * MIB)]
    live.spool.close()
