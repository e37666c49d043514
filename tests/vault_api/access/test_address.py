"""Where a request comes from: what a caller writes into X-Forwarded-For never counts."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otobotctl.vault_api.access.address import bucket, client_address

ADDRESSES = st.ip_addresses().map(str)
FORGED = st.lists(st.one_of(ADDRESSES, st.text(max_size=30)), max_size=5)


@given(ADDRESSES, st.lists(st.text(max_size=60), max_size=5))
def test_without_proxies_the_header_is_not_looked_at(peer, forwarded):
    """Zero configured hops: the peer, whatever was sent."""
    assert client_address(peer, forwarded, 0) == client_address(peer, [], 0)


@given(FORGED, st.lists(ADDRESSES, min_size=1, max_size=4), ADDRESSES)
def test_what_stands_before_our_proxies_entries_changes_nothing(forged, ours, peer):
    """Whatever a caller writes in front, the answer is the one without it: the entry of our outermost proxy."""
    hops = len(ours)
    expected = client_address(peer, [",".join(ours)], hops)
    assert client_address(peer, [",".join([*forged, *ours])], hops) == expected
    assert client_address(peer, [*forged, *ours], hops) == expected
    assert expected == _plain(ours[0])


@given(st.lists(ADDRESSES, max_size=3), ADDRESSES)
def test_too_few_entries_mean_the_peer(entries, peer):
    """A request with fewer entries than proxies did not come through them."""
    assert client_address(peer, entries, len(entries) + 1) == _plain(peer)


@given(st.text(max_size=80), ADDRESSES, st.integers(0, 3))
def test_the_answer_is_always_an_address(forwarded, peer, hops):
    """No header makes the answer anything but an address."""
    ipaddress.ip_address(client_address(peer, [forwarded], hops))


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("203.0.113.7", "203.0.113.7"),
        (" 203.0.113.7 ", "203.0.113.7"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("[2001:DB8::1]", "2001:db8::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8::1%eth0", "192.0.2.1"),
        ("unknown", "192.0.2.1"),
        ("", "192.0.2.1"),
        ("203.0.113.7\r\nx: y", "192.0.2.1"),
    ],
)
def test_the_forms_that_proxies_write(entry, expected):
    """Ports and brackets go; what is no address means the peer."""
    assert client_address("192.0.2.1", [entry], 1) == expected


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_an_ipv6_network_is_one_caller(address, host):
    """All addresses of a /64 count as one."""
    sibling = ipaddress.IPv6Address((int(address) >> 64 << 64) | host)
    assert bucket(str(address)) == bucket(str(sibling))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_itself(address):
    """IPv4 callers count one by one."""
    assert bucket(str(address)) == str(address)


def _plain(text):
    parsed = ipaddress.ip_address(text)
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)
