"""The engine with real parts, in the moments that no request from outside can bring about."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cephstorage.domain.errors import (
    BucketNotFound,
    LeaseLost,
    LengthMismatch,
    Md5Mismatch,
    PreconditionFailed,
    SpoolUnavailable,
    TransferCancelled,
    Unavailable,
    UploadInterrupted,
)
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import Record
from cephstorage.domain.transfers import (
    Kind,
    Lease,
    Phase,
    RetryPolicy,
    SourceFacts,
    State,
    Transfer,
    TransferRequest,
)
from cephstorage.domain.validators import Validators
from cephstorage.index import SqliteIndex
from cephstorage.index.landing import SqlLandingIndex
from cephstorage.origin.http import HttpOrigin
from cephstorage.ports.store import Note, StoredObject
from cephstorage.store.disk import DiskStore
from cephstorage.transfer.engine import Elsewhere, KeyMoved, TransferEngine
from cephstorage.transfer.fetch import SEGMENT
from cephstorage.transfer.janitor import Janitor
from cephstorage.transfer.live import LiveTransfer
from cephstorage.transfer.parts import EngineOptions, Parts, new_transfer
from cephstorage.transfer.presence import Presence
from cephstorage.transfer.spools import SpoolDirectory
from cephstorage.transfer.sweeper import Sweeper
from tests.harness.content import MIB, Content
from tests.harness.origin import FaultOrigin, Gate
from tests.unit.transfer.conftest import BUCKET, PLENTY, QUICK, fill_request

BODY = Content(1, 3 * MIB + 17)
PATH = "/k"


class GatedStore(DiskStore):
    """A disk store whose commit can be made to wait at its very beginning, or (``late``) at its very end.

    Like the disk itself it can't be called back: who cancels it waits until it is through.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reached, self.open_gate, self.late = asyncio.Event(), asyncio.Event(), False
        self.open_gate.set()

    async def commit(self, part: Path, planned: StoredObject, note: Note | None = None) -> str:
        if self.late:
            await super().commit(part, planned, note)
        self.reached.set()
        waiting = asyncio.ensure_future(self.open_gate.wait())
        try:
            await asyncio.shield(waiting)
        except asyncio.CancelledError:
            await waiting
            raise
        return await super().commit(part, planned, note)


@dataclass
class Machine:
    """Engines of one machine: one database, one store, one spool folder, each with a presence of its own."""

    index: SqliteIndex
    store: GatedStore
    spools: Callable[[], SpoolDirectory]
    client: HttpOrigin
    folder: Path
    stack: AsyncExitStack

    def engine(self, *, lease: float = 30.0, retry: RetryPolicy = QUICK) -> TransferEngine:
        """One more process's engine, as far as the others can tell."""
        presence = Presence(self.folder / "run")
        presence.announce()
        self.stack.callback(presence.withdraw)
        parts = Parts(
            ledger=self.index.transfers,
            landing=self.index.landing,
            store=self.store,
            origin=self.client,
            spools=self.spools(),
            presence=presence,
            clock=time.time,
        )
        made = TransferEngine(parts, EngineOptions(lease=lease, retry=retry))
        self.stack.push_async_callback(made.stop)
        return made

    async def record(self, key: str = "k") -> Record | None:
        return await self.index.keys.get(BUCKET, key)

    async def stored(self) -> list[StoredObject]:
        return [found async for found in self.store.objects(BUCKET)]

    async def queued(self, request: TransferRequest) -> str:
        """A transfer that waits to be claimed; its token."""
        [token] = await self.index.transfers.create([new_transfer(request)], time.time())
        return token

    async def ended(self, token: str) -> Transfer:
        """The row as soon as it has ended."""
        async with asyncio.timeout(30):
            while (row := await self.index.transfers.get(token)).state is State.INPROGRESS:  # noqa: ASYNC110 - a row of a database
                await asyncio.sleep(0.01)
        return row

    async def bytes_of(self, record: Record) -> bytes:
        reader = await self.store.open(BUCKET, record.key, record.store_version)
        body = await reader.read(0, 64 * MIB)
        await reader.close()
        return body


@pytest.fixture
async def machine(tmp_path: Path, client: HttpOrigin) -> AsyncIterator[Machine]:
    index, store = SqliteIndex(tmp_path / "cephstorage.db"), GatedStore(tmp_path / "objects")
    await index.open()
    await index.buckets.create(BUCKET, time.time())
    await store.create_bucket(BUCKET)
    async with AsyncExitStack() as stack:
        yield Machine(index, store, lambda: SpoolDirectory(tmp_path / "spool", PLENTY), client, tmp_path, stack)
    drift = await index.usage_drift()
    await index.close()
    assert drift == []
    assert list((tmp_path / "spool").glob("*.part")) == []


