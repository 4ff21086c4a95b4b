"""The guard: ports, networks, and our own endpoints."""

import socket
from contextlib import closing

import pytest

from cephstorage.domain.addresses import parse_networks
from cephstorage.domain.errors import ForbiddenAddress
from cephstorage.origin.guard import ConnectGuard, GuardedResolver

EVERYWHERE = parse_networks(["0.0.0.0/0", "::/0"])


@pytest.mark.parametrize(("port", "allowed"), [(80, True), (443, True), (8080, True), (22, False), (6379, False)])
def test_ports_are_allowed_by_list(port: int, allowed: bool) -> None:
    guard = ConnectGuard(allowed_ports=[8080])
    if allowed:
        guard.check("h.example", ("8.8.8.8", port))
    else:
        with pytest.raises(ForbiddenAddress, match=rf"Port {port} of 'h.example'"):
            guard.check("h.example", ("8.8.8.8", port))


def test_a_refusal_names_the_host_and_the_class_but_not_the_address() -> None:
    with pytest.raises(ForbiddenAddress) as caught:
        ConnectGuard().check("intranet.example", ("10.9.8.7", 80))
    assert "'intranet.example' leads to a private address" in caught.value.msg
    assert "10.9.8.7" not in caught.value.msg


@pytest.mark.parametrize(
    ("denied", "target", "refused"),
    [
        ("127.0.0.1", ("127.0.0.1", 8080), True),
        ("127.0.0.1", ("::ffff:127.0.0.1", 8080, 0, 0), True),
        ("127.0.0.1", ("0.0.0.0", 8080), True),
        ("127.0.0.1", ("127.0.0.1", 80), False),
        ("127.0.0.1", ("127.0.0.2", 8080), False),
        ("0.0.0.0", ("127.0.0.1", 8080), True),
        ("0.0.0.0", ("127.9.9.9", 8080), True),
        ("0.0.0.0", ("::ffff:127.0.0.1", 8080, 0, 0), True),
        ("0.0.0.0", ("127.0.0.1", 80), False),
        ("0.0.0.0", ("192.0.2.250", 8080), False),
        ("::", ("127.0.0.1", 8080), True),
        ("::1", ("127.0.0.1", 8080), False),
    ],
)
def test_our_own_endpoint_is_refused_even_when_its_network_is_allowed(
    denied: str, target: tuple[object, ...], refused: bool
) -> None:
    guard = ConnectGuard(EVERYWHERE, [8080], [(denied, 8080)])
    if refused:
        with pytest.raises(ForbiddenAddress, match="this service itself"):
            guard.check("mirror.example", target)
    else:
        guard.check("mirror.example", target)


def test_an_endpoint_can_be_denied_later() -> None:
    guard = ConnectGuard(EVERYWHERE, [8081])
    guard.check("h.example", ("127.0.0.1", 8081))
    guard.deny_endpoint("127.0.0.1", 8081)
    with pytest.raises(ForbiddenAddress):
        guard.check("h.example", ("127.0.0.1", 8081))


def test_a_socket_is_made_only_for_an_address_that_passed() -> None:
    guard = ConnectGuard()
    public = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("8.8.8.8", 80))
    with closing(guard.socket_for(public)) as made:
        assert made.family == socket.AF_INET
    with pytest.raises(ForbiddenAddress):
        guard.socket_for((*public[:4], ("127.0.0.1", 80)))


async def test_a_name_that_leads_to_loopback_is_refused_unless_allowed() -> None:
    with pytest.raises(ForbiddenAddress, match="'localhost' leads to a loopback address"):
        await GuardedResolver(ConnectGuard(), timeout=30).resolve("localhost", 80, socket.AF_INET)
    allowing = ConnectGuard(parse_networks(["127.0.0.0/8"]))
    found = await GuardedResolver(allowing, timeout=30).resolve("localhost", 80, socket.AF_INET)
    assert {result["host"] for result in found} == {"127.0.0.1"}


@pytest.mark.parametrize("name", ["0x7f.1", "0177.0.0.1", "127.1", "2130706433"])
async def test_odd_spellings_of_loopback_are_seen_through(name: str) -> None:
    with pytest.raises(ForbiddenAddress, match="loopback"):
        await GuardedResolver(ConnectGuard(), timeout=30).resolve(name, 80, socket.AF_INET)
