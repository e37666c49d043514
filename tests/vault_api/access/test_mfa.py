"""The second factor: a code works once, in its minute; recovery codes are long and recognised however typed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyotp
import pytest

from otobotctl.vault_api.access import mfa

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
NOW = datetime(2026, 11, 21, 15, 0, 7, tzinfo=UTC)
STEP = int(NOW.timestamp()) // 30


def code(offset=0):
    return pyotp.TOTP(SECRET).generate_otp(STEP + offset)


def test_a_code_is_accepted_with_its_step():
    """The present code, and one step to each side for a clock that is off."""
    assert mfa.accepted_step(SECRET, code(), NOW, None) == STEP
    assert mfa.accepted_step(SECRET, code(-1), NOW, None) == STEP - 1
    assert mfa.accepted_step(SECRET, code(1), NOW, None) == STEP + 1


def test_codes_of_other_minutes_are_refused():
    """Two steps away is too far."""
    assert mfa.accepted_step(SECRET, code(-2), NOW, None) is None
    assert mfa.accepted_step(SECRET, code(2), NOW, None) is None


def test_a_code_works_once():
    """With its step stored, the same code and older ones are refused; the next one is fine."""
    assert mfa.accepted_step(SECRET, code(), NOW, STEP) is None
    assert mfa.accepted_step(SECRET, code(-1), NOW, STEP) is None
    assert mfa.accepted_step(SECRET, code(1), NOW, STEP) == STEP + 1
    later = NOW + timedelta(seconds=30)
    assert mfa.accepted_step(SECRET, code(), later, STEP) is None


@pytest.mark.parametrize("text", ["", "12345", "1234567", "12345a", "１２３４５６", " 123456", "123456\n"])
def test_what_is_no_code_is_refused(text):
    """Six ASCII digits and nothing else."""
    assert mfa.accepted_step(SECRET, text, NOW, None) is None


def test_secrets_are_fresh_and_long():
    """160 bits in base32, never the same twice, and an authenticator's address carries account and issuer."""
    made = {mfa.new_secret() for _ in range(50)}
    assert len(made) == 50
    assert all(len(secret) == 32 for secret in made)
    address = mfa.uri(SECRET, "lea@acme.example", "Otobot acme")
    assert address.startswith("otpauth://totp/")
    assert f"secret={SECRET}" in address
    assert "issuer=Otobot" in address


def test_recovery_codes_are_ten_and_differ():
    """80 bits each; the digest is what is stored, and typing in capitals with spaces around is the same code."""
    codes = mfa.new_recovery_codes()
    assert len(set(codes)) == 10
    assert all(len(one) == 19 for one in codes)
    assert mfa.recovery_digest(f" {codes[0].upper()} ") == mfa.recovery_digest(codes[0])
    assert mfa.recovery_digest(codes[0]) != mfa.recovery_digest(codes[1])
    assert mfa.recovery_digest("123456") is None
