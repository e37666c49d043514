"""New values. Each kind has at least 128 bits that nobody can guess."""

from __future__ import annotations

import base64
import os
import string
from collections.abc import Callable, Mapping

from otobotctl.secrets.model import SecretKind

_ALPHABET = string.ascii_letters + string.digits  # none of these means anything in a URL, a shell or a .env file
_PASSWORD_LENGTH = 32
_HEX_BYTES: Mapping[str, int] = {"hex16": 16, "hex32": 32, "hex64": 64}


def mint(kind: SecretKind, rng: Callable[[int], bytes] = os.urandom) -> str:
    """Return a new value.

    hexN is N bytes in hex digits, base64url48 48 bytes in 64 characters, password 32 characters, ed25519 a private SSH
    key in OpenSSH's form.

    Raises:
        ValueError: only a person can tell a secret of this kind.
    """
    if kind in _HEX_BYTES:
        return rng(_HEX_BYTES[kind]).hex()
    if kind == "base64url48":
        return base64.urlsafe_b64encode(rng(48)).decode()
    if kind == "ed25519":
        return _ssh_key(rng(32))
    if kind == "password":
        return _password(rng)
    raise ValueError(f"a secret of kind {kind} cannot be minted")


def _ssh_key(seed: bytes) -> str:
    """What ~/.ssh/id_ed25519 holds, without a passphrase."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # slow to import
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.from_private_bytes(seed)
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def _password(rng: Callable[[int], bytes]) -> str:
    """Pick characters evenly: bytes beyond the last whole multiple of the alphabet's size are thrown away.

    So is a whole password without a digit or without a letter of each case (1 in 270), which n8n would refuse.
    """
    while True:
        picked = _picked(rng)
        if all(any(map(test, picked)) for test in (str.isdigit, str.islower, str.isupper)):
            return picked


def _picked(rng: Callable[[int], bytes]) -> str:
    limit = 256 - 256 % len(_ALPHABET)
    picked = ""
    while len(picked) < _PASSWORD_LENGTH:
        picked += "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in rng(_PASSWORD_LENGTH) if byte < limit)
    return picked[:_PASSWORD_LENGTH]
