"""A certificate that an Ed25519 key signs for itself, from 32 random bytes: the same bytes give the same. Pure.

Whoever trusts it trusts exactly this one; so it names no authority, and its end is far away.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_FROM, _UNTIL = datetime(2025, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def key(seed: bytes) -> str:
    """Return the private key as PEM (PKCS #8)."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return _key(seed).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def self_signed(seed: bytes, holder: str, dns: str) -> str:
    """Return the certificate as PEM: `holder` is its common name, `dns` what it is for, as a server and as a caller."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    own = _key(seed)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, holder)])
    uses = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
    built = (
        x509.CertificateBuilder(name, name, own.public_key(), _serial(own), _FROM, _UNTIL)
        .add_extension(x509.KeyUsage(True, *[False] * 8), critical=False)  # digital signatures
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(dns)]), critical=False)
    )
    return built.sign(own, None).public_bytes(Encoding.PEM).decode()


def _serial(own: Ed25519PrivateKey) -> int:
    """16 bytes that the key decides, of which the first makes a positive number."""
    half = own.public_key().public_bytes_raw()
    return int.from_bytes(b"\x01" + hashlib.sha256(half).digest()[:15], "big")


def _key(seed: bytes) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # slow to import

    return Ed25519PrivateKey.from_private_bytes(seed)
