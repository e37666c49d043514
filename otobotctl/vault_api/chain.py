"""The audit's MACs: what they cover, and where a chain goes on."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import msgspec

_ENCODE: Final = msgspec.json.Encoder().encode

Frame = tuple[str, str, str]
# Action, outcome, who; user, service, connection and request as text, "" for none; address, details in order.
Named = tuple[str, str, str, str, str, str, str, str, Sequence[tuple[str, str]]]


def covered(shared: Frame, sequence: int, named: Named) -> bytes:
    """What a row's MAC covers."""
    return _ENCODE((*shared, sequence, *named))


def seal(key: bytes, before: bytes, covered: bytes) -> bytes:
    """The MAC of what is covered, behind the MAC before it."""
    return hmac.digest(key, before + covered, "sha256")


def opening_mac(key: bytes, client: UUID, stream: UUID, number: int, opened_at: datetime, heads: str) -> bytes:
    """The MAC that a chain begins with."""
    return seal(key, b"", _ENCODE(("opening", str(client), str(stream), number, moment(opened_at), heads)))


def trim_proof(key: bytes, stream: UUID, sequence: int, mac: bytes) -> bytes:
    """What shows that the rows up to `sequence` were forgotten by whoever has the key."""
    return seal(key, mac, _ENCODE(("trimmed", str(stream), sequence)))


def frame(client: UUID, stream: UUID, when: datetime) -> Frame:
    """What rows of one statement have in common."""
    return str(client), str(stream), moment(when)


def moment(when: datetime) -> str:
    """A time as the MAC covers it: UTC, to the microsecond."""
    return when.astimezone(UTC).isoformat(timespec="microseconds")


class Link:
    """Where a chain goes on: rows are sealed behind its newest one, all with one time, to be written in one commit."""

    def __init__(self, key: bytes, client: UUID, stream: UUID, sequence: int, mac: bytes) -> None:
        self.client = client
        self.stream = stream
        self.now = datetime.now(UTC)
        self.sequence = sequence
        self.mac = mac
        self._key = key
        self._shared = frame(client, stream, self.now)

    def seal(self, named: Named) -> bytes:
        """The MAC of the next row."""
        self.sequence += 1
        self.mac = seal(self._key, self.mac, covered(self._shared, self.sequence, named))
        return self.mac
