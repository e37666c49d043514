"""Whether the keys here open what is stored: some of it is decrypted, and nothing of it leaves this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from . import keys
from .crypto import SealError
from .rewrap import COLUMNS

if TYPE_CHECKING:
    from .configuration import Settings

SAMPLES: Final = 20  # values of each column, spread over the key versions


async def prove(settings: Settings) -> dict[str, Any]:
    """Open some values of each column, of every key version in use; change nothing, not even a count.

    Returns stored (how many sealed values there are), opened, and failed (of those that were tried).

    Raises:
        KeysError: the keys here are not those of this database.
        psycopg.Error, LookupError: the database does not answer, or has no schema of the vault.
    """
    from .database import Database

    database = Database(settings, size=1)
    await database.open()
    try:
        ring = await keys.load(database, settings.client, settings.master_keys, counted=0)
        client = await database.client()
        found = {"stored": 0, "opened": 0, "failed": 0}
        for column in COLUMNS:
            statement = sql.SQL(
                "SELECT id, {user}, {service}, {name}, count(*) OVER () FROM ("
                " SELECT *, row_number() OVER (PARTITION BY split_part({name}, ':', 1) ORDER BY id DESC) AS place"
                " FROM {table} WHERE client_id = %s AND {name} IS NOT NULL) AS t ORDER BY place LIMIT %s"
            ).format(
                user=sql.SQL(column.user),  # constants of rewrap's
                service=sql.SQL(column.service),
                name=sql.Identifier(column.name),
                table=sql.Identifier(column.table),
            )
            rows = await database.all(statement, (client, SAMPLES))
            found["stored"] += rows[0][4] if rows else 0
            for row, user, service, sealed, _ in rows:
                try:
                    ring.open(sealed, column.where(settings.client, row, user, service))
                except SealError:
                    found["failed"] += 1
                else:
                    found["opened"] += 1
    finally:
        await database.close()
    return found
