"""A new master key for everything that is stored, while reads and writes go on.

A batch at a time, every value that an old key sealed is sealed anew; a value that somebody else has written meanwhile
is left as it is. It may be killed at any time: what is done stays done, and the next run goes on. An old version is
retired only when a count shows that nothing needs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from psycopg import sql

from . import keys, logs
from .audit import Audit, Entry
from .crypto import Place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from .actor import Actor
    from .crypto import Keyring
    from .database import Database

BATCH: Final = 200


@dataclass(frozen=True)
class Column:
    """A column of sealed values. `user` and `service` are expressions of the row: parts of each value's place."""

    table: str
    name: str
    user: str = "''"
    service: str = "''"

    def where(self, slug: str, row: UUID, user: str, service: str) -> Place:
        """The place of one value."""
        return Place(slug, user, service, str(row), self.name)


# Every column that holds `version:iv:authTag:ciphertext`. A short-lived one is not here: oauth_states live ten minutes.
COLUMNS: Final = (
    *(
        Column("client_connections", name, "user_id::text", "service_code")
        for name in (
            "encrypted_access_token", "encrypted_refresh_token", "encrypted_api_key", "encrypted_next_refresh_token",
        )
    ),
    Column("oauth_applications", "encrypted_client_id", service="service_code"),
    Column("oauth_applications", "encrypted_client_secret", service="service_code"),
    Column("users", "mfa_secret", user="id::text"),
)  # fmt: skip


@dataclass(frozen=True)
class Rewrapped:
    """What a run did. `left` counts, by version, the values that still need an older key; empty is the proof."""

    sealed: int
    left: Mapping[int, int]
    retired: tuple[int, ...]


async def run(
    database: Database, ring: Keyring, audit: Audit, slug: str, actor: Actor, tell: Callable[[int], None] | None = None
) -> Rewrapped:
    """Seal everything anew under the current key, then retire the versions that nothing needs.

    `tell` hears after each batch how many values this run has sealed.

    Raises:
        psycopg.Error: the database did not answer; run it again.
        SealError: a value does not open; nothing of its version is retired.
    """
    sealed = 0
    for column in COLUMNS:
        async for done in _column(database, ring, slug, column):
            sealed += done
            if tell is not None:
                tell(sealed)
    left = await count(database, ring.current)
    retired = await _retire(database, audit, ring, actor) if not left else ()
    logs.event("rewrapped", version=ring.current, processed=sealed)
    return Rewrapped(sealed, left, retired)


def needed() -> sql.Composed:
    """The statement that tells which versions the values of a client (named %(client)s) need."""
    parts = [
        sql.SQL("SELECT {name} AS sealed FROM {table} WHERE client_id = %(client)s AND {name} IS NOT NULL").format(
            name=sql.Identifier(column.name), table=sql.Identifier(column.table)
        )
        for column in COLUMNS
    ]
    return sql.SQL("SELECT DISTINCT split_part(sealed, ':', 1)::int FROM ({}) AS every").format(
        sql.SQL(" UNION ALL ").join(parts)
    )


async def count(database: Database, current: int) -> dict[int, int]:
    """How many values each version but the current one still seals."""
    client = await database.client()
    found: dict[int, int] = {}
    for column in COLUMNS:
        statement = sql.SQL(
            "SELECT split_part({name}, ':', 1)::int, count(*) FROM {table} "
            "WHERE client_id = %s AND {name} NOT LIKE %s GROUP BY 1"
        ).format(name=sql.Identifier(column.name), table=sql.Identifier(column.table))
        for version, number in await database.all(statement, (client, f"{current}:%")):
            found[version] = found.get(version, 0) + number
    return found


async def _column(database: Database, ring: Keyring, slug: str, column: Column) -> AsyncIterator[int]:
    """Seal a column anew, and yield how many values each batch came to."""
    client = await database.client()
    select = sql.SQL(
        "SELECT id, {user}, {service}, {name} FROM {table} t "
        "WHERE client_id = %s AND {name} NOT LIKE %s AND t.id > %s ORDER BY t.id LIMIT %s"
    ).format(**_names(column))
    # Compare and swap: a value that has changed since it was read belongs to whoever changed it.
    swap = sql.SQL(
        "UPDATE {table} t SET {name} = new.sealed "
        "FROM unnest(%s::uuid[], %s::text[], %s::text[]) AS new (row, old, sealed) "
        "WHERE t.client_id = %s AND t.id = new.row AND t.{name} = new.old"
    ).format(**_names(column))
    last = UUID(int=0)
    while True:
        rows = await database.all(select, (client, f"{ring.current}:%", last, BATCH))
        if not rows:
            return
        if ring.allowance < len(rows):
            await keys.count(database, ring)
        fresh = [_anew(ring, column, slug, row) for row in rows]
        yield await database.run(swap, ([row[0] for row in rows], [row[3] for row in rows], fresh, client))
        last = rows[-1][0]


def _anew(ring: Keyring, column: Column, slug: str, row: tuple[Any, ...]) -> str:
    identity, user, service, old = row
    place = column.where(slug, identity, user, service)
    return ring.seal(ring.open(old, place), place)


def _names(column: Column) -> dict[str, Any]:
    return {
        "table": sql.Identifier(column.table),
        "name": sql.Identifier(column.name),
        "user": sql.SQL(column.user),  # constants of this module
        "service": sql.SQL(column.service),
    }


async def _retire(database: Database, audit: Audit, ring: Keyring, actor: Actor) -> tuple[int, ...]:
    client = await database.client()
    async with audit.transaction() as change:
        rows = await (
            await change.connection.execute(
                "UPDATE encryption_keys SET retired_at = now() "
                "WHERE client_id = %s AND version <> %s AND retired_at IS NULL RETURNING version",
                (client, ring.current),
            )
        ).fetchall()
        retired = tuple(sorted(row[0] for row in rows))
        details = {"version": str(ring.current), "retired": ",".join(map(str, retired))}
        change.note(Entry("rotate", "completed", actor, details=details))
    return retired
