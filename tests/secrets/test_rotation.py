"""A secret that is being rotated: its value before stays until it may go, and the store alone says how far it is."""

from __future__ import annotations

import json

import pytest

from otobotctl.errors import UsageError
from otobotctl.secrets import mint_missing, previous, retire, rotate, rotating, settle
from otobotctl.secrets.store import from_revealed
from tests.secrets.sample import NOW, SPECS, full

SPEC = SPECS[0]
NAME = SPEC.name


def test_from_the_first_step_to_the_last():
    """New value beside the old; then the old is empty; then it is gone. Each state survives sealing."""
    before = full()
    old = before.values[NAME].reveal()
    store = rotate(before, SPEC, NOW)
    assert store.values[NAME].reveal() != old
    assert store.values[previous(NAME)].reveal() == old
    assert store.metadata[previous(NAME)].rotate_days is None
    assert store.metadata[NAME].fingerprint != before.metadata[NAME].fingerprint
    read = from_revealed(json.dumps(store.reveal_all()).encode())
    assert rotating(read, NAME)
    assert read.values[previous(NAME)].reveal() == old
    ended = from_revealed(json.dumps(retire(read, NAME).reveal_all()).encode())
    assert not rotating(ended, NAME)
    assert ended.values[previous(NAME)].reveal() == ""
    assert ended.metadata[previous(NAME)].fingerprint == ""
    assert settle(ended, NAME).values.keys() == before.values.keys()
    assert old not in repr(store)


def test_a_value_that_is_still_needed_is_never_overwritten():
    """Neither a second rotation nor an early end takes the value before, and minting what is missing leaves it."""
    store = rotate(full(), SPEC, NOW)
    with pytest.raises(UsageError, match="being rotated already"):
        rotate(store, SPEC, NOW)
    with pytest.raises(UsageError, match="still has its value"):
        settle(store, NAME)
    assert mint_missing(store, SPECS, NOW)[1] == ()
