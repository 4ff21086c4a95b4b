"""The way of a body past the client library: the same bytes and the same errors, and the connection stays usable."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from cephstorage.domain.addresses import parse_networks
from cephstorage.domain.errors import OriginBroken, OriginTimeout
from cephstorage.origin.http import HttpOrigin, HttpOriginResponse
from cephstorage.origin.passage import WORTH_IT, SplicedBody
from cephstorage.ports.origin import OriginRequest
from tests.harness.behaviour import Gate
from tests.harness.content import MIB, Content
from tests.harness.guarding import WatchedGuard
from tests.harness.origin import FaultOrigin

BODY = Content(seed=3, size=5 * MIB + 17)


@pytest.fixture
async def client(origin: FaultOrigin) -> AsyncIterator[HttpOrigin]:
    guard = WatchedGuard(parse_networks(["127.0.0.0/8"]), [origin.port])
    made = HttpOrigin(
        guard, connect_timeout=30, read_timeout=0.3, user_agent="tester/1", via_name="mirror-1", limit_per_host=8
    )
    await made.start()
    yield made
    await made.close()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[BinaryIO]:
    with (tmp_path / "spool").open("w+b", buffering=0) as opened:
        yield opened


async def opened(client: HttpOrigin, origin: FaultOrigin) -> tuple[HttpOriginResponse, SplicedBody]:
    response = await client.open(OriginRequest(f"{origin.url}/a"))
    passage = response.passage()
    assert passage is not None
    return response, passage


async def moved(passage: SplicedBody, file: BinaryIO, most: int = MIB, counts: list[int] | None = None) -> int:
    """Move the body to its end; where that is. ``counts`` gets each step, however it ends."""
    counts = [] if counts is None else counts
    while await passage.ready():
        counts.append(await asyncio.to_thread(passage.move, file.fileno(), sum(counts), most))
    return sum(counts)


@pytest.mark.parametrize("most", [4099, 300_000, 8 * MIB])
async def test_the_body_arrives_whole_and_the_connection_serves_again(
    origin: FaultOrigin, client: HttpOrigin, file: BinaryIO, most: int
) -> None:
    origin.put("/a", BODY)
    for _ in range(3):
        response, passage = await opened(client, origin)
        assert await moved(passage, file, most=most) == BODY.size
        await response.close()
        file.seek(0)
        assert file.read() == BODY.read()
    assert origin.connections_accepted() == 1


async def test_what_the_library_had_read_goes_first(origin: FaultOrigin, client: HttpOrigin, file: BinaryIO) -> None:
    gate = Gate()
    origin.put("/a", BODY, gate=gate, gate_after=MIB)
    response = await client.open(OriginRequest(f"{origin.url}/a"))
    content = response._answer.content
    while content.total_bytes == 0:  # noqa: ASYNC110 - it tells nobody who does not read
        await asyncio.sleep(0.001)
    passage = response.passage()
    assert passage is not None
    gate.set()
    assert await moved(passage, file) == BODY.size
    await response.close()
    file.seek(0)
    assert file.read() == BODY.read()


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_what_came_before_the_connection_broke_is_kept(
    origin: FaultOrigin, client: HttpOrigin, file: BinaryIO, how: str
) -> None:
    origin.put("/a", BODY, die_after=2 * MIB + 5, how=how, die_times=1)
    response, passage = await opened(client, origin)
    counts: list[int] = []
    with pytest.raises(OriginBroken, match="before the body was whole"):
        await moved(passage, file, counts=counts)
    await response.close()
    assert sum(counts) == 2 * MIB + 5
    file.seek(0)
    assert file.read() == BODY.read(0, 2 * MIB + 5)
    response, passage = await opened(client, origin)
    assert await moved(passage, file) == BODY.size
    await response.close()
    assert origin.connections_accepted() == 2


async def test_silence_in_the_body(origin: FaultOrigin, client: HttpOrigin, file: BinaryIO) -> None:
    gate = Gate()
    origin.put("/a", BODY, gate=gate, gate_after=MIB)
    response, passage = await opened(client, origin)
    with pytest.raises(OriginTimeout, match="fell silent"):
        await moved(passage, file)
    await response.close()
    gate.set()


async def test_an_answer_closed_half_way_drops_its_connection(
    origin: FaultOrigin, client: HttpOrigin, file: BinaryIO
) -> None:
    origin.put("/a", BODY)
    response, passage = await opened(client, origin)
    assert await passage.ready()
    assert await asyncio.to_thread(passage.move, file.fileno(), 0, 100) == 100
    await response.close()
    with pytest.raises(OriginBroken):
        passage.move(file.fileno(), 100, 100)
    response, passage = await opened(client, origin)
    assert await moved(passage, file) == BODY.size
    await response.close()
    assert origin.connections_accepted() == 2


async def test_a_file_that_can_not_be_written_is_no_fault_of_the_origin(
    origin: FaultOrigin, client: HttpOrigin, tmp_path: Path
) -> None:
    origin.put("/a", BODY)
    (tmp_path / "spool").touch()
    response, passage = await opened(client, origin)
    with (tmp_path / "spool").open("rb") as unwritable, pytest.raises(OSError, match="Bad file descriptor"):
        await moved(passage, unwritable)
    await response.close()


@pytest.mark.parametrize(
    ("framing", "size"), [("chunked", BODY.size), ("close", BODY.size), ("length", WORTH_IT - 1), ("length", 0)]
)
async def test_other_bodies_have_no_such_way(origin: FaultOrigin, client: HttpOrigin, framing: str, size: int) -> None:
    body = Content(1, size)
    origin.put("/a", body, framing=framing)
    response = await client.open(OriginRequest(f"{origin.url}/a"))
    assert response.passage() is None
    assert b"".join([piece async for piece in response.chunks()]) == body.read()
    await response.close()