def fetch_request(url: str) -> TransferRequest:
    return TransferRequest(Kind.FETCH, BUCKET, "k", url=url)


async def begun(engine: TransferEngine, request: TransferRequest) -> LiveTransfer:
    """A fill that runs in this engine."""
    live = await engine.fill(request, None, {})
    assert isinstance(live, LiveTransfer)
    return live


# -- many engines, one fill


async def test_two_engines_make_one_fill(machine: Machine, origin: FaultOrigin) -> None:
    gate = Gate()
    origin.put(PATH, BODY, gate=gate, gate_after=MIB)
    first, second = machine.engine(), machine.engine()
    request = fill_request(origin.url + PATH)
    found = await asyncio.gather(*(engine.fill(request, None, {}) for engine in (first, second) for _ in range(5)))
    mine = [live for live in found if isinstance(live, LiveTransfer)]
    theirs = [slot for slot in found if isinstance(slot, Elsewhere)]
    assert (len(mine), len(theirs)) == (5, 5)
    assert len(set(map(id, mine))) == 1
    owner, other = (first, second) if first.live(BUCKET, "k") is not None else (second, first)
    assert set(theirs) == {Elsewhere(owner.owner)}
    assert other.live(BUCKET, "k") is None
    gate.set()
    record = await mine[0].ended()
    assert record == await machine.record()
    assert record is not None
    assert await machine.bytes_of(record) == BODY.read()
    assert origin.body_bytes(PATH) == BODY.size
    assert isinstance(await other.fill(request, None, {}), KeyMoved)


async def test_a_fill_that_is_taken_over_before_its_readers_come_leaves_room_for_them(
    machine: Machine, origin: FaultOrigin
) -> None:
    """Where they go on is not known: what was asked for must not have to be cut there."""
    body = Content(2, 20 * MIB + 1)
    origin.put(PATH, body, etag='"v1"')
    ledger, now = machine.index.transfers, time.time()
    slot = await ledger.begin_fill(new_transfer(fill_request(origin.url + PATH)), "dead", now, now + 30)
    assert slot.lease is not None
    source = SourceFacts(origin.url + PATH, body.size, '"v1"', Validators('"v1"'), "text/plain")
    await ledger.set_phase(slot.lease, Phase.FETCHING, now, source)
    await ledger.expire_owner("dead", now)
    engine = machine.engine()
    engine.start()
    async with asyncio.timeout(30):
        while (live := engine.live(BUCKET, "k")) is None:  # noqa: ASYNC110 - a claim makes no noise
            await asyncio.sleep(0.01)
    record = await live.ended()
    assert record is not None
    assert record.md5 == body.md5
    asked = [request.headers["range"] for request in origin.logged(PATH)]
    assert asked[0] == f"bytes=0-{SEGMENT - 1}"
    assert len(asked) == 3
    assert origin.body_bytes(PATH) == body.size


async def test_two_engines_share_queued_transfers(machine: Machine, origin: FaultOrigin) -> None:
    bodies = {f"k{number}": Content(number, 10_000 + number) for number in range(20)}
    tokens = []
    for key, body in bodies.items():
        origin.put(f"/{key}", body)
        tokens.append(await machine.queued(TransferRequest(Kind.FETCH, BUCKET, key, url=f"{origin.url}/{key}")))
    for engine in (machine.engine(), machine.engine()):
        engine.start()
    rows = [await machine.ended(token) for token in tokens]
    assert {row.state for row in rows} == {State.SUCCESS}
    assert {key: origin.count(f"/{key}") for key in bodies} == dict.fromkeys(bodies, 1)
    for key, body in bodies.items():
        record = await machine.record(key)
        assert record is not None
        assert (record.md5, record.generation) == (body.md5, 1)


# -- lost leases


