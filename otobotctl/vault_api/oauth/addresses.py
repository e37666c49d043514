"""Which addresses the vault may call: public ones. Pure; fuzzed by its test."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_TRANSLATED = IPv6Network("64:ff9b::/96")  # NAT64: the last four bytes are an IPv4 address
# Tunnels and embeddings (what is inside is reached by another way than the address says), and what has no place on the
# internet; some versions of Python call a few of them global.
_NEVER = tuple(
    IPv6Network(text)
    for text in (
        *("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32"),
        *("2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
    )
)


def public(text: str) -> bool:
    """Whether an address, as `getaddrinfo` gives it, is one of the public internet."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv4Address):
        return _public4(address)
    if address in _TRANSLATED:
        return _public4(IPv4Address(int(address) & 0xFFFFFFFF))
    return "%" not in text and _public6(address)


def _public4(address: IPv4Address) -> bool:
    # is_global knows the private, shared, loopback, link-local (with the clouds' metadata) and documentation ranges.
    return address.is_global and not address.is_multicast and not address.is_reserved


def _public6(address: IPv6Address) -> bool:
    return address.is_global and not any(address in network for network in _NEVER)
