"""Minting, and the store in memory."""

import re
from datetime import timedelta

import pytest

from otobotctl.errors import UsageError
from otobotctl.secrets import SecretSpec, mint_missing, set_given
from otobotctl.secrets.mint import mint
from otobotctl.secrets.store import empty
from tests.secrets.sample import GIVEN, MINTED, NOW, SPECS, certain, full, revealed


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("hex16", r"[0-9a-f]{32}"),
        ("hex32", r"[0-9a-f]{64}"),
        ("hex64", r"[0-9a-f]{128}"),
        ("base64url48", r"[A-Za-z0-9_-]{64}"),
        ("password", r"[A-Za-z0-9]{32}"),
    ],
)
def test_each_kind_has_its_form(kind, form):
    """Values fit where they are used, and no two are the same."""
    values = {mint(kind) for _ in range(20)}
    assert len(values) == 20
    assert all(re.fullmatch(form, value) for value in values)


def test_a_password_draws_evenly_from_its_alphabet():
    """Bytes that would favour the first letters are thrown away."""
    spread = bytes(range(0, 245, 7))
    assert mint("password", lambda _: bytes([255]) * 5 + spread) == mint("password", lambda _: spread)


def test_a_password_has_a_digit_and_letters_of_both_cases():
    """One that lacks them is thrown away whole: n8n takes none without."""
    drawn = iter([bytes(range(32)), bytes(range(0, 245, 7))])  # the first draw is letters alone
    value = mint("password", lambda _: next(drawn))
    assert re.search(r"\d", value)
    assert value.lower() != value != value.upper()


def test_given_secrets_are_not_minted():
    """Only a person can tell them."""
    with pytest.raises(ValueError, match="cannot be minted"):
        mint("given")
    store, minted = mint_missing(empty(), SPECS, NOW)
    assert minted == tuple(spec.name for spec in MINTED)
    assert GIVEN.name not in store.values


def test_what_exists_is_never_touched():
    """A second minting gives the same store, whatever the specs say by now."""
    store = full()
    changed = [SecretSpec(spec.name, "hex64", "other") for spec in SPECS]
    again, minted = mint_missing(store, [*changed, SecretSpec("NEW", "hex16", "x")], NOW + timedelta(days=1))
    assert minted == ("NEW",)
    assert {name: value for name, value in revealed(again).items() if name != "NEW"} == revealed(store)
    assert {name: known for name, known in again.metadata.items() if name != "NEW"} == dict(store.metadata)


def test_minting_is_pure_given_the_randomness():
    """The same bytes give the same store."""
    first, _ = mint_missing(empty(certain()), SPECS, NOW, certain(2))
    second, _ = mint_missing(empty(certain()), SPECS, NOW, certain(2))
    assert revealed(first) == revealed(second)
    assert first.metadata == second.metadata
    assert not empty().values


def test_metadata_tells_the_policy_and_not_the_value():
    """Kind, service, age and policy are known without a key."""
    known = full().metadata["TOKEN"]
    assert (known.kind, known.service, known.rotate_days, known.given) == ("base64url48", "vault-api", 90, False)
    assert known.created == "2026-01-02T03:04:05Z"
    assert full().metadata["API_KEY"].given


def test_a_fingerprint_follows_the_value_and_cannot_be_guessed():
    """It changes with the value, and another store gives the same value another one."""
    spec = SecretSpec("PIN", "given", "x", given=True)
    store = empty()
    first, same, other = (set_given(store, spec, value, NOW).metadata["PIN"].fingerprint for value in ("1", "1", "2"))
    assert first == same != other
    assert set_given(empty(), spec, "1", NOW).metadata["PIN"].fingerprint != first
    assert re.fullmatch("[0-9a-f]{12}", first)


def test_a_given_value_loses_the_line_break_of_the_shell():
    """`echo value |` and typing give the same secret; inner line breaks stay."""
    for typed in ("a\nb", "a\nb\n", "a\nb\r\n"):
        assert set_given(empty(), GIVEN, typed, NOW).values["API_KEY"].reveal() == "a\nb"
    for wrong in ("", "\n", "a\0b"):
        with pytest.raises(UsageError):
            set_given(empty(), GIVEN, wrong, NOW)


def test_a_secret_can_be_left_out():
    """What is removed is gone from the values and the metadata."""
    store = full().without("TOKEN")
    assert "TOKEN" not in store.values
    assert "TOKEN" not in store.metadata
    assert "DB_PASSWORD" in store.values
