"""What happens between the looks of a check: the real index and store, changed at the very moment."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cephstorage.domain.consistency import Policy, Seen, Verdict
from cephstorage.domain.errors import NotSupported, StoreUnavailable
from cephstorage.domain.events import Following
from cephstorage.domain.findings import Done, Finding, FindingKind, FindingQuery
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import Record, key_validators
from cephstorage.domain.transfers import Kind, Lease, Plan, TransferRequest
from cephstorage.domain.walks import Stage, Walk, WalkKind, WalkStep
from cephstorage.index import SqlIndex, index_at
from cephstorage.ports.ledger import NewTransfer
from cephstorage.ports.store import StoredPage
from cephstorage.services.consistency import Bounds, Checked, Consistency
from cephstorage.services.foreign_deletions import MOST_KEYS, ForeignDeletions
from cephstorage.services.purges import Told
from cephstorage.services.reconciliation import Reconciliation
from cephstorage.services.rehash import Rehash
from cephstorage.services.repairs import Mended
from cephstorage.services.scrub import Scrub
from cephstorage.services.visits import Pace
from cephstorage.services.walks import Course
from cephstorage.store.disk import DiskStore
from cephstorage.transfer.description import planned_object

BUCKET, NOW = BucketName("alice", "photos"), 1e12


class Interrupted(DiskStore):
    """A store in which something happens each time just before a key is looked at.

    ``foreign``: what other clients have done there, newest first, as Ceph lists it; it lies above all else.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.meanwhile: list[Callable[[], Awaitable[object]]] = []
        self.foreign: list[Seen] = []

    async def versions(self, bucket: BucketName, key: str) -> list[Seen]:
        if self.meanwhile:
            await self.meanwhile.pop(0)()
        return [*self.foreign, *await super().versions(bucket, key)]

    async def hide(self, bucket: BucketName, key: str) -> None:
        self.foreign.insert(0, Seen(key, f"m{len(self.foreign)}", written_at=NOW, marker=True))


class Nobody:
    """Neither edges to be told nor sources to ask: what is lost stays lost."""

    async def settle(self, *_: object) -> Told:
        return Told()

    async def mend(self, _: Record) -> Mended:
        return Mended(Done.NOTHING, "")


class World:
    """An index, a store, and the landing of keys step by step."""

    def __init__(self, index: SqlIndex, folder: Path) -> None:
        self.index, self.folder = index, folder
        self.store = Interrupted(folder / "objects")
        nobody, bounds = cast("Any", Nobody()), Bounds(0.0, Policy.ADOPT)
        rehash = Rehash(index.keys, self.store)
        clock, removed = lambda: NOW, lambda: None
        self.consistency = Consistency(
            index.consistency, index.findings, self.store, rehash, nobody, nobody, bounds, clock, removed
        )
        self.number = 0

    async def stored(self) -> Callable[[], Awaitable[Record]]:
        """Store a version of ``k`` that is planned, and not published before what is returned is called."""
        self.number += 1
        body, name = b"x" * self.number, f"t{self.number}"
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
        request = TransferRequest(Kind.FETCH, BUCKET, "k", url="http://origin.example/")
        await self.index.transfers.create([NewTransfer(name, f"token-{name}", request)], NOW)
        assert await self.index.transfers.claim("owner", NOW, NOW + 30)
        lease, version = Lease(name, "owner", 1), self.store.plan_version(name, 1)
        plan = Plan(len(body), digest, "text/plain", 5.0, key_validators(digest, 5.0), version, "upload")
        generation = await self.index.landing.plan(lease, plan, NOW)
        part = self.folder / f"{name}.part"
        part.write_bytes(body)
        await self.store.commit(part, planned_object(request, plan, generation))
        return lambda: self.index.landing.publish(lease, NOW)

    async def put(self) -> Record:
        """Land a version."""
        return await (await self.stored())()

    async def overwrite(self) -> None:
        """Land another version, and remove the one before it at once."""
        await self.put()
        await self.sweep()

    async def delete(self) -> None:
        await self.index.keys.delete(BUCKET, "k", NOW)
        await self.sweep()

    async def sweep(self) -> None:
        removals = await self.index.landing.removals(100)
        for each in removals:
            await self.store.delete(each.bucket, each.key, each.store_version)
        await self.index.landing.removed([each.id for each in removals])

    async def check(self) -> Checked:
        return await self.consistency.check(BUCKET, "k")

    async def record(self) -> Record | None:
        return (await self.index.consistency.known(BUCKET, ["k"]))["k"].record

    async def aftermath(self) -> tuple[int, int]:
        """Findings, and removals that are queued."""
        found = await self.index.findings.listing(FindingQuery())
        return len(found), len(await self.index.landing.removals(100))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    index = index_at("", tmp_path / "cephstorage.db")
    await index.open()
    await index.buckets.create(BUCKET, NOW)
    world = World(index, tmp_path)
    await world.store.create_bucket(BUCKET)
    yield world
    assert await index.usage_drift() == []
    await index.close()