async def test_who_lost_its_lease_while_fetching_publishes_nothing(machine: Machine, origin: FaultOrigin) -> None:
    gate = Gate()
    behaviour = origin.put(PATH, BODY, gate=gate, gate_after=MIB)
    loser, winner = machine.engine(), machine.engine()
    request = fill_request(origin.url + PATH)
    old = await begun(loser, request)
    assert await old.read(0, 10) == BODY.read(0, 10)
    assert await machine.index.transfers.expire_owner(loser.owner, time.time()) == 1
    behaviour.gate = None
    new = await begun(winner, request)
    assert new.lease.transfer_id == old.lease.transfer_id
    assert new.lease.fence > old.lease.fence
    record = await new.ended()
    gate.set()
    with pytest.raises(LeaseLost):
        await old.ended()
    assert record is not None
    assert await machine.record() == record
    assert record.generation == 1
    assert await machine.bytes_of(record) == BODY.read()


async def test_who_lost_its_lease_while_storing_publishes_nothing(machine: Machine, origin: FaultOrigin) -> None:
    origin.put(PATH, BODY)
    loser, winner = machine.engine(), machine.engine()
    machine.store.open_gate.clear()
    token = await machine.queued(fetch_request(origin.url + PATH))
    loser.start()
    await machine.store.reached.wait()
    stalled = await machine.index.transfers.get(token)
    assert (stalled.owner, stalled.phase) == (loser.owner, Phase.STORING)
    await machine.index.transfers.expire_owner(loser.owner, time.time())
    claimed = await machine.index.transfers.claim(winner.owner, time.time(), time.time() + 30)
    assert claimed is not None
    assert claimed.fence > stalled.fence
    machine.store.open_gate.set()
    await loser.stop()
    assert await machine.record() is None
    await machine.index.transfers.expire_owner(winner.owner, time.time())
    winner.start()
    row = await machine.ended(token)
    record = await machine.record()
    assert record is not None
    assert (row.state, record.generation, record.md5) == (State.SUCCESS, 1, BODY.md5)
    assert await machine.bytes_of(record) == BODY.read()
    kept = {removal.store_version for removal in await machine.index.landing.removals(10)}
    assert record.store_version not in kept


async def test_who_lost_its_lease_takes_no_spool_away(machine: Machine, origin: FaultOrigin) -> None:
    """It may end with nothing, and has not heard of its loss yet: what lies under the name is its successor's."""
    late, gate = Gate(), Gate()
    origin.put(
        PATH,
        BODY,
        status=lambda request: 404 if request.connection == 1 else 200,
        header_gate=lambda request: late if request.connection == 1 else None,
        gate=gate,
        gate_after=MIB,
    )
    loser, winner = machine.engine(), machine.engine()
    request = fill_request(origin.url + PATH)
    old = await begun(loser, request)
    await asyncio.to_thread(late.reached.wait, 30)
    assert await machine.index.transfers.expire_owner(loser.owner, time.time()) == 1
    new = await begun(winner, request)
    await asyncio.to_thread(gate.reached.wait, 30)
    late.set()
    assert await old.ended() is None
    gate.set()
    async with asyncio.timeout(30):
        record = await new.ended()
    assert record is not None
    assert await machine.bytes_of(record) == BODY.read()


async def test_a_heartbeat_tells_who_lost_its_lease(machine: Machine, origin: FaultOrigin) -> None:
    gate = Gate()
    origin.put(PATH, BODY, gate=gate, gate_after=MIB)
    engine = machine.engine()
    engine.start()
    token = await machine.queued(fetch_request(origin.url + PATH))
    engine.wake()
    await asyncio.to_thread(gate.reached.wait, 30)
    row = await machine.index.transfers.get(token)
    assert row.owner == engine.owner
    await machine.index.transfers.cancel(token, time.time())  # by another process
    async with asyncio.timeout(30):
        while engine.progress(row.id) is not None:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    gate.set()
    assert await machine.record() is None
    machine.spools().remove(row.id)


async def test_a_transfer_cancelled_here_ends_at_once(machine: Machine, origin: FaultOrigin) -> None:
    gate = Gate()
    origin.put(PATH, BODY, gate=gate, gate_after=MIB)
    engine = machine.engine()
    token = await machine.queued(fetch_request(origin.url + PATH))
    engine.start()
    await asyncio.to_thread(gate.reached.wait, 30)
    row = await engine.cancel(token)
    assert (row.state, row.error_code) == (State.FAIL, TransferCancelled.code)
    gate.set()
    await engine.stop()
    assert await machine.record() is None
    assert await machine.stored() == []


