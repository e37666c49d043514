"""Just enough OpenPGP (RFC 9580) to know which keys a key file holds, on hosts without gpg.

Strict, because the file comes from the network: anything but version 4 public keys with their usual companions is
refused, so that apt can see no key here that this parser did not see.
"""

from __future__ import annotations

from typing import Iterator, List, NamedTuple, Optional, Tuple

_SIGNATURE, _KEY, _TRUST, _USER, _SUBKEY, _ATTRIBUTE = 2, 6, 12, 13, 14, 17
_COMPANIONS = (_SIGNATURE, _TRUST, _USER, _SUBKEY, _ATTRIBUTE)
_SECRET = (5, 7)
_DIRECT = 0x1F
_SELF_SIGNATURES = (0x10, 0x11, 0x12, 0x13, _DIRECT)
_NOT_ITS_OWN = (-2, 0)
_CREATED, _EXPIRES, _ISSUER, _ISSUER_FINGERPRINT = 2, 9, 16, 33
_VERSION = 4
_SIGNATURE_HEAD_BYTES = 6  # version, type, two algorithms, the size of the hashed part
_TWO, _PARTIAL, _FIVE = 192, 224, 255  # first bytes from which a length has two bytes, is partial, has five
_WIDEST = 4
_BEGIN, _END = "-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----END PGP PUBLIC KEY BLOCK-----"


class KeyFileError(Exception):
    """Not a file of OpenPGP public keys that this parser accepts."""


class Key(NamedTuple):
    """A primary key: 40 upper-case hex digits, its expiry in Unix seconds (None: never), and its bytes in the file."""

    fingerprint: str
    expires: Optional[int]
    data: bytes


def dearmour(data: bytes) -> bytes:
    """The binary form of a key file that may be armoured. Raises KeyFileError."""
    if data[:1] and data[0] & 0x80:
        return data
    import base64
    import binascii

    text = data.decode("ascii", "replace")
    if text.count(_BEGIN) != 1 or _END not in text:
        raise KeyFileError("it holds no single OpenPGP public key block")
    lines = [line.strip() for line in text.split(_BEGIN)[1].split(_END)[0].split("\n")][1:]
    if "" not in lines:
        raise KeyFileError("the armour has no empty line after its headers")
    body = [line for line in lines[lines.index("") + 1 :] if line and not line.startswith("=")]
    try:
        return base64.b64decode("".join(body), validate=True)
    except binascii.Error:
        raise KeyFileError("the armour is damaged") from None


def keys(data: bytes) -> List[Key]:
    """The primary keys of a binary key file, in order. Raises KeyFileError."""
    found: List[Key] = []
    starts: List[int] = []
    for tag, start, body in _packets(data):
        if tag == _KEY:
            if body[:1] != bytes([_VERSION]):
                raise KeyFileError("it holds a key of a version other than 4")
            starts.append(start)
        elif tag in _SECRET:
            raise KeyFileError("it holds a private key")
        elif not starts or tag not in _COMPANIONS:
            raise KeyFileError("it holds something other than public keys")
    for start, end in zip(starts, [*starts[1:], len(data)]):
        found.append(_key(data[start:end]))
    if not found:
        raise KeyFileError("it holds no key")
    return found


def _key(data: bytes) -> Key:
    import hashlib

    packets = [(tag, body) for tag, _, body in _packets(data)]
    body = packets[0][1]
    fingerprint = hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body).hexdigest().upper()
    created = int.from_bytes(body[1:5], "big")
    newest, lifetime_s = -1, 0
    for tag, signature in packets[1:]:
        if tag == _SUBKEY:
            break
        if tag == _SIGNATURE:
            made, lasts_s = _self_signature(signature, fingerprint)
            if made >= newest:
                newest, lifetime_s = made, lasts_s
    return Key(fingerprint, created + lifetime_s if lifetime_s else None, data)


def _self_signature(body: bytes, fingerprint: str) -> Tuple[int, int]:
    """When this signature was made and how long (s) the key lives by it; made before any other if it does not say."""
    if body[:1] != bytes([_VERSION]) or len(body) < _SIGNATURE_HEAD_BYTES or body[1] not in _SELF_SIGNATURES:
        return _NOT_ITS_OWN
    size = int.from_bytes(body[4:6], "big")
    hashed = dict(_subpackets(body[6 : 6 + size]))
    rest = body[6 + size :]
    others = dict(_subpackets(rest[2 : 2 + int.from_bytes(rest[:2], "big")]))
    by_id = hashed.get(_ISSUER, others.get(_ISSUER, b"")).hex().upper()
    by = hashed.get(_ISSUER_FINGERPRINT, others.get(_ISSUER_FINGERPRINT, b""))[1:].hex().upper()
    if fingerprint != by and not (by_id and fingerprint.endswith(by_id)):
        return _NOT_ITS_OWN
    if body[1] == _DIRECT and _EXPIRES not in hashed:
        return _NOT_ITS_OWN  # such a one names a revoker; how long the key lives stands with its user names
    return int.from_bytes(hashed.get(_CREATED, b""), "big"), int.from_bytes(hashed.get(_EXPIRES, b""), "big")


def _subpackets(data: bytes) -> Iterator[Tuple[int, bytes]]:
    place = 0
    while place < len(data):
        size, place = _length(data, place)
        if not size or place + size > len(data):
            raise KeyFileError("a signature is damaged")
        yield data[place] & 0x7F, data[place + 1 : place + size]
        place += size


def _packets(data: bytes) -> Iterator[Tuple[int, int, bytes]]:
    """Tag, start and body of every packet."""
    place = 0
    while place < len(data):
        start, first = place, data[place]
        if not first & 0x80:
            raise KeyFileError("it is damaged")
        if first & 0x40:
            tag = first & 0x3F
            if data[place + 1 : place + 2] and _PARTIAL <= data[place + 1] < _FIVE:
                raise KeyFileError("it is cut in parts")
            size, place = _length(data, place + 1)
        else:
            tag, width = first >> 2 & 0x0F, 1 << (first & 3)
            if width > _WIDEST:
                raise KeyFileError("it holds a packet without a length")
            size, place = int.from_bytes(data[place + 1 : place + 1 + width], "big"), place + 1 + width
        if place + size > len(data):
            raise KeyFileError("it is cut short")
        yield tag, start, data[place : place + size]
        place += size


def _length(data: bytes, place: int) -> Tuple[int, int]:
    """A length of one, two or five bytes, and where what it measures begins."""
    first = data[place] if place < len(data) else _FIVE
    if first < _TWO:
        return first, place + 1
    if first < _FIVE:
        if place + 2 > len(data):
            raise KeyFileError("it is cut short")
        return ((first - _TWO) << 8) + data[place + 1] + _TWO, place + 2
    if place + 5 > len(data):
        raise KeyFileError("it is cut short")
    return int.from_bytes(data[place + 1 : place + 5], "big"), place + 5
