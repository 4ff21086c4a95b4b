"""The table of addresses: what an origin may be reached at, and what each refusal is called."""

from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephstorage.domain.addresses import address_allowed, parse_address, parse_networks, refused_class

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.0.3.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001::1",
    "2001:4860:4860::8888",
    "2003::1",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::1",
]

REFUSED = {
    "cloud metadata": "169.254.169.254 169.254.170.2 100.100.100.200 168.63.129.16 192.0.0.192 fd00:ec2::254 "
    "::ffff:169.254.169.254 ::ffff:a83f:8110",
    "unspecified": "0.0.0.0 0.1.2.3 0.255.255.255 :: ::ffff:0.0.0.0",
    "loopback": "127.0.0.1 127.255.255.254 ::1 ::ffff:127.0.0.1 ::ffff:7f00:1",
    "private": "10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 fc00::1 fd12:3456::1 ::ffff:10.0.0.1",
    "carrier-grade NAT": "100.64.0.1 100.127.255.255",
    "link-local": "169.254.0.1 fe80::1 fe80::1%lo febf::1",
    "site-local": "fec0::1 feff::1",
    "documentation": "192.0.2.1 198.51.100.1 203.0.113.1 2001:db8::1 3fff::1",
    "benchmarking": "198.18.0.1 198.19.255.255 2001:2::1",
    "multicast": "224.0.0.1 239.255.255.255 ff02::1 ff0e::1",
    "broadcast": "255.255.255.255",
    "local NAT64": "64:ff9b:1::a00:1",
    "reserved": "192.0.0.1 192.88.99.1 240.0.0.1 255.255.255.254 ::7f00:1 ::2 100::1 2001:20::1 5f00::1 4000::1 "
    "1::1 8000::1 ::ffff:0:7f00:1 64:ff9b:2::1",
    "tunnelled loopback": "64:ff9b::7f00:1 2002:7f00:1::1 2001:0:4136:e378:8000:63bf:80ff:fffe",
    "tunnelled cloud metadata": "64:ff9b::a9fe:a9fe 2002:a9fe:a9fe::",
    "tunnelled private": "64:ff9b::a00:1 2002:c0a8:1::1 2001:0:808:808:0:0:f5ff:fffe",
    "tunnelled unspecified": "64:ff9b::",
    "Teredo": "2001:0:808:808:0:0:f7f7:f7f7",
}


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_reached(address: str) -> None:
    assert refused_class(address) is None
    assert address_allowed(address)


@pytest.mark.parametrize(
    ("name", "address"), [(name, text) for name, texts in REFUSED.items() for text in texts.split()]
)
def test_other_addresses_are_refused_by_name(name: str, address: str) -> None:
    assert refused_class(address) == name
    assert not address_allowed(address)


@pytest.mark.parametrize(
    ("address", "networks", "allowed"),
    [
        ("10.1.2.3", ["10.0.0.0/8"], True),
        ("10.1.2.3", ["10.1.2.3"], True),
        ("10.1.2.4", ["10.1.2.3"], False),
        ("11.1.2.3", ["10.0.0.0/8"], True),
        ("127.0.0.1", ["10.0.0.0/8"], False),
        ("192.0.2.7", ["192.0.2.0/24"], True),
        ("169.254.169.254", ["169.254.169.254/32"], True),
        ("::ffff:10.1.2.3", ["10.0.0.0/8"], True),
        ("64:ff9b::a01:203", ["10.0.0.0/8"], False),
        ("2002:a01:203::1", ["10.0.0.0/8"], False),
        ("64:ff9b::a01:203", ["64:ff9b::/96"], True),
        ("::ffff:10.1.2.3", ["::/0"], False),
        ("fd00::1", ["fd00::/8"], True),
        ("fe80::1%eth0", ["fe80::/10"], True),
        ("::1", ["127.0.0.0/8"], False),
        ("::1", ["::1"], True),
    ],
)
def test_the_operators_networks_win_over_every_class(address: str, networks: list[str], allowed: bool) -> None:
    assert address_allowed(address, parse_networks(networks)) is allowed


@given(st.ip_addresses(v=4))
def test_every_wrapping_of_a_refused_ipv4_is_refused(address: IPv4Address) -> None:
    if address_allowed(str(address)):
        return
    number = int(address)
    for wrapped in (
        f"::ffff:{address}",
        str(ip_address((0x64FF9B << 96) | number)),
        str(ip_address((0x2002 << 112) | (number << 80) | 1)),
        str(ip_address((0x20010000 << 96) | (number ^ 0xFFFFFFFF))),
    ):
        assert not address_allowed(wrapped), wrapped


@given(st.ip_addresses())
def test_nothing_that_python_calls_private_is_let_through(address: object) -> None:
    if address_allowed(str(address)):
        inner = parse_address(str(address))
        assert inner.is_global
        assert not inner.is_multicast


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "2130706433", "1.2.3.4.5", "1.2.3.04"])
def test_what_is_no_address_is_an_error_and_never_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="IPv4 or IPv6"):
        address_allowed(text)


def test_networks_are_read_with_host_bits_and_blanks() -> None:
    assert [str(net) for net in parse_networks(["10.1.2.3/8", " ::1 ", "", "192.0.2.1"])] == [
        "10.0.0.0/8",
        "::1/128",
        "192.0.2.1/32",
    ]
    with pytest.raises(ValueError, match="does not appear"):
        parse_networks(["everything"])
