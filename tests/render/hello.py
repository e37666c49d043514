"""A ClientHello of one's own making, and what a server answers: it offers what no library would offer any more."""

from __future__ import annotations

import secrets
import socket
import struct
from dataclasses import dataclass

SSL3, TLS10, TLS11, TLS12, TLS13 = 0x0300, 0x0301, 0x0302, 0x0303, 0x0304
GROUPS = {
    "secp192r1": 19,
    "secp256r1": 23,
    "secp384r1": 24,
    "secp521r1": 25,
    "x25519": 29,
    "x448": 30,
    "ffdhe2048": 256,
}
# What a library would offer to be understood: ECDSA and RSA, as TLS 1.2 and as 1.3 write them.
_SIGNATURES = (0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201)
_HANDSHAKE, _SERVER_HELLO = 22, 2
_RENEGOTIATION, _VERSIONS, _KEY_SHARE = 0xFF01, 43, 51


@dataclass(frozen=True)
class Answer:
    """A ServerHello: what the server chose."""

    version: int
    suite: int
    compression: int
    extensions: frozenset[int]


def ask(
    port: int,
    name: str,
    suites: tuple[int, ...],
    version: int = TLS12,
    *,
    groups: tuple[int, ...] = (29, 23, 24),
    compressions: tuple[int, ...] = (0,),
) -> Answer | None:
    """Offer these suites to a server on 127.0.0.1; None: it refuses."""
    hello = _client_hello(name, suites, version, groups, compressions)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as line:
        try:
            line.sendall(hello)
            head = _exactly(line, 5)
            if head[0] != _HANDSHAKE:
                return None
            body = _exactly(line, int.from_bytes(head[3:5], "big"))
        except (ConnectionError, EOFError):
            return None
    return _server_hello(body) if body[0] == _SERVER_HELLO else None


def _client_hello(
    name: str, suites: tuple[int, ...], version: int, groups: tuple[int, ...], compressions: tuple[int, ...]
) -> bytes:
    host = name.encode()
    extensions = [
        (0, _sized(2, b"\0" + _sized(2, host))),
        (10, _numbers(groups)),
        (11, _sized(1, b"\0")),
        (13, _numbers(_SIGNATURES)),
        (_RENEGOTIATION, b"\0"),
    ]
    if version == TLS13:
        # x25519 takes any 32 bytes for a key; whoever chooses another group says so, which is an answer too.
        share = struct.pack(">H", 29) + _sized(2, secrets.token_bytes(32))
        extensions += [(_VERSIONS, _sized(1, struct.pack(">H", TLS13))), (_KEY_SHARE, _sized(2, share))]
    written = b"".join(struct.pack(">H", kind) + _sized(2, data) for kind, data in extensions)
    spoken = min(version, TLS12)
    body = struct.pack(">H", spoken) + secrets.token_bytes(32) + _sized(1, b"") + _numbers(suites)
    body += _sized(1, bytes(compressions)) + _sized(2, written)
    message = b"\1" + len(body).to_bytes(3, "big") + body
    return bytes([_HANDSHAKE]) + struct.pack(">H", min(spoken, TLS10)) + _sized(2, message)


def _server_hello(body: bytes) -> Answer:
    (version,) = struct.unpack(">H", body[4:6])
    place = 38 + 1 + body[38]
    suite, compression = struct.unpack(">HB", body[place : place + 3])
    rest, found = body[place + 5 : 4 + int.from_bytes(body[1:4], "big")], {}
    while rest:
        kind, length = struct.unpack(">HH", rest[:4])
        found[kind], rest = rest[4 : 4 + length], rest[4 + length :]
    if _VERSIONS in found:
        version = int.from_bytes(found[_VERSIONS], "big")
    return Answer(version, suite, compression, frozenset(found))


def _numbers(values: tuple[int, ...]) -> bytes:
    return _sized(2, b"".join(struct.pack(">H", value) for value in values))


def _sized(width: int, data: bytes) -> bytes:
    return len(data).to_bytes(width, "big") + data


def _exactly(line: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = line.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data