async def test_a_key_that_is_overwritten_meanwhile_is_fine(world: World) -> None:
    await world.put()
    world.store.meanwhile = [world.overwrite]
    assert await world.check() == Checked(Verdict.FINE)
    assert await world.aftermath() == (0, 0)


async def test_a_key_that_is_deleted_meanwhile_is_fine(world: World) -> None:
    await world.put()
    world.store.meanwhile = [world.delete]
    assert await world.check() == Checked(Verdict.FINE)
    assert await world.aftermath() == (0, 0)


async def test_a_key_that_never_keeps_still_is_passing(world: World) -> None:
    await world.put()
    world.store.meanwhile = [world.overwrite] * 3
    assert await world.check() == Checked(Verdict.PASSING)
    assert await world.aftermath() == (0, 0)
    assert await world.check() == Checked(Verdict.FINE)


@pytest.mark.parametrize("there", [False, True])
async def test_what_is_being_stored_meanwhile_is_left_alone(world: World, there: bool) -> None:
    before = await world.put() if there else None
    publish: list[Callable[[], Awaitable[Record]]] = []

    async def begin() -> None:
        publish.append(await world.stored())

    world.store.meanwhile = [begin]
    assert await world.check() == Checked(Verdict.FINE)
    assert await world.index.keys.get(BUCKET, "k") == before
    assert await world.aftermath() == (0, 0)
    after = await publish[0]()
    assert await world.index.keys.get(BUCKET, "k") == after
    await world.sweep()
    assert await world.check() == Checked(Verdict.FINE)


async def test_a_store_without_the_bucket_is_no_reason_to_mend_its_keys(world: World) -> None:
    """An unmounted disk, the keys of another user: everything seems to be gone."""
    await world.put()
    (world.folder / "objects").rename(world.folder / "elsewhere")
    with pytest.raises(StoreUnavailable, match="no bucket"):
        await world.check()
    assert await world.aftermath() == (0, 0)
    (world.folder / "elsewhere").rename(world.folder / "objects")
    assert await world.check() == Checked(Verdict.FINE)


async def test_what_is_only_looked_at_is_noted_and_not_mended(world: World) -> None:
    record = await world.put()
    await world.store.delete(BUCKET, "k", record.store_version)
    assert await world.consistency.check(BUCKET, "k", mend=False) == Checked(Verdict.MISSING, "damaged")
    (finding,) = await world.index.findings.listing(FindingQuery())
    assert (finding.code, finding.done) == ("stored_bytes_missing", Done.NOTHING)
    assert await world.index.keys.get(BUCKET, "k") == record


async def scrub(world: World) -> Course:
    async def note(_: WalkStep) -> None: ...

    walk = Course(Walk(BUCKET, WalkKind.SCRUB, Stage.RECORDS), note)
    await Scrub(world.index.keys, world.index.buckets, world.index.walks, world.consistency, 100.0)(walk)
    return walk


