"""Several processes over one database, and processes that die."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest

from cephstorage.index import SqlIndex
from tests.conformance.index.conftest import BUCKET, NOW, new, request_for

ROOT = Path(__file__).parents[3]


async def start(verb: str, engine: str, place: str, owner: str) -> Process:
    """A worker that has opened the database and waits for the word to go."""
    command = [sys.executable, "-m", "tests.conformance.index.worker", verb, engine, place, owner]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=PIPE, stdout=PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process


async def test_two_processes_share_two_hundred_transfers_without_claiming_one_twice(
    engine: str, place: str, index: SqlIndex
) -> None:
    await index.transfers.create([new(str(number), request_for(f"k{number}")) for number in range(200)], NOW)
    workers = [await start("claim", engine, place, owner) for owner in ("a", "b")]
    outputs = await asyncio.gather(*(worker.communicate(b"go\n") for worker in workers))
    claimed = [line for stdout, _ in outputs for line in stdout.decode().split()]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert sorted(claimed) == sorted(f"id-{number}" for number in range(200))
    assert sorted(await index.transfers.owners()) == sorted(
        owner for owner, (stdout, _) in zip("ab", outputs, strict=True) if stdout
    )


@pytest.mark.parametrize("acknowledged", [1, 40, 90])
async def test_a_killed_writer_loses_nothing_that_it_acknowledged(
    engine: str, place: str, acknowledged: int, index: SqlIndex
) -> None:
    writers = [await start("write", engine, place, owner) for owner in ("a", "b")]
    heard: dict[str, int] = {}
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"go\n")
    for _ in range(acknowledged):
        for writer in writers:
            assert writer.stdout is not None
            note(heard, await writer.stdout.readline())
    for writer in writers:
        writer.kill()
        rest, _ = await writer.communicate()
        for line in rest.splitlines(keepends=True):
            note(heard, line)
    for key, generation in heard.items():
        record = await index.keys.get(BUCKET, key)
        assert record is not None
        assert record.generation >= generation
    assert await index.usage_drift() == []
    assert (await index.buckets.get(BUCKET)).keyamount >= len(heard)


def note(heard: dict[str, int], line: bytes) -> None:
    """Remember one acknowledged landing; a line that was cut off is none."""
    if line.endswith(b"\n"):
        key, generation = line.decode().split()
        heard[key] = int(generation)
