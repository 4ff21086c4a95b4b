"""How events are acted upon: each key is looked at after the last event about it, and nothing is answered before."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from cephstorage.domain.consistency import Verdict
from cephstorage.domain.errors import AccessDenied, InvalidInput, StoreUnavailable, Unavailable
from cephstorage.domain.events import PROBE_PREFIX, token_of
from cephstorage.domain.names import BucketName
from cephstorage.index import SqlIndex, index_at
from cephstorage.services.consistency import Checked, Consistency
from cephstorage.services.events import Events
from cephstorage.services.sealing import Seal, SealedSettings
from cephstorage.store.disk import DiskStore

BUCKET = BucketName("alice", "photos")


@dataclass
class Looks:
    """Stands for the check of a key: notes who was looked at, waits for leave, and says what it is told to say."""

    verdicts: list[Verdict | Exception] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    leave: asyncio.Event = field(default_factory=asyncio.Event)

    async def check(self, bucket: BucketName, key: str, *, hinted: bool) -> Checked:
        assert (bucket, hinted) == (BUCKET, True)
        self.begun.append(key)
        await self.leave.wait()
        verdict = self.verdicts.pop(0) if self.verdicts else Verdict.FINE
        if isinstance(verdict, Exception):
            raise verdict
        return Checked(verdict)

    async def until(self, count: int) -> None:
        await until(lambda: len(self.begun) >= count)


async def until(reached: Callable[[], bool]) -> None:
    """Let others go on until it is so."""
    async with asyncio.timeout(60):
        while not reached():  # noqa: ASYNC110 - they tell nobody
            await asyncio.sleep(0.001)


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[SqlIndex]:
    opened = index_at("", tmp_path / "cephstorage.db")
    await opened.open()
    await opened.buckets.create(BUCKET, 1.0)
    yield opened
    await opened.close()


@pytest.fixture
def looks() -> Looks:
    return Looks()


@pytest.fixture
async def make(index: SqlIndex, looks: Looks, tmp_path: Path) -> AsyncIterator[Callable[..., Events]]:
    made: list[Events] = []

    def events(**options: Any) -> Events:
        sealed = SealedSettings(index.settings, Seal(["k" * 32]))
        parts = (DiskStore(tmp_path / "objects"), index.consistency, index.buckets, cast("Consistency", looks), sealed)
        made.append(Events(*parts, index.settings, index.series, index.walks, lambda: 1000.0, **options))
        return made[-1]

    yield events
    for each in made:
        await each.stop()


def body(*keys: str) -> bytes:
    records = [
        {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": str(BUCKET)}, "object": {"key": key}}}
        for key in keys
    ]
    return json.dumps({"Records": records}).encode()


async def test_a_storm_about_one_key_costs_two_looks(make: Callable[..., Events], looks: Looks) -> None:
    """One that runs, and one that begins after the last event; every sender waits for the second."""
    waiting: list[str] = []
    events = make(patience=60, count=lambda meaning, _: waiting.append(meaning))
    first = asyncio.create_task(events.take(BUCKET, body("k")))
    await looks.until(1)
    storm = [asyncio.create_task(events.take(BUCKET, body("k", "k"))) for _ in range(50)]
    await until(lambda: waiting.count("known") == 51)
    assert not any(task.done() for task in (first, *storm))
    looks.leave.set()
    await asyncio.gather(first, *storm)
    assert looks.begun == ["k", "k"]
    await events.take(BUCKET, body("k"))
    assert looks.begun == ["k", "k", "k"]


async def test_what_takes_too_long_goes_on_and_is_not_answered_well(make: Callable[..., Events], looks: Looks) -> None:
    events = make(patience=0.01)
    with pytest.raises(Unavailable, match="longer"):
        await events.take(BUCKET, body("k"))
    with pytest.raises(Unavailable):
        await events.take(BUCKET, body("k"))
    assert looks.begun == ["k"]
    looks.leave.set()
    await looks.until(2)


async def test_a_store_that_fails_is_told_and_the_rest_is_looked_at(make: Callable[..., Events], looks: Looks) -> None:
    counted: dict[str, int] = {}
    events = make(patience=60, count=lambda meaning, number: counted.update({meaning: number}))
    looks.leave.set()
    looks.verdicts = [StoreUnavailable("Ceph is gone.")]
    with pytest.raises(Unavailable, match=r"Ceph is gone\."):
        await events.take(BUCKET, body("a", "b"))
    assert sorted(looks.begun) == ["a", "b"]
    assert counted == {"known": 0, "strange": 0, "checked": 1, "unsettled": 1}


@pytest.mark.parametrize("error", [InvalidInput("A text holds NUL."), ZeroDivisionError()])
async def test_what_coming_again_does_not_help_is_left_to_the_reconciler(
    make: Callable[..., Events], looks: Looks, error: Exception
) -> None:
    """Who pushes would send it again for ever, and all that comes after it would wait."""
    events = make(patience=60)
    looks.leave.set()
    looks.verdicts = [error]
    seen = await events.take(BUCKET, body("k"))
    assert (seen.checked, looks.begun) == (1, ["k"])


async def test_a_key_that_our_own_transfer_works_on_is_looked_at_again(
    make: Callable[..., Events], looks: Looks
) -> None:
    events = make(patience=60, again=(0.0, 0.0, 0.0, 0.0))
    looks.leave.set()
    looks.verdicts = [Verdict.PASSING, Verdict.PASSING, Verdict.UNKNOWN]
    await events.take(BUCKET, body("k"))
    await looks.until(3)
    await events.take(BUCKET, body("other"))
    assert looks.begun == ["k", "k", "k", "other"]


async def test_an_awaited_probe_is_noted_and_looked_at_by_nobody(
    make: Callable[..., Events], looks: Looks, index: SqlIndex
) -> None:
    looks.leave.set()
    awaited, other = f"{PROBE_PREFIX}abc", f"{PROBE_PREFIX}a client's own key"
    await index.settings.put(f"events_probe:{awaited}", "awaited")
    events = make()
    seen = await events.take(BUCKET, body(awaited, other))
    assert (seen.checked, looks.begun) == (1, [other])
    await events.take(BUCKET, body(awaited))  # again, before the probe has taken its object away
    assert looks.begun == [other]
    kept = await index.settings.all()
    assert {name: value for name, value in kept.items() if name.startswith("events_probe")} == {
        f"events_probe:{awaited}": "seen"
    }


async def test_nobody_is_admitted_before_there_is_a_secret_and_then_everywhere(make: Callable[..., Events]) -> None:
    one, two = make(), make()
    with pytest.raises(AccessDenied):
        await two.admit(BUCKET, token_of(BUCKET, ""))
    secret = await one.sealed.made("events_secret")
    for events in (one, two):
        await events.admit(BUCKET, token_of(BUCKET, secret))
        with pytest.raises(AccessDenied):
            await events.admit(BUCKET, token_of(BUCKET, ""))


async def test_the_last_event_is_known_to_every_process(make: Callable[..., Events], looks: Looks) -> None:
    looks.leave.set()
    one, two = make(), make()
    assert await two.last_events() == {}
    await one.take(BUCKET, body("k"))
    assert await one.last_events() == {str(BUCKET): 1000.0}
    assert await two.last_events(BUCKET) == {str(BUCKET): 600.0}