async def test_a_key_whose_bytes_crash_their_reader_ends_no_scrub(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = await world.put()

    async def crash(*_: object) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(world.consistency, "rehash", SimpleNamespace(fault=crash))
    walk = await scrub(world)
    assert (walk.counts["records"], walk.counts["failed"], walk.counts["bytes"]) == (1, 1, 0)
    monkeypatch.undo()
    walk = await scrub(world)
    assert dict(walk.counts) == {"records": 1, "bytes": record.size}


async def listed(world: World) -> list[str]:
    return [each.code for each in await world.index.findings.listing(FindingQuery())]


@pytest.mark.parametrize("again", ["check", "scrub", "another version"])
async def test_what_only_reading_finds_stays_until_the_bytes_are_read_again_or_replaced(
    world: World, again: str
) -> None:
    """Size and time are those of a good file: looking once more without reading tells nothing."""
    record = await world.put()
    (path,) = (world.folder / "objects").rglob("*.t1.1")
    good = path.read_bytes()
    path.write_bytes(b"y" * len(good))
    await scrub(world)
    for _ in range(2):
        assert await world.consistency.check(BUCKET, "k", mend=False) == Checked(Verdict.DIFFERS, "damaged")
        assert await world.check() == Checked(Verdict.DIFFERS, "damaged")
        await scrub(world)
        assert await listed(world) == ["stored_bytes_damaged"]
    path.write_bytes(good)
    if again == "another version":
        await world.overwrite()
        assert await world.consistency.check(BUCKET, "k", mend=False) == Checked(Verdict.FINE, "mended")
    elif again == "scrub":
        await scrub(world)
    else:
        assert await world.check() == Checked(Verdict.DIFFERS, "mended")
        assert await world.index.keys.get(BUCKET, "k") == record
    assert await listed(world) == []
    assert await world.check() == Checked(Verdict.FINE)


async def test_a_file_that_was_cut_and_is_whole_again_is_found_mended_without_reading(world: World) -> None:
    await world.put()
    (path,) = (world.folder / "objects").rglob("*.t1.1")
    good = path.read_bytes()
    path.write_bytes(b"")
    assert await world.check() == Checked(Verdict.DIFFERS, "damaged")
    assert await listed(world) == ["stored_bytes_damaged"]
    path.write_bytes(good)
    assert await world.consistency.check(BUCKET, "k", mend=False) == Checked(Verdict.FINE, "mended")


async def test_a_key_that_is_being_stored_anew_is_not_read_meanwhile(world: World) -> None:
    await world.put()
    (path,) = (world.folder / "objects").rglob("*.t1.1")
    path.write_bytes(b"y")
    await scrub(world)
    publish = await world.stored()
    assert await world.check() == Checked(Verdict.PASSING)
    assert await listed(world) == ["stored_bytes_damaged"]
    await publish()
    await world.sweep()
    assert await world.check() == Checked(Verdict.FINE, "mended")


async def test_a_late_try_of_a_transfer_that_has_ended_is_removed(world: World) -> None:
    record = await world.put()
    (seen,) = await world.store.versions(BUCKET, "k")
    (path,) = (world.folder / "objects").rglob("*.t1.1")
    late = path.with_name(path.name.replace(".t1.1", ".t1.9"))
    late.write_bytes(path.read_bytes())
    late.with_name(f"{late.name}.json").write_bytes(path.with_name(f"{path.name}.json").read_bytes())
    assert await world.check() == Checked(Verdict.LEFTOVER, "removed")
    assert [each.store_version for each in await world.index.landing.removals(9)] == ["t1.9"]
    assert await world.check() == Checked(Verdict.FINE)  # it is on its way out
    await world.sweep()
    assert await world.store.versions(BUCKET, "k") == [replace(seen)]
    assert await world.index.keys.get(BUCKET, "k") == record


async def test_a_version_without_a_record_comes_back_once(world: World) -> None:
    """As after the loss of a part of the database; the transfer is forgotten, too."""
    record = await world.put()
    await world.index.keys.delete(BUCKET, "k", NOW)
    removals = await world.index.landing.removals(9)
    await world.index.landing.removed([each.id for each in removals])
    await world.index.transfers.forget_ended(NOW + 1)
    assert await world.check() == Checked(Verdict.UNKNOWN, "adopted")
    adopted = await world.index.keys.get(BUCKET, "k")
    assert adopted is not None
    assert adopted == replace(record, generation=adopted.generation, validated_at=NOW)
    assert adopted.generation > record.generation
    assert await world.check() == Checked(Verdict.FINE)


STRANGER = Seen("k", "v9", 5, "e", NOW, store_version="s3.e.v9#v9", foreign=True)


async def test_what_was_laid_aside_is_kept_when_others_are_followed_from_then_on(world: World) -> None:
    world.store.foreign = [STRANGER]
    world.consistency.bounds = Bounds(0.0, Policy.QUARANTINE)
    assert await world.check() == Checked(Verdict.UNKNOWN, "quarantined")
    assert await world.aftermath() == (1, 0)
    for policy in Policy:
        world.consistency.bounds = Bounds(0.0, policy)
        await world.check()
        assert await world.aftermath() == (1, 0)
    world.consistency.bounds = Bounds(0.0, Policy.ADOPT)
    del world.store.foreign[1]
    assert await world.check() == Checked(Verdict.FINE, "mended")  # nothing lies there any more


async def test_what_there_is_no_room_to_note_is_not_laid_aside(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cephstorage.services.consistency.MOST_FINDINGS", 0)
    world.store.foreign = [STRANGER]
    world.consistency.bounds = Bounds(0.0, Policy.QUARANTINE)
    assert await world.check() == Checked(Verdict.UNKNOWN, "unknown")
    assert world.store.foreign == [STRANGER]


async def test_a_finding_that_cannot_be_looked_at_keeps_none_of_the_others_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store lacks the bucket of the one that was seen longest ago."""
    monkeypatch.setattr("cephstorage.services.consistency._RECHECKED", 1)
    await world.put()
    lost = BucketName("bob", "lost")
    await world.index.buckets.create(lost, NOW)
    record = await world.index.keys.get(BUCKET, "k")
    assert record is not None
    assert await world.index.consistency.adopt(replace(record, bucket=lost), None, NOW) is not None
    damaged = Finding(lost, "k", FindingKind.DAMAGED, "stored_bytes_missing", Done.NOTHING, "", 0.0, 0.0)
    assert await world.index.findings.keep(damaged, 9)
    assert await world.index.findings.keep(replace(damaged, bucket=BUCKET, seen_at=1.0), 9)
    with pytest.raises(StoreUnavailable, match="no bucket"):
        await world.consistency.look_again()
    await world.consistency.look_again()
    assert [each.bucket for each in await world.index.findings.listing(FindingQuery())] == [lost]


async def test_a_key_whose_look_crashes_ends_no_walk(world: World) -> None:
    record = await world.put()
    await world.store.delete(BUCKET, "k", record.store_version)

    async def crash() -> None:
        raise ZeroDivisionError

    async def note(_: WalkStep) -> None:
        pass

    world.store.meanwhile = [crash]
    course = Course(Walk(BUCKET, WalkKind.RECONCILE, Stage.OBJECTS), note)
    await Reconciliation(world.index.keys, world.index.buckets, world.store, world.consistency, Pace(None))(course)
    assert (course.counts["looked"], course.counts["failed"]) == (1, 1)


@pytest.mark.parametrize(("damaged", "held_back"), [(99, 0), (100, 1)])
async def test_a_walk_that_finds_much_missing_mends_no_more(world: World, damaged: int, held_back: int) -> None:
    record = await world.put()
    await world.store.delete(BUCKET, "k", record.store_version)
    steps: list[WalkStep] = []

    async def note(step: WalkStep) -> None:
        steps.append(step)

    course = Course(Walk(BUCKET, WalkKind.RECONCILE, Stage.OBJECTS, counts={"damaged": damaged}), note)
    reconciliation = Reconciliation(world.index.keys, world.index.buckets, world.store, world.consistency, Pace(None))
    await reconciliation(course)
    assert (course.counts["damaged"], course.counts["held_back"]) == (damaged + 1, held_back)
    assert [step.stage for step in steps] == [Stage.SUMS, Stage.RECORDS]
    assert (await world.aftermath())[0] == 1


class Followed(Interrupted):
    """A store whose listing shows marks of deletion, page by page, and that may be followed."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.pages: list[list[Seen]] = []
        self.told: Following | None = None

    async def page(self, bucket: BucketName, place: str | None) -> StoredPage:
        at = int(place or 0)
        return StoredPage(tuple(self.pages[at]), str(at + 1) if at + 1 < len(self.pages) else None)

    def notifications(self) -> Any:
        return self

    async def following(self, _: BucketName) -> Following | None:
        return self.told


def marked(key: str, *, newest: bool = True) -> Seen:
    return Seen(key, f"m-{key}", written_at=NOW, newest=newest, marker=True)


async def look_for_deletions(world: World, store: Followed, **options: Any) -> Course:
    """A walk from the first page on."""

    async def note(_: WalkStep) -> None: ...

    course = Course(Walk(BUCKET, WalkKind.DELETIONS, Stage.OBJECTS), note)
    parts = {"buckets": world.index.buckets, "store": store, "consistency": world.consistency, "pace": Pace(None)}
    await ForeignDeletions(**{**parts, "repeats": True, **options})(course)
    return course


async def test_what_other_clients_have_deleted_is_looked_for_and_nothing_else_is_touched(world: World) -> None:
    record = await world.put()
    store = Followed(world.folder / "objects")
    world.consistency.store, world.consistency.bounds = store, Bounds(86400.0, Policy.ADOPT)
    store.pages = [
        [marked("never was")],
        [marked("k", newest=False), Seen("k", record.store_version, size=record.size)],
    ]
    course = await look_for_deletions(world, store)
    assert (dict(course.counts), await world.record()) == ({"objects": 1}, record)
    store.foreign = [marked("k")]
    store.pages = [[marked("never was")], [marked("k"), Seen("k", record.store_version, newest=False)]]
    course = await look_for_deletions(world, store)
    assert dict(course.counts) == {"objects": 1, "looked": 1, "dropped": 1}
    assert await world.record() is None


async def test_a_deleted_key_whose_look_crashes_ends_no_walk(world: World) -> None:
    await world.put()
    store = Followed(world.folder / "objects")
    world.consistency.store, world.consistency.bounds = store, Bounds(86400.0, Policy.ADOPT)
    store.foreign, store.pages = [marked("k")], [[marked("k")], [marked("k")]]

    async def crash() -> None:
        raise ZeroDivisionError

    store.meanwhile = [crash]
    course = await look_for_deletions(world, store)
    assert dict(course.counts) == {"objects": 0, "looked": 2, "failed": 1, "dropped": 1}


@pytest.mark.parametrize("policy", [Policy.REPORT, Policy.QUARANTINE])
async def test_nothing_is_looked_for_where_other_clients_are_not_followed(world: World, policy: Policy) -> None:
    await world.put()
    store = Followed(world.folder / "objects")
    store.told = Following("e", removals=False, persistent=False)
    store.foreign, store.pages = [marked("k")], [[marked("k")]]
    world.consistency.bounds = Bounds(0.0, policy)
    course = await look_for_deletions(world, store)
    assert (dict(course.counts), course.rest) == ({}, None)


@pytest.mark.parametrize(
    ("told", "repeats", "keys", "rest"),
    [
        (Following("e", removals=False, persistent=False), True, 1, 5.0),
        (Following("e", removals=False, persistent=False), True, MOST_KEYS + 1, 600.0),
        (Following("e", removals=False, persistent=False), False, 1, None),
        (Following("e", removals=True, persistent=False), True, 1, None),
        (None, True, 1, None),
        (NotSupported("no"), True, 1, None),
    ],
)
async def test_only_buckets_that_are_followed_without_deletions_are_looked_through_again(
    world: World, told: Any, repeats: bool, keys: int, rest: float | None
) -> None:
    class Large:
        async def get(self, bucket: BucketName) -> Any:
            return replace(await world.index.buckets.get(bucket), keyamount=keys)

    class Told(Followed):
        async def following(self, _: BucketName) -> Following | None:
            if isinstance(told, Exception):
                raise told
            return cast("Following | None", told)

    store = Told(world.folder / "objects")
    store.pages = [[Seen("k", "1")]]
    course = await look_for_deletions(world, store, buckets=Large(), repeats=repeats)
    assert course.rest == rest
    assert course.counts["objects"] == (0 if keys > MOST_KEYS else 1)