async def test_a_transfer_cancelled_while_its_bytes_are_stored_has_them_removed(
    machine: Machine, origin: FaultOrigin
) -> None:
    """The removal that the cancel queues may run before the commit, which nobody can call back, is through."""
    origin.put(PATH, BODY)
    engine = machine.engine()
    machine.store.late = True
    machine.store.open_gate.clear()
    token = await machine.queued(fetch_request(origin.url + PATH))
    engine.start()
    await machine.store.reached.wait()
    await engine.cancel(token)
    too_early = await machine.index.landing.removals(10)
    await machine.index.landing.removed([removal.id for removal in too_early])
    machine.store.open_gate.set()
    await engine.stop()
    [left] = await machine.index.landing.removals(10)
    assert [found.store_version for found in await machine.stored()] == [left.store_version]
    assert await machine.record() is None


class HeldDisk(DiskStore):
    """A disk whose commits stand still in their thread, as long fsyncs and copies do, until they are let through."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reached, self.go_on, self.through = threading.Event(), threading.Event(), threading.Event()

    def _commit(self, planned: StoredObject, put: Callable[[Path], None]) -> None:
        self.reached.set()
        self.go_on.wait()
        super()._commit(planned, put)
        self.through.set()


async def removed(machine: Machine) -> None:
    """What the janitor does with the queue of removals."""
    for removal in await machine.index.landing.removals(100):
        await machine.store.delete(removal.bucket, removal.key, removal.store_version)
        await machine.index.landing.removed([removal.id])


async def test_a_transfer_cancelled_elsewhere_is_told_once_while_its_bytes_are_stored(
    machine: Machine, origin: FaultOrigin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every beat finds its lease lost. Who is cancelled a second time waits no more for the disk, and leaves what it stores."""
    monkeypatch.setattr("cephstorage.transfer.claims._BEAT", 0.02)
    held = HeldDisk(tmp_path / "objects")
    machine.store = held  # type: ignore[assignment]
    origin.put(PATH, BODY)
    engine = machine.engine()
    token = await machine.queued(fetch_request(origin.url + PATH))
    engine.start()
    await asyncio.to_thread(held.reached.wait, 30)
    beats, renew = [], machine.index.transfers.renew

    async def beat(*arguments: Any) -> Any:
        beats.append(await renew(*arguments))
        return beats[-1]

    machine.index.transfers.renew = beat  # type: ignore[method-assign]
    try:
        row = await machine.index.transfers.cancel(token, time.time())
        while len(beats) < 6 and engine.progress(row.id) is not None:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
        await removed(machine)
    finally:
        held.go_on.set()
    await asyncio.to_thread(held.through.wait, 30)
    await engine.stop()
    await removed(machine)
    assert await machine.stored() == []
    machine.spools().remove(row.id)


# -- what is promised of the spool


async def test_a_transfer_that_waits_for_another_attempt_holds_no_room_of_the_spool(
    machine: Machine, origin: FaultOrigin, tmp_path: Path
) -> None:
    """Another process may go on with it, and this one would never hear of its end."""
    spools = SpoolDirectory(tmp_path / "spool", 5 * MIB)
    machine.spools = lambda: spools
    origin.put(PATH, BODY, etag=None, last_modified=None, die_after=1000)
    engine = machine.engine(retry=RetryPolicy(base=3600.0, cap=3600.0))
    token = await machine.queued(fetch_request(origin.url + PATH))
    engine.start()
    async with asyncio.timeout(30):
        while (row := await machine.index.transfers.get(token)).attempts == 0:  # noqa: ASYNC110 - a row of a database
            await asyncio.sleep(0.01)
        while engine.progress(row.id) is not None:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    assert spools.promised(row.id) == 0
    spools.admit("another", 4 * MIB)
    await engine.cancel(token)


async def test_an_upload_that_gets_no_room_in_its_quota_holds_none_of_the_spool(
    machine: Machine, tmp_path: Path
) -> None:
    spools = SpoolDirectory(tmp_path / "spool", 5 * MIB)
    machine.spools = lambda: spools
    engine = machine.engine()
    request = TransferRequest(Kind.UPLOAD, BucketName("alice", "nowhere"), "k")
    for _ in range(3):
        with pytest.raises(BucketNotFound):
            await engine.upload(request, pieces(BODY), BODY.size, (), bounded=True)


# -- an orderly stop


