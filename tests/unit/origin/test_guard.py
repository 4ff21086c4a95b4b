"""The guard: ports, networks, and our own endpoints."""

import socket
from contextlib import closing

import pytest

from cephstorage.domain.addresses import parse_networks
from cephstorage.domain.errors import ForbiddenAddress
from cephstorage.origin.guard import ConnectGuard, GuardedResolver
from cephstorage.origin.own_parts import OwnParts

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


# -- parts of this installation


@pytest.mark.parametrize(
    ("host", "target", "refused"),
    [
        ("rgw.internal", ("10.0.0.1", 80), True),
        ("RGW.Internal.", ("10.9.9.9", 80), True),
        ("else.example", ("10.0.0.1", 80), True),
        ("else.example", ("::ffff:10.0.0.1", 80, 0, 0), True),
        ("rgw.internal", ("10.9.9.9", 443), False),
        ("else.example", ("10.0.0.1", 443), False),
        ("else.example", ("10.0.0.2", 80), False),
    ],
)
def test_parts_are_refused_by_name_and_by_address(host: str, target: tuple[object, ...], refused: bool) -> None:
    guard = ConnectGuard(EVERYWHERE)
    guard.deny_parts([("rgw.internal", 80)], [("10.0.0.1", 80)])
    if refused:
        with pytest.raises(ForbiddenAddress, match="part of this installation"):
            guard.check(host, target)
    else:
        guard.check(host, target)


def test_parts_can_be_exchanged() -> None:
    guard = ConnectGuard(EVERYWHERE, [], [("10.0.0.9", 80)])
    guard.deny_parts([("old.internal", 80)], [("10.0.0.1", 80)])
    guard.deny_parts([("new.internal", 80)], [("10.0.0.2", 80)])
    guard.check("old.internal", ("10.0.0.1", 80))
    for host, address in (("new.internal", "10.0.0.3"), ("x.example", "10.0.0.2"), ("x.example", "10.0.0.9")):
        with pytest.raises(ForbiddenAddress):
            guard.check(host, (address, 80))


async def test_parts_are_looked_up_and_the_public_ones_are_not() -> None:
    guard = ConnectGuard(EVERYWHERE, [7480])
    parts = OwnParts(guard, lambda: None)
    inner = [("localhost", 7480), ("127.0.0.3", 80)]
    await parts.look_up(inner)
    parts.refuse(inner, [("public.invalid", 443)])
    for host, address, port in (
        ("x.example", "127.0.0.1", 7480), ("x.example", "127.0.0.3", 80), ("localhost", "10.0.0.1", 7480),
        ("public.invalid", "10.0.0.1", 443),
    ):  # fmt: skip
        with pytest.raises(ForbiddenAddress, match="part of this installation"):
            guard.check(host, (address, port))
    guard.check("x.example", ("127.0.0.1", 80))
    parts.refuse([], [])
    guard.check("x.example", ("127.0.0.1", 7480))


async def test_a_part_that_leads_nowhere_is_refused_by_name_only() -> None:
    guard = ConnectGuard(EVERYWHERE)
    parts = OwnParts(guard, lambda: None)
    await parts.look_up([("not a host", 80)])
    parts.refuse([("not a host", 80)], [])
    guard.check("x.example", ("10.0.0.1", 80))
    with pytest.raises(ForbiddenAddress):
        guard.check("not a host", ("10.0.0.1", 80))


async def test_who_keeps_connections_alive_is_told_when_more_is_forbidden() -> None:
    told: list[None] = []
    parts = OwnParts(ConnectGuard(EVERYWHERE), lambda: told.append(None))
    inner = [("127.0.0.3", 80)]
    await parts.look_up(inner)
    for _ in range(2):
        parts.refuse(inner, [])
    assert len(told) == 1
    parts.refuse([], [("public.invalid", 443)])
    assert len(told) == 2
