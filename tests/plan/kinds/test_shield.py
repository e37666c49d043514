"""What a shield's plan says, and what a shield that stands already does not."""

from __future__ import annotations

import pytest

from otobotctl.plan.kinds.shield import Block, ShieldSpec, canonical

FACTS = {"blocked": {"198.51.100.7": 0}, "isolated": None, "enforced": True, "restored": ""}


def changes(facts=FACTS, **said):
    return [(change.what, change.after) for change in ShieldSpec(**said).compare(facts)]


def test_what_stands_already_is_no_change():
    """An address that is held off for as long, a host that is open, addresses that nobody holds off."""
    assert changes(blocked=(Block(address="198.51.100.7"),)) == []
    assert changes(release=True, freed=("198.51.100.8",)) == []
    assert changes({**FACTS, "isolated": ["203.0.113.5", "203.0.113.6"]}, isolate=("203.0.113.5",)) == []


def test_what_differs():
    """An address, its end, a host that is open, one that is shut, and rules that the kernel does not have."""
    assert changes(blocked=(Block(address="198.51.100.8"),)) == [("address", "198.51.100.8 held off")]
    assert changes(blocked=(Block(address="198.51.100.7", until=9),)) == [("address", "198.51.100.7 held off")]
    assert changes(freed=("198.51.100.7",)) == [("address", "let in")]
    assert changes(isolate=("203.0.113.5",)) == [("host", "SSH alone, from 203.0.113.5")]
    assert changes({**FACTS, "isolated": ["203.0.113.6"]}, isolate=("203.0.113.5",)) == [("host", "SSH alone, from 203.0.113.5")]  # fmt: skip
    assert changes({**FACTS, "isolated": []}, release=True) == [("host", "open")]
    assert changes({**FACTS, "enforced": False}) == [("rules", "in force")]
    assert changes({**FACTS, "restored": "2026-11-21T10:00:00Z"}, release=True) == [("trial", "forgotten")]
    assert changes({**FACTS, "restored": "2026-11-21T10:00:00Z"}, freed=("198.51.100.8",)) == []


@pytest.mark.parametrize(("text", "said"), [("198.51.100.7/32", "198.51.100.7"), ("198.51.100.9/24", "198.51.100.0/24"), ("2001:DB8:0::1", "2001:db8::1"), ("2001:db8::1/32", "2001:db8::/32")])  # fmt: skip
def test_an_address_is_written_in_one_way(text, said):
    """So that it is found again."""
    assert canonical(text) == said
    with pytest.raises(ValueError, match="is written"):
        Block(address=text)
    assert Block(address=said).address == said
