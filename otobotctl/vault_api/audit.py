"""The audit: one row a deed, durable before the answer, chained so that a row changed, removed or slipped in is found.

Each process writes a chain of its own: the MAC of a row covers the row and the MAC before it. A chain's opening covers
the heads of the chains before it, so that a whole chain cannot vanish unseen either; the newest tail is secured by an
anchor that is kept elsewhere (see `verify`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol
from uuid import UUID, uuid4

import msgspec
import psycopg

from .actor import SYSTEM, Actor
from .chain import Link, Named, opening_mac

if TYPE_CHECKING:
    from .database import Database, Wire

_HEADS: Final = 32  # of so many chains before it an opening records the head
_TRIES: Final = 5
_ENCODE: Final = msgspec.json.Encoder().encode

# One JSON document for all rows: the driver takes longer over arrays than a read takes.
INSERT: Final = """
INSERT INTO credential_access_logs (client_id, stream, created_at, sequence, mac, access_type, outcome, accessed_by,
    user_id, service_code, client_connection_id, request_id, address, details)
SELECT %s, %s, %s, sequence, decode(mac, 'hex'), action, outcome, label, nullif("user", '')::uuid, nullif(service, ''),
    nullif(connection, '')::uuid, nullif(request, '')::uuid, address, details
FROM json_to_recordset(%s::json) AS r (sequence bigint, mac text, action text, outcome text, label text, "user" text,
    service text, connection text, request text, address text, details jsonb)"""

_OPEN: Final = """
INSERT INTO audit_streams (client_id, id, number, opened_at, heads, mac) VALUES (%s, %s, %s, %s, %s, %s)"""

_LAST_HEADS: Final = """
SELECT s.id, coalesce(l.sequence, s.trimmed_to), coalesce(l.mac, s.trimmed_mac, s.mac), s.number
FROM audit_streams s LEFT JOIN LATERAL (
    SELECT sequence, mac FROM credential_access_logs l
    WHERE l.client_id = s.client_id AND l.stream = s.id ORDER BY sequence DESC LIMIT 1
) l ON true
WHERE s.client_id = %s ORDER BY s.number DESC LIMIT %s"""


class Breakable(Protocol):
    """A connection, as far as a chain must know it."""

    @property
    def broken(self) -> bool:
        """Whether it is lost."""


class Entry(msgspec.Struct, frozen=True):
    """One deed. Nothing in it is secret; `details` are short texts."""

    action: str
    outcome: str
    actor: Actor = SYSTEM
    user: UUID | None = None
    service: str | None = None
    connection: UUID | None = None
    request: UUID | None = None
    address: str = ""
    details: Mapping[str, str] = msgspec.field(default_factory=dict)


class Row(msgspec.Struct, frozen=True):
    """A row as it is written: all text. Its MAC covers it in this order, behind the client, the chain and the time."""

    sequence: int
    action: str
    outcome: str
    label: str
    user: str
    service: str
    connection: str
    request: str
    address: str
    details: Mapping[str, str]
    mac: str = ""

    @classmethod
    def of(cls, sequence: int, entry: Entry) -> Row:
        """An entry as a row that has no MAC yet."""
        return cls(
            sequence,
            entry.action,
            entry.outcome,
            entry.actor.label,
            _text(entry.user),
            entry.service or "",
            _text(entry.connection),
            _text(entry.request),
            entry.address,
            entry.details,
        )

    def named(self) -> Named:
        """What was done, as the MAC covers it."""
        about = (self.user, self.service, self.connection, self.request, self.address, sorted(self.details.items()))
        return self.action, self.outcome, self.label, *about


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
        async with self._database.connection() as connection:
            await self.append(connection, entries)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A transaction that commits its rows and the record of them together; without a note it is refused.

        Raises:
            psycopg.Error: neither the rows nor the record are there.
        """
        held, before = False, None
        async with self._database.connection() as connection:
            try:
                async with connection.transaction():
                    made = Transaction(connection)
                    yield made
                    if not made.entries:
                        raise RuntimeError("a transaction of the audit must note what it did")  # noqa: TRY301
                    held = await self._turn.acquire()  # until the commit: the next row chains to this one
                    before = self._stream
                    link = await self._next(connection)
                    await _insert(connection, link, made.entries)
                self._sequence, self._mac = link.sequence, link.mac
            except BaseException as error:
                if held:
                    # A chain that was opened in here was undone with the rest.
                    self._stream = before if _undone(connection, error) else None
                raise
            finally:
                if held:
                    self._turn.release()

    async def append(self, connection: Wire, entries: Sequence[Entry]) -> None:
        """Record on a connection that is in no transaction: one statement, durable on return."""
        async with self.turn(connection, connection) as link:
            await _insert(connection, link, entries)

    @asynccontextmanager
    async def turn(self, connection: Breakable, opener: Wire | None = None) -> AsyncIterator[Link]:
        """The chain's next rows are the caller's, who seals and commits them in here, over `connection`.

        A chain that has not begun begins over `opener`, or over a connection of the pool's.

        An exception means that they were not committed, or, where the connection broke, that nobody knows: then this
        chain ends, and the next row begins another.
        """
        async with self._turn:
            try:
                link = await self._next(opener)
                yield link
                self._sequence, self._mac = link.sequence, link.mac
            except BaseException as error:
                if not _undone(connection, error):
                    self._stream = None
                raise

    async def _next(self, opener: Wire | None) -> Link:
        client = await self._database.client()
        if self._stream is None:
            async with contextlib.nullcontext(opener) if opener else self._database.connection() as wire:
                await self._begin(wire, client)
        assert self._stream is not None  # noqa: S101 - for the type checker
        return Link(self._key, client, self._stream, self._sequence, self._mac)

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


async def _insert(connection: Wire, link: Link, entries: Sequence[Entry]) -> None:
    rows = []
    for entry in entries:
        row = Row.of(link.sequence + 1, entry)
        rows.append(msgspec.structs.replace(row, mac=link.seal(row.named()).hex()))
    await connection.execute(INSERT, (link.client, link.stream, link.now, _ENCODE(rows).decode()))


def _undone(connection: Breakable, error: BaseException) -> bool:
    """Whether the server itself said no. Else what was committed is not known: the chain ends, and a new one begins."""
    return isinstance(error, psycopg.Error) and not connection.broken and error.sqlstate is not None
