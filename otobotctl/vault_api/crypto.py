"""AES-256-GCM under the master key. A ciphertext opens only in the row and field it was sealed for."""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12
TAG_BYTES = 16
ALLOWANCE = 100_000
_PARTS = 3
_ENCODE = msgspec.json.Encoder().encode


class SealError(Exception):
    """A ciphertext does not open: changed, moved to another row, or sealed under another key."""


class Place(msgspec.Struct, frozen=True):
    """Where a ciphertext belongs; `field` is its column."""

    client: str
    user: str
    service: str
    row: str
    field: str

    def bound(self, version: int) -> bytes:
        """The additional data that ties a ciphertext to this place and key version; no two places share it."""
        parts = ("otobot-vault", version, self.client, self.user, self.service, self.row, self.field)
        return _ENCODE(parts)


class Keyring:
    """The keys by version. Text format: `version:iv:authTag:ciphertext`, the last three in hexadecimal.

    Nonces are random, so uses of a key are counted: `allowance` is how often `seal` may still be called, raised by
    whoever has written the higher count down first (keys.py).
    """

    def __init__(self, keys: Mapping[int, bytes], current: int, allowance: int = ALLOWANCE) -> None:
        self._ciphers = {version: AESGCM(key) for version, key in keys.items()}
        self.current = current
        self.allowance = allowance

    def __repr__(self) -> str:
        return f"Keyring(versions={sorted(self._ciphers)})"

    @property
    def versions(self) -> frozenset[int]:
        """Every version that this keyring opens."""
        return frozenset(self._ciphers)

    def seal(self, plain: str, place: Place) -> str:
        """Encrypt under the current key, with a fresh random nonce. Raises SealError: the key was used too often."""
        if self.allowance <= 0:
            raise SealError("the key has no uses left that were counted; rotate ENCRYPTION_MASTER_KEY")
        self.allowance -= 1
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ciphers[self.current].encrypt(nonce, plain.encode(), place.bound(self.current))
        cipher, tag = sealed[:-TAG_BYTES], sealed[-TAG_BYTES:]
        return f"{self.current}:{nonce.hex()}:{tag.hex()}:{cipher.hex()}"

    def open(self, text: str, place: Place) -> str:
        """Decrypt and verify. Raises SealError for anything but what `seal` made for this very place."""
        version, nonce, sealed = _parse(text)
        if version not in self._ciphers:
            raise SealError(f"sealed under key version {version}, which this vault does not have")
        try:
            return self._ciphers[version].decrypt(nonce, sealed, place.bound(version)).decode()
        except InvalidTag:
            raise SealError("the authentication tag does not match") from None


def _parse(text: str) -> tuple[int, bytes, bytes]:
    """The version, the nonce, and the ciphertext with its tag behind it."""
    version, *parts = text.split(":")
    if len(parts) != _PARTS or not (version.isascii() and version.isdigit()):
        raise SealError("not of the form version:iv:authTag:ciphertext")
    try:
        nonce, sealed = bytes.fromhex(parts[0]), bytes.fromhex(parts[2] + parts[1])
    except ValueError:
        raise SealError("not of the form version:iv:authTag:ciphertext") from None
    if len(nonce) != NONCE_BYTES or len(parts[1]) != 2 * TAG_BYTES:  # a shorter tag would be a weaker seal
        raise SealError("the iv or the authentication tag has the wrong length")
    return int(version[:9]), nonce, sealed
