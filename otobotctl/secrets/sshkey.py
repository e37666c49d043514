"""An Ed25519 key pair in OpenSSH's form, from 32 random bytes. Pure; RFC 8032 and OpenSSH's PROTOCOL.key.

Only making a pair is done here, once per secret, and signing its own certificate; what signs else is OpenSSH.
"""

from __future__ import annotations

import base64
import hashlib
import textwrap

_KIND = b"ssh-ed25519"
_MAGIC = b"openssh-key-v1\0"
_BEGIN, _END = "-----BEGIN OPENSSH PRIVATE KEY-----", "-----END OPENSSH PRIVATE KEY-----"
_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493  # the base point's order
_D = -121665 * pow(121666, _P - 2, _P) % _P
_Y = 4 * pow(5, _P - 2, _P) % _P
_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202
_BLOCK = 8  # what the private half is filled up to

Point = tuple[int, int, int, int]


def private(seed: bytes, check: bytes) -> str:
    """Return the private key of 32 random bytes, without a passphrase; `check` are 4 bytes more.

    The text is what ~/.ssh/id_ed25519 holds.
    """
    half = public_half(seed)
    blob = _string(_KIND) + _string(half)
    inner = check * 2 + blob + _string(seed + half) + _string(b"otobot")
    inner += bytes(range(1, 1 + -len(inner) % _BLOCK))
    none = _string(b"none") * 2 + _string(b"")
    whole = _MAGIC + none + (1).to_bytes(4, "big") + _string(blob) + _string(inner)
    lines = textwrap.wrap(base64.b64encode(whole).decode(), 70)
    return "\n".join((_BEGIN, *lines, _END, ""))


def public(text: str, comment: str) -> str:
    """Return the one line of the public half of a private key that `private` made. Raises ValueError."""
    body = "".join(text.strip().splitlines()[1:-1])
    raw = base64.b64decode(body, validate=True)
    at = raw.find(_string(_KIND))
    if not raw.startswith(_MAGIC) or at < 0:
        raise ValueError("not an Ed25519 key in OpenSSH's form")
    blob = raw[at : at + len(_string(_KIND)) + 36]
    return f"{_KIND.decode()} {base64.b64encode(blob).decode()} {comment}"


def public_half(seed: bytes) -> bytes:
    """The public half: a hash of the seed, clamped, times the base point."""
    return _times(_scalar(seed))


def sign(seed: bytes, message: bytes) -> bytes:
    """Return the signature of a message by the private key of these 32 bytes (RFC 8032, 5.1.6)."""
    prefix, public_bytes = hashlib.sha512(seed).digest()[32:], public_half(seed)
    nonce = int.from_bytes(hashlib.sha512(prefix + message).digest(), "little") % _L
    start = _times(nonce)
    challenge = int.from_bytes(hashlib.sha512(start + public_bytes + message).digest(), "little")
    return start + ((nonce + challenge * _scalar(seed)) % _L).to_bytes(32, "little")


def _scalar(seed: bytes) -> int:
    digest = hashlib.sha512(seed).digest()
    return int.from_bytes(digest[:32], "little") & ((1 << 254) - 8) | (1 << 254)


def _times(scalar: int) -> bytes:
    """So many times the base point, as it is written."""
    point: Point = (0, 1, 1, 0)
    power: Point = (_X, _Y, 1, _X * _Y % _P)
    while scalar:
        if scalar & 1:
            point = _add(point, power)
        power = _add(power, power)
        scalar >>= 1
    inverse = pow(point[2], _P - 2, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _add(one: Point, other: Point) -> Point:
    a = (one[1] - one[0]) * (other[1] - other[0]) % _P
    b = (one[1] + one[0]) * (other[1] + other[0]) % _P
    c = 2 * one[3] * other[3] * _D % _P
    d = 2 * one[2] * other[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data
