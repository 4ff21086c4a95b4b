"""Which addresses a request may go to (SSRF guard), decided from the address that is connected to.

``ipaddress.is_global`` alone is not enough on Python 3.11: it lets NAT64, 6to4, site-local, multicast
and unassigned IPv6 pass, and no registry knows that a public address may serve cloud metadata. So
tunnelled IPv4 is unwrapped, a named deny list comes first, and what is left must be global unicast.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

_NAT64 = IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = IPv6Network("2000::/3")

# IANA special-purpose registries, RFC 6890 and what followed, in words an operator knows; the first match names it.
_DENIED: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(text), name)
    for name, texts in {
        "cloud metadata": "169.254.169.254 169.254.170.2 100.100.100.200 168.63.129.16 192.0.0.192 fd00:ec2::254",
        "unspecified": "0.0.0.0/8 ::",
        "loopback": "127.0.0.0/8 ::1",
        "private": "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7",
        "carrier-grade NAT": "100.64.0.0/10",
        "link-local": "169.254.0.0/16 fe80::/10",
        "site-local": "fec0::/10",
        "documentation": "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 3fff::/20",
        "benchmarking": "198.18.0.0/15 2001:2::/48",
        "multicast": "224.0.0.0/4 ff00::/8",
        "broadcast": "255.255.255.255",
        "local NAT64": "64:ff9b:1::/48",
        "Teredo": "2001::/32",
        "reserved": "192.0.0.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.175.48.0/24 240.0.0.0/4 ::/96 "
        "100::/64 2001::/23 2620:4f:8000::/48 5f00::/16",
    }.items()
    for text in texts.split()
)


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Read networks such as ``10.0.0.0/8`` or single addresses. Raises ValueError."""
    return tuple(ip_network(text.strip(), strict=False) for text in texts if text.strip())


def parse_address(text: str) -> Address:
    """An address as the kernel treats it: without its zone, IPv4-mapped IPv6 as IPv4. Raises ValueError."""
    address = ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def tunnelled(address: Address) -> IPv4Address | None:
    """The IPv4 address that a gateway would send to: inside NAT64 (RFC 6052), 6to4 (3056) or Teredo (4380)."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address.sixtofour is not None:
        return address.sixtofour
    return address.teredo[1] if address.teredo is not None else None


def refused_class(text: str, allowed: Iterable[Network] = ()) -> str | None:
    """The class of address because of which no connection may be opened, such as ``loopback``; None when it may.

    ``allowed`` are the operator's networks; they win over every class. They name the address that is
    connected to: an allowed IPv4 network opens its IPv4-mapped form, which is the same endpoint to
    the kernel, but not its NAT64 or 6to4 wrappings. Raises ValueError for what is no address.
    """
    address = parse_address(text)
    if any(address.version == network.version and address in network for network in allowed):
        return None
    inner = tunnelled(address)
    if inner is not None and (name := _denied_class(inner)) is not None:
        return f"tunnelled {name}"
    return None if address in _NAT64 else _denied_class(address)


def address_allowed(text: str, allowed: Iterable[Network] = ()) -> bool:
    """Whether a connection to this address may be opened; see ``refused_class``."""
    return refused_class(text, allowed) is None


def _denied_class(address: Address) -> str | None:
    for network, name in _DENIED:
        if address.version == network.version and address in network:
            return name
    unicast = address.version == 4 or address in _GLOBAL_UNICAST
    return None if unicast and address.is_global else "reserved"
