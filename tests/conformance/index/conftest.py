"""The indexes under test, and short ways to make what the tests need."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeVar

import pytest

from cephstorage.domain.names import BucketName
from cephstorage.domain.records import OriginFacts, Record
from cephstorage.domain.transfers import Kind, Lease, Plan, TransferRequest
from cephstorage.domain.validators import Validators
from cephstorage.index import SqlIndex, index_at
from cephstorage.ports.ledger import NewTransfer
from tests.harness.machines import make_tables
from tests.harness.postgres import Postgres

BUCKET = BucketName("alice", "photos")
OTHER = BucketName("bob", "photos")
OWNER, RIVAL = "owner-1", "owner-2"
NOW = 1000.0
UNTIL = NOW + 30
T = TypeVar("T")

FACTORIES: dict[str, Callable[[str], SqlIndex]] = {
    "sqlite": lambda place: index_at("", Path(place) / "cephstorage.db"),
    "postgresql": lambda place: index_at(place, Path()),
}


@pytest.fixture(params=sorted(FACTORIES))
def engine(request: pytest.FixtureRequest) -> str:
    """The name of the database engine under test."""
    name: str = request.param
    return name


@pytest.fixture
def places(request: pytest.FixtureRequest, engine: str, tmp_path: Path) -> Callable[[], str]:
    """Makes databases of the engine that hold nothing: folders, or addresses."""
    if engine == "sqlite":
        return lambda: mkdtemp(dir=tmp_path)
    postgres: Postgres = request.getfixturevalue("postgres")
    return lambda: postgres.prepared(make_tables)


@pytest.fixture
def place(places: Callable[[], str]) -> str:
    """Where the engine has an empty database for this test."""
    return places()


@pytest.fixture
def factory(engine: str, place: str) -> Callable[[], SqlIndex]:
    """Makes indexes over one database, as several processes would."""
    return lambda: FACTORIES[engine](place)


@pytest.fixture
async def index(factory: Callable[[], SqlIndex]) -> AsyncIterator[SqlIndex]:
    """An open index with one bucket. Whatever the test did, usage is exact at its end."""
    opened = factory()
    await opened.open()
    await opened.buckets.create(BUCKET, NOW)
    yield opened
    drift = await opened.usage_drift()
    await opened.close()
    assert drift == []


@pytest.fixture
async def several(index: SqlIndex, factory: Callable[[], SqlIndex]) -> AsyncIterator[list[SqlIndex]]:
    """Three indexes over one database, as three processes have them; the first is ``index``."""
    others = [factory(), factory()]
    for other in others:
        await other.open()
    yield [index, *others]
    for other in others:
        await other.close()


async def at_once(several: list[SqlIndex], times: int, work: Callable[[SqlIndex, int], Awaitable[T]]) -> list[T]:
    """What comes of doing something so many times at the same moment, by the indexes in turn."""
    return await asyncio.gather(*(work(several[number % len(several)], number) for number in range(times)))


def request_for(key: str, kind: Kind = Kind.FETCH, bucket: BucketName = BUCKET, **fields: object) -> TransferRequest:
    """A request with an origin's URL."""
    url = None if kind is Kind.UPLOAD else f"http://origin.example/{len(key)}"
    return TransferRequest(kind, bucket, key, **{"url": url, **fields})  # type: ignore[arg-type]


def new(name: str, request: TransferRequest, **fields: str) -> NewTransfer:
    """A transfer whose id and token follow from ``name``."""
    return NewTransfer(f"id-{name}", f"token-{name}", request, **fields)


def plan_for(lease: Lease, size: int = 10, **fields: object) -> Plan:
    """A plan whose store version is unique to the attempt."""
    values: dict[str, object] = {
        "size": size,
        "md5": f"{size:032x}",
        "content_type": "text/plain",
        "ts": 5.0,
        "public": Validators(f'"{lease.transfer_id}"', "Thu, 01 Jan 1970 00:00:05 GMT"),
        "store_version": f"{lease.transfer_id}.{lease.fence}",
        "source": "http://origin.example",
        "origin": None,
    }
    return Plan(**{**values, **fields})  # type: ignore[arg-type]


async def begin(index: SqlIndex, name: str, key: str = "k", now: float = NOW, **fields: object) -> Lease:
    """Create a transfer and claim it."""
    await index.transfers.create([new(name, request_for(key, **fields))], now)  # type: ignore[arg-type]
    transfer = await index.transfers.claim(OWNER, now, now + 30)
    assert transfer is not None
    assert transfer.id == f"id-{name}"
    return Lease(transfer.id, OWNER, transfer.fence)


async def begin_fill(index: SqlIndex, name: str, key: str = "k", **fields: object) -> Lease:
    """Take the fill slot of a key."""
    slot = await index.transfers.begin_fill(new(name, request_for(key, Kind.FILL, **fields)), OWNER, NOW, UNTIL)  # type: ignore[arg-type]
    assert slot.lease is not None
    return slot.lease


async def land(index: SqlIndex, name: str, key: str = "k", size: int = 10, **fields: object) -> Record:
    """Carry a key through to its record."""
    lease = await begin(index, name, key)
    assert await index.landing.plan(lease, plan_for(lease, size, **fields), NOW)
    return await index.landing.publish(lease, NOW)


async def removal_versions(index: SqlIndex) -> list[str]:
    """The store versions that are queued for removal."""
    return [removal.store_version for removal in await index.landing.removals(1000)]


FACTS = OriginFacts("/a?b", (("X-A", "1"), ("X-A", "2")), Validators('W/"o"', None), "Thu, 01 Jan 1970 00:00:09 GMT")