async def test_stop_gives_transfers_back_and_the_next_engine_goes_on(machine: Machine, origin: FaultOrigin) -> None:
    gate = Gate()
    behaviour = origin.put(PATH, BODY, gate=gate, gate_after=2 * MIB)
    first = machine.engine()
    live = await begun(first, fill_request(origin.url + PATH))
    async with asyncio.timeout(30):
        while live.front < 2 * MIB:
            await live.changed()
    await first.stop()
    with pytest.raises(Unavailable):
        await live.ended()
    assert await machine.index.transfers.owners() == []
    assert await machine.index.transfers.fill_owner(BUCKET, "k", time.time()) is None
    behaviour.gate = None
    again = await begun(machine.engine(), fill_request(origin.url + PATH))
    assert again.lease.transfer_id == live.lease.transfer_id
    record = await again.ended()
    gate.set()
    assert record is not None
    assert await machine.bytes_of(record) == BODY.read()


async def test_stop_waits_for_uploads_that_are_landing(machine: Machine) -> None:
    engine = machine.engine()
    machine.store.open_gate.clear()
    uploading = asyncio.create_task(engine.upload(upload_request(), pieces(BODY), BODY.size, ()))
    await machine.store.reached.wait()
    stopping = asyncio.create_task(engine.stop())
    await asyncio.sleep(0)
    assert not stopping.done()
    machine.store.open_gate.set()
    await stopping
    assert await uploading == await machine.record()


