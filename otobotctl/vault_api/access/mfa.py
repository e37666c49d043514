"""The second factor: codes of an authenticator that work once each, and recovery codes for the day it is lost."""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from datetime import datetime
from hashlib import sha256
from typing import Final

import pyotp

STEP_S: Final = 30
DRIFT_STEPS: Final = 1  # a clock may be half a minute off
RECOVERY_CODES: Final = 10
_CODE: Final = re.compile(r"[0-9]{6}")
_RECOVERY: Final = re.compile(r"[a-z2-7]{4}(-[a-z2-7]{4}){3}")


def new_secret() -> str:
    """Return a fresh secret of 160 bits, in base32 as authenticators take it."""
    return pyotp.random_base32(32)


def uri(secret: str, account: str, issuer: str) -> str:
    """Return the otpauth:// address that authenticators read from a QR code. It contains the secret."""
    return pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name=issuer)


def accepted_step(secret: str, code: str, now: datetime, last_step: int | None) -> int | None:
    """Return the time step that a code belongs to, to be stored as the last used one; None when it is refused.

    A step at or before the last used one is refused: a code that somebody saw over a shoulder is worth nothing.
    """
    if not _CODE.fullmatch(code):
        return None
    totp = pyotp.TOTP(secret)
    present = int(now.timestamp()) // STEP_S
    found = None
    for step in range(present - DRIFT_STEPS, present + DRIFT_STEPS + 1):
        same = hmac.compare_digest(totp.generate_otp(step), code)
        if same and (last_step is None or step > last_step):
            found = step
    return found


def new_recovery_codes() -> tuple[str, ...]:
    """Return fresh recovery codes of 80 bits each, to be shown once."""
    return tuple(_recovery_code() for _ in range(RECOVERY_CODES))


def recovery_digest(code: str) -> bytes | None:
    """Return what is stored of a recovery code; None when it does not look like one. 80 random bits need no salt."""
    text = code.strip().lower()
    return sha256(text.encode()).digest() if _RECOVERY.fullmatch(text) else None


def _recovery_code() -> str:
    text = base64.b32encode(secrets.token_bytes(10)).decode().lower()
    return "-".join(text[start : start + 4] for start in range(0, 16, 4))
