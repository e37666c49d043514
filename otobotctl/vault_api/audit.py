"""The audit: one row a deed, durable before the answer, chained so that a row changed, removed or slipped in is found.

Each process writes a chain of its own: the MAC of a row covers the row and the MAC before it. A chain's opening covers
the heads of the chains before it, so that a whole chain cannot vanish unseen either; the newest tail is secured by an
anchor that is kept elsewhere (see `verify`).
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

import psycopg

from .actor import SYSTEM, Actor

if TYPE_CHECKING:
    from .database import Database, Wire

_HEADS: Final = 32  # of so many chains before it an opening records the head
_TRIES: Final = 5

INSERT: Final = """
INSERT INTO credential_access_logs (client_id, stream, sequence, mac, created_at, access_type, outcome, accessed_by,
    user_id, service_code, client_connection_id, request_id, address, details)
SELECT %s, %s, * FROM unnest(%s::bigint[], %s::bytea[], %s::timestamptz[], %s::text[], %s::text[], %s::text[],
    %s::uuid[], %s::text[], %s::uuid[], %s::uuid[], %s::text[], %s::jsonb[])"""

_OPEN: Final = """
INSERT INTO audit_streams (client_id, id, number, opened_at, heads, mac) VALUES (%s, %s, %s, %s, %s, %s)"""

_LAST_HEADS: Final = """
SELECT s.id, coalesce(l.sequence, s.trimmed_to), coalesce(l.mac, s.trimmed_mac, s.mac), s.number
FROM audit_streams s LEFT JOIN LATERAL (
    SELECT sequence, mac FROM credential_access_logs l
    WHERE l.client_id = s.client_id AND l.stream = s.id ORDER BY sequence DESC LIMIT 1
) l ON true
WHERE s.client_id = %s ORDER BY s.number DESC LIMIT %s"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One deed. Nothing in it is secret; `details` are short texts."""

    action: str
    outcome: str
    actor: Actor = SYSTEM
    user: UUID | None = None
    service: str | None = None
    connection: UUID | None = None
    request: UUID | None = None
    address: str = ""
    details: Mapping[str, str] = field(default_factory=dict)


def row_mac(key: bytes, before: bytes, row: Sequence[Any]) -> bytes:
    """The MAC of a row, given as the texts that `canonical` makes of it, behind the MAC before it."""
    return hmac.digest(key, before + json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode(), "sha256")


def opening_mac(key: bytes, client: UUID, stream: UUID, number: int, opened_at: datetime, heads: str) -> bytes:
    """The MAC that a chain begins with."""
    return row_mac(key, b"", ["opening", str(client), str(stream), number, moment(opened_at), heads])


def moment(when: datetime) -> str:
    """A time as the MAC covers it: UTC, to the microsecond."""
    return when.astimezone(UTC).isoformat(timespec="microseconds")


def canonical(client: UUID, stream: UUID, sequence: int, when: datetime, entry: Entry, label: str) -> list[Any]:
    """A row as its MAC covers it."""
    return [
        str(client), str(stream), sequence, moment(when), entry.action, entry.outcome, label,
        _text(entry.user), entry.service or "", _text(entry.connection), _text(entry.request), entry.address,
        sorted(entry.details.items()),
    ]  # fmt: skip


def _text(identity: UUID | None) -> str:
    return "" if identity is None else str(identity)


class Transaction:
    """A transaction whose deeds are recorded when it is committed, and only then."""

    def __init__(self, connection: Wire) -> None:
        self.connection = connection
        self.entries: list[Entry] = []

    def note(self, entry: Entry) -> None:
        """Record this with the commit."""
        self.entries.append(entry)


class Audit:
    """Writes this process's chain. `key` is the MAC's own."""

    def __init__(self, database: Database, key: bytes) -> None:
        self._database = database
        self._key = key
        self._turn = asyncio.Lock()  # a chain has one writer at a time
        self._stream: UUID | None = None
        self._sequence = 0
        self._mac = b""

    async def record(self, *entries: Entry) -> None:
        """Record deeds that are rows of their own. Durable on return. Raises psycopg.Error: nothing was recorded."""
        if not entries:
            return
        async with self._database.connection(checked=True) as connection:
            await self.append(connection, entries)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A transaction that commits its rows and the record of them together; without a note it is refused.

        Raises:
            psycopg.Error: neither the rows nor the record are there.
        """
        held = False
        async with self._database.connection(checked=True) as connection:
            try:
                async with connection.transaction():
                    made = Transaction(connection)
                    yield made
                    if not made.entries:
                        raise RuntimeError("a transaction of the audit must note what it did")  # noqa: TRY301
                    held = await self._turn.acquire()  # until the commit: the next row chains to this one
                    after = await self._write(connection, made.entries)
                self._sequence, self._mac = after
            except BaseException:
                if held:
                    self._stream = None  # as in `append`
                raise
            finally:
                if held:
                    self._turn.release()

    async def append(self, connection: Wire, entries: Sequence[Entry]) -> None:
        """Record on a connection that is in no transaction: one statement, durable on return."""
        async with self._turn:
            try:
                self._sequence, self._mac = await self._write(connection, entries)
            except BaseException:
                # Whether it was committed is not known: a new chain begins, and the old one ends where it ends.
                self._stream = None
                raise

    async def _write(self, connection: Wire, entries: Sequence[Entry]) -> tuple[int, bytes]:
        client = await self._database.client()
        if self._stream is None:
            await self._begin(connection, client)
        stream = self._stream
        assert stream is not None  # noqa: S101 - for the type checker
        now = datetime.now(UTC)
        sequence, mac = self._sequence, self._mac
        macs = []
        for entry in entries:
            sequence += 1
            mac = row_mac(self._key, mac, canonical(client, stream, sequence, now, entry, entry.actor.label))
            macs.append(mac)
        columns = (
            list(range(self._sequence + 1, sequence + 1)),
            macs,
            [now] * len(entries),
            [entry.action for entry in entries],
            [entry.outcome for entry in entries],
            [entry.actor.label for entry in entries],
            [entry.user for entry in entries],
            [entry.service for entry in entries],
            [entry.connection for entry in entries],
            [entry.request for entry in entries],
            [entry.address for entry in entries],
            [json.dumps(dict(entry.details)) for entry in entries],
        )
        await connection.execute(INSERT, (client, stream, *columns))
        return sequence, mac

    async def _begin(self, connection: Wire, client: UUID) -> None:
        """Open a chain that closes in the heads of those before it."""
        for attempt in range(_TRIES):
            rows = await (await connection.execute(_LAST_HEADS, (client, _HEADS))).fetchall()
            number = max((row[3] for row in rows), default=0) + 1
            heads = json.dumps([[str(row[0]), row[1], row[2].hex()] for row in rows], separators=(",", ":"))
            stream, opened = uuid4(), datetime.now(UTC)
            mac = opening_mac(self._key, client, stream, number, opened, heads)
            try:
                async with connection.transaction():
                    await connection.execute(_OPEN, (client, stream, number, opened, heads, mac))
            except psycopg.errors.UniqueViolation:  # another process opened this number
                if attempt == _TRIES - 1:
                    raise
                continue
            self._stream, self._sequence, self._mac = stream, 0, mac
            return


def digest(text: str) -> bytes:
    """How a token is stored and compared: never itself."""
    return sha256(text.encode()).digest()
