"""Answers that another process, or an origin, sends through us: what becomes of them when somebody is slow or lies."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from cephstorage.domain.errors import OriginBroken, OriginProtocol
from cephstorage.domain.handover import EdgeAsk
from cephstorage.domain.names import BucketName
from cephstorage.origin.peer import ProcessPeers
from cephstorage.proxy.exchange import Exchange, Message
from cephstorage.proxy.forward import Forwarding
from cephstorage.proxy.passthrough import hand_on
from tests.harness.content import MIB, Content
from tests.harness.origin import FaultOrigin

BODY = Content(5, 8 * MIB)
PATH = "/k"


@dataclass
class Client:
    """Who asks; it takes nothing of the body before ``takes`` is set."""

    takes: asyncio.Event = field(default_factory=asyncio.Event)
    stands: asyncio.Event = field(default_factory=asyncio.Event)
    heads: list[int] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)

    async def receive(self) -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.heads.append(message["status"])
            return
        self.stands.set()
        await self.takes.wait()
        self.body += message["body"]

    def exchange(self, edge: EdgeAsk | None = None) -> Exchange:
        scope = {"method": "GET", "raw_path": PATH.encode(), "query_string": b"", "headers": ()}
        made = Exchange(scope, self.receive, self.send)
        made.edge = edge
        return made


class NobodyFills:
    """The ledger of a key whose fill is over."""

    async def fill_owner(self, *_: Any) -> str | None:
        return None


@pytest.fixture
async def peers() -> AsyncIterator[ProcessPeers]:
    made = ProcessPeers(lambda _: None)
    yield made
    await made.close()


def owner(origin: FaultOrigin) -> str:
    """The process that fills the key, played by an origin."""
    return f"owner@{origin.host}:{origin.port}"


async def test_a_client_that_rests_is_not_taken_for_a_sender_that_is_gone(
    origin: FaultOrigin, peers: ProcessPeers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer can't be gone on with by anybody else: a weak ETag joins nothing."""
    monkeypatch.setattr("cephstorage.proxy.forward._OWNED_EVERY", 0.01)
    origin.put(PATH, BODY, etag='W/"weak"')
    client = Client()
    forwarding = Forwarding(peers, NobodyFills(), "me", lambda: 0.0)  # type: ignore[arg-type]
    asking = asyncio.create_task(forwarding.ask(client.exchange(), BucketName("alice", "photos"), "k", owner(origin)))
    await client.stands.wait()
    await asyncio.sleep(0.2)  # for many looks at it
    client.takes.set()
    async with asyncio.timeout(30):
        assert await asking
    assert bytes(client.body) == BODY.read()


@pytest.mark.parametrize(("body", "error"), [(b"x" * 30, OriginProtocol), (b"x" * 9, OriginBroken)])
async def test_a_slice_is_as_long_as_its_place_or_none(
    origin: FaultOrigin, peers: ProcessPeers, body: bytes, error: type[Exception]
) -> None:
    """The edge would put it beside the next one, and takes no more memory than a slice has."""
    head = b'HTTP/1.1 206 Partial Content\r\nETag: "a"\r\nContent-Range: bytes 0-9/100\r\nTransfer-Encoding: chunked\r\n\r\n'
    origin.put(PATH, raw=head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    client = Client()
    client.takes.set()
    response = await peers.forward(owner(origin), "GET", PATH, ())
    with pytest.raises(error):
        await hand_on(client.exchange(EdgeAsk(slice=True)), response, [])
    assert client.heads == []
