"""A certificate that an Ed25519 key signs for itself, from 32 random bytes: the same bytes give the same. Pure.

Whoever trusts it trusts exactly this one; so it names no authority, and its end is far away. RFC 5280, RFC 8410.
"""

from __future__ import annotations

import base64
import hashlib
import textwrap

from otobotctl.secrets import sshkey

_ED25519 = bytes.fromhex("06032b6570")  # 1.3.101.112
_NAME = bytes.fromhex("0603550403")  # 2.5.4.3, the common name
_FROM, _UNTIL = b"250101000000Z", b"99991231235959Z"
_SEQUENCE, _SET, _UTC, _TIME, _UTF8 = 0x30, 0x31, 0x17, 0x18, 0x0C
_OCTETS, _BITS, _INTEGER = 0x04, 0x03, 0x02
_SHORT = 0x80


def key(seed: bytes) -> str:
    """Return the private key as PEM (PKCS #8)."""
    inner = _der(_INTEGER, b"\0"), _der(_SEQUENCE, _ED25519), _der(_OCTETS, _der(_OCTETS, seed))
    return _pem("PRIVATE KEY", _der(_SEQUENCE, *inner))


def self_signed(seed: bytes, holder: str, dns: str) -> str:
    """Return the certificate as PEM: `holder` is its common name, `dns` what it is for, as a server and as a caller."""
    half = sshkey.public_half(seed)
    name = _der(_SEQUENCE, _der(_SET, _der(_SEQUENCE, _NAME, _der(_UTF8, holder.encode()))))
    body = _der(
        _SEQUENCE,
        bytes.fromhex("a003020102"),  # version 3
        _der(_INTEGER, b"\x01" + hashlib.sha256(half).digest()[:15]),
        _der(_SEQUENCE, _ED25519),
        name,
        _der(_SEQUENCE, _der(_UTC, _FROM), _der(_TIME, _UNTIL)),
        name,
        _der(_SEQUENCE, _der(_SEQUENCE, _ED25519), _der(_BITS, b"\0", half)),
        _der(0xA3, _der(_SEQUENCE, *_extensions(dns))),
    )
    signed = _der(_SEQUENCE, body, _der(_SEQUENCE, _ED25519), _der(_BITS, b"\0", sshkey.sign(seed, body)))
    return _pem("CERTIFICATE", signed)


def _extensions(dns: str) -> tuple[bytes, ...]:
    """What it is for: digital signatures, a server, a caller, and one name."""
    uses = bytes.fromhex("06082b06010505070301"), bytes.fromhex("06082b06010505070302")
    return (
        _extension("0603551d0f", bytes.fromhex("03020780")),
        _extension("0603551d25", _der(_SEQUENCE, *uses)),
        _extension("0603551d11", _der(_SEQUENCE, _der(0x82, dns.encode()))),
    )


def _extension(kind: str, value: bytes) -> bytes:
    return _der(_SEQUENCE, bytes.fromhex(kind), _der(_OCTETS, value))


def _der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    if len(content) < _SHORT:
        return bytes((tag, len(content))) + content
    size = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes((tag, _SHORT | len(size))) + size + content


def _pem(what: str, content: bytes) -> str:
    lines = textwrap.wrap(base64.b64encode(content).decode(), 64)
    return "\n".join((f"-----BEGIN {what}-----", *lines, f"-----END {what}-----", ""))
