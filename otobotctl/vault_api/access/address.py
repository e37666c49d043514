"""Where a request comes from: pure. X-Forwarded-For is believed for the configured number of proxies and no further."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address, ip_network

_BRACKETED = re.compile(r"\[([0-9a-fA-F:.]{2,45})\](?::\d{1,5})?")
_WITH_PORT = re.compile(r"(\d{1,3}(?:\.\d{1,3}){3}):\d{1,5}")
_LONGEST = 64  # characters of one entry: an IPv6 address in brackets with a port is shorter


def client_address(peer: str, forwarded: Iterable[str], hops: int) -> str:
    """Return the address that the outermost trusted proxy saw, in its canonical form; without proxies, the peer's.

    `forwarded` holds the values of every X-Forwarded-For header, in order. Each of our `hops` proxies appends one
    entry, so only the last `hops` entries are theirs: whatever a caller wrote stands before them and is not looked at.
    A request with fewer entries, or with an entry that is no address, did not come through them: the peer counts.
    """
    near = _canonical(peer) or peer
    if hops < 1:
        return near
    entries = [entry for value in forwarded for entry in value.split(",")]
    if len(entries) < hops:
        return near
    return _canonical(entries[-hops]) or near


def bucket(address: str) -> str:
    """Return what limits count an address as: an IPv6 caller owns a whole /64, so that is one caller."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(ip_network((int(parsed), 64), strict=False))
    return str(parsed)


def _canonical(entry: str) -> str | None:
    """An address without its port, brackets or zone; None when it is none."""
    text = entry.strip()
    if not text or len(text) > _LONGEST or "%" in text:
        return None
    found = _BRACKETED.fullmatch(text) or _WITH_PORT.fullmatch(text)
    try:
        parsed = ip_address(found[1] if found else text)
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(parsed)
