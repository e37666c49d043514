"""Access tokens: JSON Web Tokens with one fixed algorithm, valid for fifteen minutes, for this client's vault only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import jwt

from .permissions import ROLES

ALGORITHM: Final = "HS256"
KIND: Final = "at+jwt"  # so that no other token signed with this secret can be taken for one
ISSUER: Final = "otobot-vault-api"
LIFETIME: Final = timedelta(minutes=15)
_REQUIRED: Final = ["exp", "iat", "iss", "aud", "sub", "sid", "role"]
_LONGEST: Final = 2048
_PART: Final = "[A-Za-z0-9_-]"
# The last character of 32 bytes in base64 has two spare bits: only one of its four spellings is the token we made.
_TOKEN: Final = re.compile(rf"{_PART}+\.{_PART}+\.{_PART}{{42}}[AEIMQUYcgkosw048]")


class TokenError(Exception):
    """Not a valid access token; says nothing about why, so that nobody learns from it."""


@dataclass(frozen=True)
class Claims:
    """What a valid token says: whose it is, of which session (family of refresh tokens), in which role."""

    user: UUID
    session: UUID
    role: str
    second_factor: bool


class Tokens:
    """Issues with the newest secret, accepts every valid one (two during a rotation)."""

    def __init__(self, secrets: Sequence[str], client: str) -> None:
        self._secrets = tuple(secrets)
        self._audience = f"{ISSUER}:{client}"

    def issue(self, claims: Claims, now: datetime | None = None) -> str:
        """Return a signed token for a user's session."""
        issued = now or datetime.now(UTC)
        content = {
            "iss": ISSUER,
            "aud": self._audience,
            "iat": issued,
            "exp": issued + LIFETIME,
            "sub": str(claims.user),
            "sid": str(claims.session),
            "role": claims.role,
            "mfa": claims.second_factor,
        }
        return jwt.encode(content, self._secrets[0], ALGORITHM, headers={"typ": KIND})

    def verify(self, text: str) -> Claims:
        """Return what a token says. Raises TokenError for anything that `issue` did not make for this client."""
        if len(text) > _LONGEST or not _TOKEN.fullmatch(text):
            raise TokenError from None
        for secret in self._secrets:
            try:
                return _claims(self._decoded(text, secret))
            except jwt.InvalidSignatureError:
                continue
            except (jwt.PyJWTError, ValueError, TypeError, KeyError, ArithmeticError, RecursionError):
                break
        raise TokenError from None

    def _decoded(self, text: str, secret: str) -> dict[str, Any]:
        whole = jwt.decode_complete(
            text,
            secret,
            algorithms=[ALGORITHM],
            audience=self._audience,
            issuer=ISSUER,
            options={"require": _REQUIRED, "strict_aud": True},
        )
        if whole["header"].get("typ") != KIND:
            raise ValueError
        content: dict[str, Any] = whole["payload"]
        return content


def _claims(content: dict[str, Any]) -> Claims:
    if content["role"] not in ROLES or content["exp"] - content["iat"] > LIFETIME.total_seconds():
        raise ValueError
    return Claims(UUID(content["sub"]), UUID(content["sid"]), content["role"], content.get("mfa") is True)
