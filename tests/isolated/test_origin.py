"""Redirects to forbidden addresses: refused before a socket is made for them."""

from collections.abc import AsyncIterator

import pytest

from cephstorage.domain.addresses import parse_networks
from cephstorage.domain.errors import ForbiddenAddress
from cephstorage.origin.http import HttpOrigin
from cephstorage.origin.webhooks import HttpWebhooks
from cephstorage.ports.origin import OriginRequest
from tests.harness.guarding import WatchedGuard
from tests.harness.origin import FaultOrigin
from tests.isolated.addresses import FORBIDDEN


@pytest.fixture
def guard(origin: FaultOrigin) -> WatchedGuard:
    return WatchedGuard(parse_networks(["127.0.0.0/8"]), [origin.port])


@pytest.fixture
async def client(guard: WatchedGuard) -> AsyncIterator[HttpOrigin]:
    made = HttpOrigin(guard, connect_timeout=5, read_timeout=5, user_agent="t", via_name="t", limit_per_host=8)
    await made.start()
    yield made
    await made.close()


@pytest.mark.parametrize("location", FORBIDDEN)
async def test_a_redirect_to_a_forbidden_address_is_refused_before_any_packet(
    origin: FaultOrigin, client: HttpOrigin, guard: WatchedGuard, location: str
) -> None:
    origin.put("/a", redirect=location)
    with pytest.raises(ForbiddenAddress):
        await client.open(OriginRequest(f"{origin.url}/a"))
    assert guard.connected == [("127.0.0.1", origin.port)]


@pytest.mark.parametrize("address", FORBIDDEN)
async def test_an_event_is_never_sent_to_a_forbidden_address(
    origin: FaultOrigin, client: HttpOrigin, guard: WatchedGuard, address: str
) -> None:
    sender = HttpWebhooks(client, 5.0)
    assert (await sender.send(address, (), b"{}", 0.0)).error == "forbidden_address"
    assert guard.connected == []

    origin.put("/a", redirect=address)
    answer = await sender.send(f"{origin.url}/a", (), b"{}", 0.0)
    assert not answer.delivered
    assert guard.connected == [("127.0.0.1", origin.port)]
