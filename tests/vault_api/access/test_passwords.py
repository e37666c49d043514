"""Passwords: the policy of the security concept, and bcrypt with its traps."""

from __future__ import annotations

import asyncio
import threading
import unicodedata
from datetime import UTC, datetime, timedelta

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otobotctl.vault_api.access import passwords
from otobotctl.vault_api.access.passwords import BusyError, Passwords

GOOD = "Tr0ub4dor&horse"
NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture
def quick():
    """With 4 rounds: the code is the same."""
    made = Passwords(rounds=4)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("password", "missing"),
    [
        ("Sh0rt&sweet", "12 to 256 characters"),
        ("Aa1&" * 65, "12 to 256 characters"),
        ("tr0ub4dor&horse", "upper-case"),
        ("TR0UB4DOR&HORSE", "lower-case"),
        ("Troubador&horse", "digit"),
        ("Tr0ub4dorXhorse", "neither letter nor digit"),
        ("Tr0ub4dor&\x00horse", "control"),
        ("Tr0ub4dor&lea.martin", "name or e-mail"),
        ("Tr0ub4dor&ACME.example", "name or e-mail"),
    ],
)
def test_each_rule_of_the_policy_is_enforced(password, missing):
    """One finding says what is missing and does not quote the password."""
    found = passwords.findings(password, "lea.martin@acme.example", "Léa")
    assert len(found) == 1
    assert missing in found[0]
    assert password not in found[0]


def test_a_good_password_passes():
    """Twelve characters with all classes; accents count as letters."""
    assert passwords.findings(GOOD, "lea.martin@acme.example") == ()
    assert passwords.findings("Çà-et-là-2026") == ()


def test_a_password_lasts_ninety_days():
    """On the 90th day it holds, then not; one that somebody else set is to be replaced at once."""
    assert not passwords.expired(NOW - timedelta(days=90), NOW)
    assert passwords.expired(NOW - timedelta(days=90, seconds=1), NOW)
    assert passwords.expired(None, NOW)


def test_hashes_are_bcrypt_with_twelve_rounds():
    """The default is the concept's minimum, with a salt of its own."""
    made = Passwords()
    try:
        first, second = (asyncio.run(made.hash(GOOD)) for _ in range(2))
    finally:
        made.close()
    assert first.startswith("$2b$12$")
    assert first != second
    assert asyncio.run(_verify(Passwords(), GOOD, first))


async def _verify(made, password, stored):
    try:
        return await made.verify(password, stored)
    finally:
        made.close()


@given(st.text(min_size=1, max_size=300, alphabet=st.characters(exclude_categories=["Cs"])))
def test_bcrypt_always_sees_forty_four_bytes(password):
    """No password, however long and with whatever characters, reaches bcrypt's limit or holds a zero byte."""
    seen = passwords.digest(password)
    assert len(seen) == 44
    assert b"\0" not in seen


def test_passwords_that_differ_after_72_bytes_are_two(quick):
    """Plain bcrypt cannot tell them apart (or raises); ours can."""
    long = "Tr0ub4dor&" * 8
    stored = asyncio.run(quick.hash(long + "one"))
    assert asyncio.run(quick.verify(long + "one", stored))
    assert not asyncio.run(quick.verify(long + "two", stored))


def test_composed_and_decomposed_accents_are_one_password(quick):
    """What a Mac types opens what a PC set."""
    stored = asyncio.run(quick.hash("Été-à-Paris-1"))
    assert asyncio.run(quick.verify(unicodedata.normalize("NFD", "Été-à-Paris-1"), stored))


def test_an_unknown_user_costs_the_same_work(quick, monkeypatch):
    """With no stored hash a real bcrypt comparison of the same rounds runs, and the answer is no."""
    seen = []
    real = bcrypt.checkpw
    monkeypatch.setattr(bcrypt, "checkpw", lambda *given: (seen.append(given[1]), real(*given))[1])
    stored = asyncio.run(quick.hash(GOOD))
    assert asyncio.run(quick.verify(GOOD, stored)) is True
    assert asyncio.run(quick.verify(GOOD, None)) is False
    assert len(seen) == 2
    assert [one[:7] for one in seen] == [b"$2b$04$"] * 2


def test_an_emptied_hash_never_matches(quick):
    """An erased account has no bcrypt hash; asking is answered no, not with an exception."""
    assert asyncio.run(quick.verify(GOOD, "erased")) is False


def test_the_event_loop_goes_on_and_no_more_than_the_cap_wait():
    """While hashes run in threads the loop turns; beyond the cap the answer is busy, and room comes back."""
    release = threading.Event()

    async def story():
        made = Passwords(rounds=4, workers=1, waiting=2)
        try:
            blocked = [asyncio.ensure_future(made._run(release.wait)) for _ in range(3)]
            await asyncio.sleep(0)
            with pytest.raises(BusyError):
                await asyncio.wait_for(made.verify(GOOD, None), 30)
            release.set()
            await asyncio.gather(*blocked)
            assert await made.verify(GOOD, None) is False
        finally:
            release.set()
            made.close()

    asyncio.run(story())


def test_the_last_ones_are_recognised(quick):
    """A password of the history is found among the stored hashes."""
    history = [asyncio.run(quick.hash(f"{GOOD}{number}")) for number in range(3)]
    assert asyncio.run(quick.used_before(f"{GOOD}1", history))
    assert not asyncio.run(quick.used_before(f"{GOOD}9", history))
