"""API keys for programs: `otk_<prefix>_<secret>`, shown once, stored as a digest, with scopes and an end."""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Final

_KEY: Final = re.compile(r"otk_([0-9a-f]{12})_[0-9a-f]{64}")
_NOBODY: Final = sha256(b"no key has this digest").digest()


@dataclass(frozen=True)
class Minted:
    """A new key: `text` is for the caller's eyes once, the rest is stored."""

    prefix: str
    digest: bytes = field(repr=False)
    text: str = field(repr=False)


@dataclass(frozen=True)
class Stored:
    """What the database knows of a key."""

    digest: bytes = field(repr=False)
    expires_at: datetime | None
    revoked_at: datetime | None


def mint() -> Minted:
    """Return a fresh key with 256 random bits; the prefix names it in lists and logs."""
    prefix = secrets.token_hex(6)
    text = f"otk_{prefix}_{secrets.token_hex(32)}"
    return Minted(prefix, sha256(text.encode()).digest(), text)


def prefix(text: str) -> str | None:
    """Return the prefix to look a presented key up by; None when it is not a key at all."""
    found = _KEY.fullmatch(text)
    return found[1] if found else None


def admits(stored: Stored | None, presented: str, now: datetime) -> bool:
    """Whether a presented key is the stored one and valid now; the same comparison when nothing is stored."""
    digest = sha256(presented.encode("utf-8", "surrogatepass")).digest()
    same = hmac.compare_digest(digest, stored.digest if stored else _NOBODY)
    if stored is None or not same or stored.revoked_at is not None:
        return False
    return stored.expires_at is None or now < stored.expires_at
