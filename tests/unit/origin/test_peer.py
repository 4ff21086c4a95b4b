"""Forwarding to peers: over a socket of this machine where there is one, else to the address in the owner's name."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from cephstorage.domain.errors import OriginUnreachable
from cephstorage.origin.peer import ProcessPeers
from tests.harness.ports import free_port

HEADERS = [("host", "files.example"), ("range", "bytes=0-3"), ("connection", "close"), ("x-own", "a")]
ANSWER = (
    b"HTTP/1.1 206 Partial Content\r\nContent-Length: 4\r\nContent-Range: bytes 0-3/9\r\nX-Accel-Expires: 0\r\n\r\nbody"
)
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answering(answer: bytes, heads: list[str]) -> Handler:
    async def answer_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            heads.append((await reader.readuntil(b"\r\n\r\n")).decode("latin-1"))
            writer.write(answer)
        writer.close()
        await writer.wait_closed()

    return answer_one


@contextlib.asynccontextmanager
async def peers(sockets: dict[str, Path]) -> AsyncIterator[ProcessPeers]:
    made = ProcessPeers(lambda owner: str(sockets[owner]) if owner in sockets else None)
    try:
        yield made
    finally:
        await made.close()


async def test_the_address_in_the_name_is_asked_with_the_request_as_it_is() -> None:
    heads: list[str] = []
    server = await asyncio.start_server(answering(ANSWER, heads), "127.0.0.1", 0)
    async with server, peers({}) as others:
        owner = f"0123456789ab@127.0.0.1:{server.sockets[0].getsockname()[1]}"
        response = await others.forward(owner, "GET", "/a%2Fb//c?x=%7E", HEADERS)
        assert (response.status, response.headers["x-accel-expires"]) == (206, "0")
        assert b"".join([chunk async for chunk in response.chunks()]) == b"body"
        await response.close()
        assert not others.near(owner)
    lines = heads[0].split("\r\n")
    assert lines[0] == "GET /a%2Fb//c?x=%7E HTTP/1.1"
    assert sorted(line.lower() for line in lines[1:] if line) == ["host: files.example", "range: bytes=0-3", "x-own: a"]


async def test_a_socket_of_this_machine_goes_before_the_address(tmp_path: Path) -> None:
    heads: list[str] = []
    server = await asyncio.start_unix_server(answering(ANSWER, heads), tmp_path / "s")
    owner = f"0123456789ab@127.0.0.1:{free_port()}"
    async with server, peers({owner: tmp_path / "s"}) as others:
        assert others.near(owner)
        response = await others.forward(owner, "GET", "/", HEADERS)
        assert response.status == 206
        await response.close()
    assert len(heads) == 1


@pytest.mark.parametrize("owner", ["0123456789ab", "0123456789ab@127.0.0.1:{}"])
async def test_who_has_no_address_or_does_not_listen_is_unreachable(owner: str) -> None:
    async with peers({}) as others:
        with pytest.raises(OriginUnreachable):
            await others.forward(owner.format(free_port()), "GET", "/", HEADERS)


async def test_who_ends_before_it_answers_is_unreachable() -> None:
    heads: list[str] = []
    server = await asyncio.start_server(answering(b"", heads), "127.0.0.1", 0)
    async with server, peers({}) as others:
        with pytest.raises(OriginUnreachable):
            await others.forward(f"x@127.0.0.1:{server.sockets[0].getsockname()[1]}", "GET", "/", HEADERS)
    assert heads
