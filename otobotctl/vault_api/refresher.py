"""The token refresher, first cut: it finds which tokens are due and says so. It does not yet call any provider."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg

from . import logs
from .database import Database

if TYPE_CHECKING:
    from .configuration import Settings

EVERY = timedelta(seconds=60)
AHEAD = timedelta(minutes=15)  # more than a sweep, so that no token runs out between two

_SWEEP = """
INSERT INTO refresher_sweeps (client_id, swept_at, due, overdue)
SELECT k.id, now(), count(c.id), count(c.id) FILTER (WHERE c.token_expires_at <= now())
FROM clients k LEFT JOIN client_connections c
    ON c.client_id = k.id AND c.is_active AND c.encrypted_refresh_token IS NOT NULL
    AND c.token_expires_at <= now() + %(ahead)s
WHERE k.slug = %(client)s GROUP BY k.id
ON CONFLICT (client_id) DO UPDATE SET swept_at = EXCLUDED.swept_at, due = EXCLUDED.due, overdue = EXCLUDED.overdue
RETURNING due, overdue"""

_FRESH = """
SELECT s.swept_at > now() - %(limit)s FROM refresher_sweeps s JOIN clients k ON k.id = s.client_id
WHERE k.slug = %(client)s"""


async def run(settings: Settings, stopping: asyncio.Event) -> None:
    """Sweep until told to stop. A database that is away is logged and tried again at the next sweep."""
    logs.event("refresher_started_reports_only", client=settings.client)
    while not stopping.is_set():
        try:
            due, overdue = await sweep(settings)
            logs.event("sweep", logging.WARNING if overdue else logging.INFO, due=due, overdue=overdue)
        except (psycopg.Error, LookupError) as error:
            logs.event("sweep_failed", logging.ERROR, **logs.describe(error))
        try:
            await asyncio.wait_for(stopping.wait(), EVERY.total_seconds())
        except TimeoutError:
            continue


async def sweep(settings: Settings) -> tuple[int, int]:
    """Count the tokens that run out within AHEAD and those that have, and leave a mark that the health check reads.

    Raises:
        psycopg.Error: the database did not answer.
        LookupError: the client has no row; migrations have not run.
    """
    row = await _one(settings, _SWEEP, {"ahead": AHEAD, "client": settings.client})
    if row is None:
        raise LookupError("the client has no row")
    return int(row[0]), int(row[1])


async def swept_lately(settings: Settings) -> bool:
    """Whether a refresher has looked within the last three sweeps."""
    row = await _one(settings, _FRESH, {"limit": EVERY * 3, "client": settings.client})
    return bool(row and row[0])


async def _one(settings: Settings, statement: LiteralString, parameters: dict[str, Any]) -> tuple[Any, ...] | None:
    # Opened for a moment: holding a connection in between would only take a slot from the vault.
    database = Database(settings, size=1)
    await database.open()
    try:
        return await database.one(statement, parameters)
    finally:
        await database.close()
