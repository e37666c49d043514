"""API keys: recognised whole, until their end, and by nobody who knows only the prefix."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from otobotctl.vault_api.access import apikeys

from .test_tokens import mutate

NOW = datetime(2026, 11, 21, tzinfo=UTC)
KEY = apikeys.mint()
STORED = apikeys.Stored(KEY.digest, NOW + timedelta(days=30), None)


def test_a_minted_key_is_admitted_by_its_digest():
    """What is stored is the SHA-256 of the whole key; no repr shows the key."""
    assert KEY.digest == sha256(KEY.text.encode()).digest()
    assert apikeys.prefix(KEY.text) == KEY.prefix
    assert apikeys.admits(STORED, KEY.text, NOW)
    assert KEY.text not in repr(KEY)


def test_an_ended_or_revoked_key_is_refused():
    """At its end to the second, and from the moment of its revocation; a key without an end goes on."""
    assert not apikeys.admits(STORED, KEY.text, NOW + timedelta(days=30))
    assert not apikeys.admits(replace(STORED, revoked_at=NOW), KEY.text, NOW)
    assert apikeys.admits(replace(STORED, expires_at=None), KEY.text, NOW + timedelta(days=3000))


def test_another_key_under_the_same_prefix_is_refused():
    """The prefix only finds the row."""
    forged = f"otk_{KEY.prefix}_{'0' * 64}"
    assert apikeys.prefix(forged) == KEY.prefix
    assert not apikeys.admits(STORED, forged, NOW)
    assert not apikeys.admits(None, KEY.text, NOW)


def test_mutated_keys_never_pass():
    """Thirty thousand random changes of a valid key: none passes."""
    chance = random.Random(20261121)
    others = (mutate(KEY.text, chance) for _ in range(30_000))
    passed = [
        other
        for other in others
        if other != KEY.text and (apikeys.admits(STORED, other, NOW) or apikeys.prefix(other + "x"))
    ]
    assert passed == []
