"""A process of its own over a database, for the tests of what processes share.

python -m tests.conformance.index.worker claim <factory> <place> <owner>   claims until nothing is due; prints ids
python -m tests.conformance.index.worker write <factory> <place> <owner>   lands keys for ever; prints each one
"""

import asyncio
import itertools
import sys

from cephstorage.domain.transfers import Kind, Lease
from cephstorage.index import SqlIndex
from tests.conformance.index.conftest import FACTORIES, NOW, UNTIL, new, plan_for, request_for


async def claim(index: SqlIndex, owner: str) -> None:
    """Claim all that is due, eight at a time."""

    async def one() -> None:
        while (transfer := await index.transfers.claim(owner, NOW, UNTIL)) is not None:
            print(transfer.id, flush=True)

    await asyncio.gather(*(one() for _ in range(8)))


async def write(index: SqlIndex, owner: str) -> None:
    """Land keys, some of them again and again, and say so when each is acknowledged."""

    async def one(number: int) -> None:
        for turn in itertools.count():
            key = f"{owner}/{number}/{turn % 5}" if turn % 2 else f"{owner}/{number}/new-{turn}"
            upload = new(f"{owner}-{number}-{turn}", request_for(key, Kind.UPLOAD))
            plan = plan_for(Lease(upload.id, owner, 1), turn)
            lease = await index.transfers.begin_upload(upload, plan, owner, NOW, UNTIL)
            await index.landing.plan(lease, plan, NOW)
            record = await index.landing.publish(lease, NOW)
            print(key, record.generation, flush=True)

    await asyncio.gather(*(one(number) for number in range(4)))


async def main(verb: str, factory: str, place: str, owner: str) -> None:
    """Open the index, wait for the word to go, work."""
    index = FACTORIES[factory](place)
    await index.open()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await {"claim": claim, "write": write}[verb](index, owner)
    await index.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
