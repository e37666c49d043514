"""The certificates that this host serves, as a visitor gets them: whatever proxy runs, wherever it keeps its files."""

from __future__ import annotations

import calendar
import socket
import time
from typing import Any, Dict, List, Tuple

_TIMEOUT_S = 5.0
_UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x17, 0x18, 0xA0
_BMP_STRING = 0x1E
_COMMON_NAME, _ORGANISATION = b"\x55\x04\x03", b"\x55\x04\x0a"
_CENTURY = 50  # X.509: a year of two digits below it is of this century


def certificate(name: str, address: "tuple[str, int]") -> Dict[str, Any]:
    """Answer what dates() tells of the certificate that `address` shows to a visitor of `name`, or error."""
    import ssl  # slow to import, and most observations need none

    context = ssl.create_default_context()
    context.check_hostname = False  # the question is what it shows, not whether to believe it
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection(address, _TIMEOUT_S) as raw, context.wrap_socket(
            raw, server_hostname=name
        ) as tls:
            shown = tls.getpeercert(binary_form=True)
    except OSError as error:  # ssl.SSLError is one
        return {"error": getattr(error, "reason", None) or error.strerror or str(error)}
    try:
        return dates(shown or b"")
    except (IndexError, ValueError):
        return {"error": "its certificate cannot be read"}


def dates(der: bytes) -> Dict[str, Any]:
    """Answer not_before and not_after (Unix seconds), issuer (its organisation or name) and self_signed, from DER.

    Raises:
        ValueError, IndexError: it is no certificate.
    """
    _, whole = _parts(der)[0]
    fields = _parts(_parts(whole)[0][1])
    if fields[0][0] == _VERSION:
        fields = fields[1:]
    _serial, _algorithm, issuer, validity, subject = fields[:5]
    before, after = (_seconds(kind, text.decode("ascii")) for kind, text in _parts(validity[1]))
    return {
        "not_before": before,
        "not_after": after,
        "issuer": _called(issuer[1]),
        "self_signed": issuer[1] == subject[1],
    }


def _called(name: bytes) -> str:
    """The organisation in an X.509 name, or else the common name."""
    found = {}
    for _, group in _parts(name):
        for _, pair in _parts(group):
            (_, oid), (kind, text) = _parts(pair)[:2]
            found[oid] = text.decode("utf-16-be" if kind == _BMP_STRING else "utf-8", "replace")
    said = found.get(_ORGANISATION) or found.get(_COMMON_NAME) or ""
    return "".join(letter if letter.isprintable() else "?" for letter in said)


def _parts(data: bytes) -> List[Tuple[int, bytes]]:
    """The elements of DER one after the other: (tag, contents)."""
    found = []
    while data:
        tag, length, start = data[0], data[1], 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(data[2:start], "big")
        if start + length > len(data):
            raise ValueError("cut short")
        found.append((tag, data[start : start + length]))
        data = data[start + length :]
    return found


def _seconds(kind: int, text: str) -> int:
    if kind == _UTC_TIME:
        text = ("20" if int(text[:2]) < _CENTURY else "19") + text
    elif kind != _GENERALIZED_TIME:
        raise ValueError("not a time")
    return calendar.timegm(time.strptime(text, "%Y%m%d%H%M%SZ"))
