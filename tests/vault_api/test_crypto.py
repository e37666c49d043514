"""Sealing: what comes back, and everything that must not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields, replace

from otobotctl.vault_api.crypto import Keyring, Place, SealError

KEY = "00112233445566778899aabbccddeeff" * 2
PLACE = Place("acme", "u-1", "google", "row-1", "encrypted_access_token")


def single():
    """A keyring of one key."""
    return Keyring({1: bytes.fromhex(KEY)}, 1)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_what_is_sealed_opens_in_its_place(plain):
    """Any text comes back as it was."""
    ring = single()
    assert ring.open(ring.seal(plain, PLACE), PLACE) == plain


def test_two_seals_of_one_text_differ():
    """The nonce is fresh, so equal tokens do not show as equal."""
    ring = single()
    assert len({ring.seal("same", PLACE) for _ in range(100)}) == 100


@pytest.mark.parametrize("field", [field.name for field in fields(Place)])
def test_a_seal_does_not_open_anywhere_else(field):
    """Each part of the place is bound: client, user, service, row and field."""
    ring = single()
    with pytest.raises(SealError):
        ring.open(ring.seal("secret", PLACE), replace(PLACE, **{field: "other"}))


def test_parts_of_a_place_cannot_run_into_each_other():
    """Moving characters across the border of two parts is another place."""
    assert Place("a", "bc", "", "", "").bound(1) != Place("ab", "c", "", "", "").bound(1)


def test_the_key_version_is_bound():
    """A ciphertext relabelled with another version does not open, even where both versions have the same key."""
    ring = Keyring({1: bytes.fromhex(KEY), 2: bytes.fromhex(KEY)}, 2)
    version, _, rest = ring.seal("secret", PLACE).partition(":")
    assert version == "2"
    with pytest.raises(SealError):
        ring.open(f"1:{rest}", PLACE)


@pytest.mark.parametrize("part", [1, 2, 3])
def test_a_changed_part_is_refused(part):
    """One flipped bit in iv, tag or ciphertext."""
    ring = single()
    parts = ring.seal("secret", PLACE).split(":")
    parts[part] = f"{int(parts[part][0], 16) ^ 1:x}{parts[part][1:]}"
    with pytest.raises(SealError):
        ring.open(":".join(parts), PLACE)


@pytest.mark.parametrize("shape", ["", "1", "1:2:3", "1:2:3:4:5", "x:{iv}:{tag}:{data}", "1:zz:{tag}:{data}", "9:{iv}:{tag}:{data}",
                                   "1:{iv}:{short}:{data}", "1:{iv}00:{tag}:{data}", "1::{tag}:{data}"])  # fmt: skip
def test_anything_else_is_refused_in_words_without_content(shape):
    """Malformed text, an unknown version, a short tag: SealError, and its text quotes nothing."""
    ring = single()
    _, iv, tag, data = ring.seal("secret", PLACE).split(":")
    with pytest.raises(SealError) as raised:
        ring.open(shape.format(iv=iv, tag=tag, data=data, short=tag[:24]), PLACE)
    assert data not in str(raised.value)


def test_another_key_does_not_open():
    """The wrong master key is refused."""
    with pytest.raises(SealError):
        Keyring({1: b"k" * 32}, 1).open(single().seal("secret", PLACE), PLACE)
