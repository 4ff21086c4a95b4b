"""Which addresses a request may go to (SSRF guard), decided from the address that is connected to.

``ipaddress.is_global`` alone is not enough on Python 3.11: it lets NAT64, 6to4, site-local and
multicast addresses pass, so tunnelled IPv4 is unwrapped and a deny list stands beside it.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

_NAT64 = tuple(ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48"))
_DENIED = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/96",
        "100::/64",
        "2001::/23",
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Read networks such as ``10.0.0.0/8`` or single addresses. Raises ValueError."""
    return tuple(ip_network(text.strip(), strict=False) for text in texts if text.strip())


def unwrap(address: Address) -> Address:
    """The IPv4 address inside a mapped, NAT64, 6to4 or Teredo address; else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if any(address in network for network in _NAT64):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    return address


def address_allowed(text: str, allowed: Iterable[Network] = ()) -> bool:
    """Whether a connection to this address may be opened.

    ``allowed`` are the operator's networks; they win, and they must name what the packet really
    reaches: an allowed IPv4 network does not open its NAT64 or 6to4 wrappings.
    """
    address = ip_address(text.partition("%")[0])
    if any(address.version == network.version and address in network for network in allowed):
        return True
    inner = unwrap(address)
    return all(
        candidate.is_global and not any(candidate.version == net.version and candidate in net for net in _DENIED)
        for candidate in {inner, address} - ({address} if _is_mapped(address) else set())
    )


def _is_mapped(address: Address) -> bool:
    return isinstance(address, IPv6Address) and address.ipv4_mapped is not None