@pytest.mark.parametrize("turns", range(4))
async def test_a_janitor_that_is_stopped_just_as_bytes_land_stops(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    """Python's own wait_for (3.11) forgets that it was cancelled when what it waits for comes in the same moment."""
    monkeypatch.setattr("cephstorage.transfer.janitor._PAUSE", 0.0)
    engine = machine.engine()
    janitor = Janitor(engine._parts, engine, 3600.0, Sweeper(engine._parts))
    await janitor.start()
    while not engine.landed._waiters:  # type: ignore[attr-defined]  # noqa: ASYNC110 - it waits without a sound
        await asyncio.sleep(0.01)
    engine.landed.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await janitor.stop()


# -- uploads


def upload_request(**fields: str) -> TransferRequest:
    return TransferRequest(Kind.UPLOAD, BUCKET, "k", **fields)  # type: ignore[arg-type]


async def pieces(body: Content) -> AsyncIterator[bytes]:
    """A client's body, as it comes."""
    for view in body.views(0, body.size):
        yield bytes(view)


async def test_a_landing_upload_outlives_the_client_that_leaves(machine: Machine) -> None:
    engine = machine.engine()
    machine.store.open_gate.clear()
    uploading = asyncio.create_task(engine.upload(upload_request(), pieces(BODY), BODY.size, ()))
    await machine.store.reached.wait()
    uploading.cancel()
    await asyncio.wait({uploading})
    assert uploading.cancelled()
    assert await machine.record() is None
    machine.store.open_gate.set()
    await engine.stop()
    record = await machine.record()
    assert record is not None
    assert (record.md5, record.size) == (BODY.md5, BODY.size)
    assert await machine.bytes_of(record) == BODY.read()


async def test_a_client_that_leaves_in_the_middle_leaves_nothing(machine: Machine) -> None:
    engine = machine.engine()
    waiting = asyncio.Event()

    async def half() -> AsyncIterator[bytes]:
        yield BODY.read(0, 2 * MIB)
        waiting.set()
        await asyncio.Event().wait()

    uploading = asyncio.create_task(engine.upload(upload_request(), half(), BODY.size, ()))
    await waiting.wait()
    uploading.cancel()
    await asyncio.wait({uploading})
    assert await machine.record() is None
    assert await machine.stored() == []
    assert await machine.index.transfers.spooled_ids() == []


async def test_an_upload_that_can_not_be_spooled_is_told_why(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("no folder")
    with pytest.raises(SpoolUnavailable):
        await machine.engine().upload(upload_request(), pieces(BODY), None, ())


async def test_uploads_that_break_their_promises_leave_nothing(machine: Machine) -> None:
    engine = machine.engine()

    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise UploadInterrupted("The client went away.")

    with pytest.raises(LengthMismatch):
        await engine.upload(upload_request(), pieces(BODY), BODY.size + 1, ())
    with pytest.raises(Md5Mismatch):
        await engine.upload(upload_request(md5="0" * 32), pieces(BODY), BODY.size, ())
    with pytest.raises(UploadInterrupted):
        await engine.upload(upload_request(), broken(), None, ())
    assert await machine.record() is None
    assert await machine.stored() == []
    assert await machine.index.transfers.spooled_ids() == []


# -- transfers that end no process's life twice


async def test_a_spool_that_can_not_be_opened_holds_up_no_other_transfer(
    machine: Machine, origin: FaultOrigin, tmp_path: Path
) -> None:
    """As when the process has all the files open that it may. It is tried again when its lease has ended."""
    tokens = []
    for key in ("a", "b"):
        origin.put(f"/{key}", BODY)
        tokens.append(await machine.queued(TransferRequest(Kind.FETCH, BUCKET, key, url=f"{origin.url}/{key}")))
    in_the_way = tmp_path / "spool" / f"{(await machine.index.transfers.get(tokens[0])).id}.part"
    in_the_way.mkdir(parents=True)
    machine.engine(lease=2.0).start()
    assert (await machine.ended(tokens[1])).state is State.SUCCESS
    in_the_way.rmdir()
    assert (await machine.ended(tokens[0])).state is State.SUCCESS


async def test_a_transfer_that_was_begun_too_often_is_given_up(machine: Machine, origin: FaultOrigin) -> None:
    origin.put(PATH, BODY)
    token = await machine.queued(fetch_request(origin.url + PATH))
    for attempt in range(100):
        owner = f"dead{attempt}"
        assert await machine.index.transfers.claim(owner, time.time(), time.time() + 30) is not None
        await machine.index.transfers.expire_owner(owner, time.time())
    machine.engine().start()
    row = await machine.ended(token)
    assert (row.state, row.error_code, row.fence > 100) == (State.FAIL, "transfer_failed", True)
    assert origin.count() == 0
    assert await machine.record() is None


async def test_a_hundred_claims_are_not_too_many(machine: Machine, origin: FaultOrigin) -> None:
    origin.put(PATH, BODY)
    token = await machine.queued(fetch_request(origin.url + PATH))
    for attempt in range(99):
        owner = f"dead{attempt}"
        assert await machine.index.transfers.claim(owner, time.time(), time.time() + 30) is not None
        await machine.index.transfers.expire_owner(owner, time.time())
    machine.engine().start()
    assert (await machine.ended(token)).state is State.SUCCESS


async def test_a_fill_of_a_key_that_changed_meanwhile_does_not_replace_it(
    machine: Machine, origin: FaultOrigin
) -> None:
    gate = Gate()
    origin.put(PATH, BODY, gate=gate, gate_after=MIB)
    engine = machine.engine()
    live = await begun(engine, fill_request(origin.url + PATH))
    await asyncio.to_thread(gate.reached.wait, 30)
    uploaded = await engine.upload(upload_request(), pieces(Content(5, 1000)), 1000, ())
    gate.set()
    with pytest.raises(PreconditionFailed, match="changed since the fill began"):
        await live.ended()
    assert await machine.record() == uploaded
    assert isinstance(await engine.fill(fill_request(origin.url + PATH), None, {}), KeyMoved)
    seen = replace(fill_request(origin.url + PATH), seen_generation=uploaded.generation)
    replaced = await (await begun(engine, seen)).ended()
    assert replaced is not None
    assert (replaced.generation, replaced.md5) == (uploaded.generation + 1, BODY.md5)


class LateAnswer(SqlLandingIndex):
    """A landing index whose answer to a publication comes late: after the commit, when it is let through."""

    def __init__(self, index: SqliteIndex) -> None:
        self.__dict__.update(index.landing.__dict__)
        self.committed, self.answer = asyncio.Event(), asyncio.Event()

    async def publish(self, lease: Lease, now: float, store_version: str | None = None) -> Record:
        record = await super().publish(lease, now, store_version)
        self.committed.set()
        await self.answer.wait()
        return record


async def test_a_renewal_that_comes_between_a_publication_and_its_answer_takes_nothing_away(
    machine: Machine, origin: FaultOrigin
) -> None:
    """The row of a fill is gone with its publication; the renewal must not take that for a lost lease."""
    late = LateAnswer(machine.index)
    machine.index.landing = late
    engine = machine.engine()
    origin.put(PATH, BODY)
    engine.start()
    live = await begun(engine, fill_request(origin.url + PATH))
    await late.committed.wait()
    renewed = asyncio.Event()
    renew = machine.index.transfers.renew

    async def noted(*arguments: Any) -> Any:
        gone = await renew(*arguments)
        assert gone == [live.lease]
        asyncio.get_running_loop().call_soon(renewed.set)
        return gone

    machine.index.transfers.renew = noted  # type: ignore[method-assign]
    await renewed.wait()
    await asyncio.sleep(0)
    late.answer.set()
    assert await live.ended() == await machine.record()
    assert await machine.record() is not None
