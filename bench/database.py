"""What an operation costs on PostgreSQL against SQLite: ``python -m bench.database``.

Medians of interleaved rounds, both databases durable, on this machine's disk and loopback. A ratio above 1
means that PostgreSQL takes longer.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

from tests.harness.postgres import Postgres

from cephstorage.domain.names import BucketName
from cephstorage.domain.transfers import Kind, Lease, Plan, TransferRequest
from cephstorage.domain.validators import Validators
from cephstorage.index import SqlIndex, index_at
from cephstorage.index.last_known import LastKnownKeys
from cephstorage.index.remembered import RememberedKeys
from cephstorage.ports.ledger import NewTransfer

BUCKET = BucketName("bench", "database")
GETS, LANDINGS, CLIENTS = 400, 60, 16
Work = Callable[[SqlIndex, str], Awaitable[int]]


async def get(index: SqlIndex, _: str) -> int:
    """Records asked for one after the other, past what is remembered."""
    keys = index.keys
    assert isinstance(keys, RememberedKeys | LastKnownKeys)
    for number in range(GETS):
        await keys._keys.get(BUCKET, f"k{number % 50}")  # noqa: SLF001 - beneath what is remembered
    return GETS


async def hit(index: SqlIndex, _: str) -> int:
    """Records asked for as a store hit does."""
    for number in range(GETS):
        await index.keys.get(BUCKET, f"k{number % 50}")
    return GETS


async def gets_at_once(index: SqlIndex, _: str) -> int:
    """The same by several clients at once."""
    await asyncio.gather(*(get(index, "") for _ in range(4)))
    return 4 * GETS


async def land(index: SqlIndex, name: str) -> None:
    """A creation from its request to its record: four durable or relaxed transactions."""
    request = TransferRequest(Kind.FETCH, BUCKET, name, "http://origin.example/")
    await index.transfers.create([NewTransfer(name, f"t{name}", request)], 0.0)
    transfer = await index.transfers.claim("bench", 1.0, 1e12)
    assert transfer is not None
    lease = Lease(transfer.id, "bench", transfer.fence)
    validators = Validators('"e"', "Thu, 01 Jan 1970 00:00:05 GMT")
    plan = Plan(1, "0" * 32, "text/plain", 1.0, validators, f"{transfer.id}.{transfer.fence}", "http://o.example")
    await index.landing.plan(lease, plan, 1.0)
    await index.landing.publish(lease, 1.0)


async def land_alone(index: SqlIndex, turn: str) -> int:
    """Landings one after the other."""
    for number in range(LANDINGS):
        await land(index, f"{turn}-{number}")
    return LANDINGS


async def land_at_once(index: SqlIndex, turn: str) -> int:
    """Landings of many clients, in one bucket."""

    async def client(number: int) -> None:
        for each in range(LANDINGS // 4):
            await land(index, f"{turn}-{number}-{each}")

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return CLIENTS * (LANDINGS // 4)


WORKS: dict[str, Work] = {
    "a record from the database, one client": get,
    "a record from the database, 4 clients": gets_at_once,
    "a record as a store hit asks for it": hit,
    "create, claim, plan, publish, one client": land_alone,
    f"create, claim, plan, publish, {CLIENTS} clients": land_at_once,
}


async def measure(rounds: int) -> None:
    """Print microseconds per operation and their ratio."""
    with closing(Postgres(durable=True)) as server, tempfile.TemporaryDirectory(prefix="cephstorage-bench-") as folder:
        indexes = {
            "sqlite": index_at("", Path(folder) / "cephstorage.db"),
            "postgresql": index_at(server.fresh(), Path()),
        }
        for index in indexes.values():
            await index.open()
            await index.buckets.create(BUCKET, 0.0)
            for number in range(50):
                await land(index, f"k{number}")
        for what, work in WORKS.items():
            took: dict[str, list[float]] = {name: [] for name in indexes}
            for turn in range(rounds):
                for name, index in indexes.items():
                    begun = time.perf_counter()
                    count = await work(index, f"{turn}-{what[-9:]}")
                    took[name].append((time.perf_counter() - begun) / count * 1e6)
            sqlite, postgresql = (statistics.median(took[name]) for name in ("sqlite", "postgresql"))
            ratio = postgresql / sqlite
            print(
                f"{what:45}  SQLite {sqlite:7.0f} us  PostgreSQL {postgresql:7.0f} us  ratio {ratio:5.2f}", flush=True
            )
        for index in indexes.values():
            await index.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    asyncio.run(measure(parser.parse_args().rounds))
