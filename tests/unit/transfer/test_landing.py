"""What a landing plans: names, times, validators, and a source that shows no secret."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cephstorage.domain.errors import CephStorageError, StoreFull, StoreUnavailable
from cephstorage.domain.records import OriginFacts, Record
from cephstorage.domain.serialise import from_json
from cephstorage.domain.transfers import Kind, Lease, Plan, SourceFacts, TransferRequest
from cephstorage.domain.validators import Validators
from cephstorage.index import SqliteIndex
from cephstorage.ports.ledger import NewTransfer
from cephstorage.ports.store import Note, StoredObject
from cephstorage.store.disk import DiskStore
from cephstorage.transfer.description import planned_object
from cephstorage.transfer.landing import Landing, public_source
from cephstorage.transfer.spool import Spool
from cephstorage.transfer.spools import SpoolDirectory
from tests.unit.transfer.conftest import BUCKET, fill_request

NOW = 1000.0
MD5 = "0" * 32
LEASE = Lease("abc", "owner", 7)
ORIGIN = OriginFacts("/k?v=1", (("X-A", "1"),), Validators('W/"o"'), None)


def plan(folder: Path, request: TransferRequest, source: SourceFacts | None = None) -> Plan:
    landing = Landing(DiskStore(folder), SqliteIndex(folder / "index").landing, lambda: NOW)
    return landing.plan(request, source, LEASE, 10, MD5)


def source(origin: OriginFacts | None = None, **fields: Any) -> SourceFacts:
    values: dict[str, Any] = {"public": Validators(), "content_type": "image/jpeg", **fields}
    return SourceFacts("http://origin.example/k", 10, '"r"', origin=origin, **values)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://origin.example/a/b", "http://origin.example/a/b"),
        ("https://user:secret@origin.example:8443/a", "https://origin.example:8443/a"),
        ("https://secret-token@origin.example/a", "https://origin.example/a"),
        ("https://user:p%40ss@word@origin.example/a", "https://origin.example/a"),
        ("https://origin.example/a?signature=secret&x=1", "https://origin.example/a"),
        ("https://origin.example/a#secret", "https://origin.example/a"),
        ("https://user:secret@origin.example?mail=a@b", "https://origin.example"),
        ("https://user:secret@[2001:db8::1]:443/a?token=secret", "https://[2001:db8::1]:443/a"),
        (None, "upload"),
    ],
)
def test_the_source_hides_credentials(url: str | None, shown: str) -> None:
    request = TransferRequest(Kind.FETCH if url else Kind.UPLOAD, BUCKET, "k", url=url)
    assert public_source(request) == shown


def test_an_upload(tmp_path: Path) -> None:
    planned = plan(tmp_path, TransferRequest(Kind.UPLOAD, BUCKET, "k", content_type="text/html", timetag=5.5))
    assert (planned.size, planned.md5, planned.content_type, planned.ts) == (10, MD5, "text/html", 5.5)
    assert planned.public == Validators(f'"{MD5}"', "Thu, 01 Jan 1970 00:00:05 GMT")
    assert (planned.source, planned.origin) == ("upload", None)


def test_an_upload_without_words(tmp_path: Path) -> None:
    planned = plan(tmp_path, TransferRequest(Kind.UPLOAD, BUCKET, "k"))
    assert (planned.content_type, planned.ts) == ("application/octet-stream", NOW)


def test_a_key_from_a_url_has_validators_of_its_own(tmp_path: Path) -> None:
    request = TransferRequest(Kind.FETCH, BUCKET, "k", url="http://u:p@origin.example/k?s=1", timetag=0.0)
    planned = plan(tmp_path, request, source())
    assert (planned.ts, planned.content_type) == (0.0, "image/jpeg")
    assert planned.public == Validators(f'"{MD5}"', "Thu, 01 Jan 1970 00:00:00 GMT")
    assert planned.source == "http://origin.example/k"
    assert planned.origin is None


def test_a_mirrored_key_keeps_what_its_readers_were_shown(tmp_path: Path) -> None:
    shown = Validators('W/"o"', None)
    planned = plan(tmp_path, fill_request("http://origin.example/k"), source(ORIGIN, public=shown))
    assert (planned.public, planned.origin) == (shown, ORIGIN)


@pytest.mark.parametrize(
    ("server", "url"),
    [
        ("", "http://origin.example/files/k"),
        ("http://origin.example/files", "http://origin.example/files/k"),
        ("https://spare.example/f", "https://spare.example/f/k"),
    ],
)
def test_the_source_is_the_origin_that_has_answered(tmp_path: Path, server: str, url: str) -> None:
    asked = replace(fill_request("http://origin.example/files/k?v=1"), target="/k?v=1")
    assert plan(tmp_path, asked, replace(source(ORIGIN), server=server)).source == url


def test_the_version_belongs_to_the_attempt(tmp_path: Path) -> None:
    planned = plan(tmp_path, TransferRequest(Kind.UPLOAD, BUCKET, "k"))
    assert planned.store_version == DiskStore(tmp_path).plan_version(LEASE.transfer_id, LEASE.fence)


def test_the_store_is_told_all_that_a_record_needs_and_no_secret(tmp_path: Path) -> None:
    request = fill_request("http://user:secret@origin.example/k?signature=secret", key="a//b")
    planned = plan(tmp_path, request, source(ORIGIN, public=Validators('"e"', "Thu, 01 Jan 1970 00:00:09 GMT")))
    told = planned_object(request, planned, 3)
    assert (told.bucket, told.key, told.store_version, told.size, told.md5) == (
        BUCKET, "a//b", planned.store_version, 10, MD5,
    )  # fmt: skip
    facts = told.metadata.pop("origin")
    assert from_json(OriginFacts, facts, target="/k?v=1") == ORIGIN
    assert told.metadata == {
        "content_type": "image/jpeg",
        "timetag": repr(NOW),
        "source": "http://origin.example/k",
        "etag": '"e"',
        "last_modified": "Thu, 01 Jan 1970 00:00:09 GMT",
        "target": "/k?v=1",
        "generation": "3",
    }
    assert "secret" not in f"{told!r} {facts}"


# -- a store that fails


class Failing(DiskStore):
    """Fails so many times before it works; a try may have stored the bytes nevertheless."""

    def __init__(self, root: Path, times: int, error: type[CephStorageError] = StoreUnavailable) -> None:
        super().__init__(root)
        self.times, self.error, self.seen = times, error, list[str]()

    async def commit(self, part: Path, planned: StoredObject, note: Note | None = None) -> str:
        self.seen.append(planned.store_version)
        if note is not None and len(self.seen) == 1:
            await note(f"{planned.store_version}#upload/u")
        if self.times:
            self.times -= 1
            raise self.error("away")
        await super().commit(part, planned, note)
        return f"{planned.store_version.partition('#')[0]}#v"

    def strays(self, store_version: str) -> str:  # type: ignore[override]
        return f"besides {store_version}"


@dataclass
class Scene:
    """A verified upload that is about to land on a store."""

    index: SqliteIndex
    store: Failing
    landing: Landing
    spool: Spool
    lease: Lease
    plan: Plan

    async def land(self, patience: float = 60.0, *, again: bool = False) -> Record:
        return await self.landing.land(REQUEST, self.lease, self.spool, self.plan, patience, again=again)

    async def removals(self) -> list[str]:
        return [removal.store_version for removal in await self.index.landing.removals(10)]


REQUEST = TransferRequest(Kind.UPLOAD, BUCKET, "k")
BODY = b"0123456789"


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Callable[[Failing], Awaitable[Scene]]]:
    async with AsyncExitStack() as stack:

        async def make(store: Failing) -> Scene:
            index = SqliteIndex(tmp_path / "index")
            await index.open()
            stack.push_async_callback(index.close)
            await index.buckets.create(BUCKET, NOW)
            await store.create_bucket(BUCKET)
            landing = Landing(store, index.landing, time.time, lambda: 0.0)
            spool = SpoolDirectory(tmp_path / "spool", 1 << 30).open("abc")
            stack.callback(spool.close)
            await spool.put(0, BODY)
            spool.publish(0, len(BODY))
            planned = landing.plan(REQUEST, None, Lease("abc", "owner", 1), len(BODY), MD5)
            new = NewTransfer("abc", "token", REQUEST)
            lease = await index.transfers.begin_upload(new, planned, "owner", time.time(), time.time() + 600)
            return Scene(index, store, landing, spool, lease, planned)

        yield make


async def test_a_store_that_works_is_asked_once_and_leaves_no_strays(
    scene: Callable[[Failing], Awaitable[Scene]], tmp_path: Path
) -> None:
    made = await scene(Failing(tmp_path / "objects", 0))
    record = await made.land()
    assert (record.store_version, len(made.store.seen)) == ("abc.1#v", 1)
    assert await made.removals() == []


async def test_a_store_that_fails_is_asked_again_with_what_was_noted(
    scene: Callable[[Failing], Awaitable[Scene]], tmp_path: Path
) -> None:
    made = await scene(Failing(tmp_path / "objects", 2))
    record = await made.land()
    assert record.store_version == "abc.1#v"
    assert made.store.seen == ["abc.1", "abc.1#upload/u", "abc.1#upload/u"]
    assert await made.removals() == ["besides abc.1#v"]


async def test_whoever_lands_again_removes_strays(scene: Callable[[Failing], Awaitable[Scene]], tmp_path: Path) -> None:
    made = await scene(Failing(tmp_path / "objects", 0))
    await made.land(again=True)
    assert await made.removals() == ["besides abc.1#v"]


async def test_patience_ends_with_a_time_to_come_back(
    scene: Callable[[Failing], Awaitable[Scene]], tmp_path: Path
) -> None:
    made = await scene(Failing(tmp_path / "objects", 1000))
    with pytest.raises(StoreUnavailable) as caught:
        await made.land(0.0)
    assert caught.value.retry_after
    assert len(made.store.seen) > 1
    assert await made.index.keys.get(BUCKET, "k") is None


async def test_a_full_store_is_not_waited_for(scene: Callable[[Failing], Awaitable[Scene]], tmp_path: Path) -> None:
    made = await scene(Failing(tmp_path / "objects", 1000, StoreFull))
    with pytest.raises(StoreFull):
        await made.land()
    assert len(made.store.seen) == 1


async def test_a_stop_ends_the_waiting(scene: Callable[[Failing], Awaitable[Scene]], tmp_path: Path) -> None:
    made = await scene(Failing(tmp_path / "objects", 1000))
    landing = asyncio.create_task(made.land(3600.0))
    async with asyncio.timeout(60):
        while not made.landing.waits:  # noqa: ASYNC110 - it says so itself
            await asyncio.sleep(0)
    made.landing.hurry()
    with pytest.raises(StoreUnavailable):
        await landing
    assert not made.landing.waits
