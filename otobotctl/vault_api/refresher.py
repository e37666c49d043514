"""The refresher: every half hour it renews the tokens that would run out before its next look, and raises alerts."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

import psycopg

from . import logs
from .connections import REFRESH_AHEAD
from .figures import Figures
from .oauth import lease, states
from .oauth.renewal import Outcome, Result

if TYPE_CHECKING:
    from .configuration import Settings
    from .vault import Vault

EVERY: Final = timedelta(minutes=30)
LOOK_EVERY: Final = timedelta(minutes=1)  # for what waits after a failure, and for the health check
BATCH: Final = 200

_MARK: Final = """
INSERT INTO refresher_sweeps (client_id, swept_at, due, overdue)
SELECT k.id, now(), count(c.id), count(c.id) FILTER (WHERE c.token_expires_at <= now())
FROM clients k LEFT JOIN client_connections c
    ON c.client_id = k.id AND c.is_active AND c.encrypted_refresh_token IS NOT NULL
    AND c.token_expires_at <= now() + %(ahead)s
WHERE k.id = %(client)s GROUP BY k.id
ON CONFLICT (client_id) DO UPDATE SET swept_at = EXCLUDED.swept_at, due = EXCLUDED.due, overdue = EXCLUDED.overdue
RETURNING due, overdue"""


async def run(settings: Settings, stopping: asyncio.Event, port: int = 0) -> None:
    """Sweep until told to stop. A database that is away is logged and tried again a minute later.

    `port`: where /metrics and /health are answered; 0: nowhere.
    """
    from .vault import Vault

    vault = await Vault.open(settings)
    figures = Figures(vault)
    try:
        async with figures.served(port):
            logs.event("refresher_started", client=settings.client)
            await _sweeping(vault, figures, stopping)
    finally:
        await vault.close()


async def _sweeping(vault: Vault, figures: Figures, stopping: asyncio.Event) -> None:
    told = asyncio.create_task(stopping.wait(), name="stopping")
    try:
        loop = asyncio.get_running_loop()
        full_at = loop.time()
        while not told.done():
            # In between only what cannot wait for the next full sweep: tokens that are about to run out.
            full = loop.time() >= full_at
            ahead = REFRESH_AHEAD if full else LOOK_EVERY * 2
            looking = asyncio.create_task(_look(vault, figures, ahead), name="look")
            await asyncio.wait({looking, told}, return_when=asyncio.FIRST_COMPLETED)
            if looking.done() and looking.result() and full:
                full_at = loop.time() + EVERY.total_seconds()
            if looking.done():
                await asyncio.wait({told}, timeout=LOOK_EVERY.total_seconds())
        # What still waits for its turn is left; what is on its way is ended by closing the vault.
        looking.cancel()
        await asyncio.wait({looking})
    finally:
        told.cancel()


async def _look(vault: Vault, figures: Figures, ahead: timedelta) -> bool:
    """One sweep; whether it came to its end."""
    try:
        results = await _marking(vault, figures, asyncio.create_task(sweep(vault, ahead), name="sweep"))
        due, overdue = await mark(vault)
        figures.marked(due, overdue)
    except Exception as error:  # noqa: BLE001 - whatever it is, the next look is due; its text may quote a row
        logs.event("sweep_failed", logging.ERROR, **logs.describe(error))
        return False
    counts = collections.Counter(result.outcome for result in results)
    bad = overdue or any(counts[outcome] for outcome in (Outcome.FAILED, Outcome.STOPPED, Outcome.BROKEN))
    level = logging.WARNING if bad else logging.INFO
    said = {outcome.value: count for outcome, count in counts.items()}
    logs.event("sweep", level, processed=len(results), outcome=said, due=due, overdue=overdue)
    return True


async def _marking(vault: Vault, figures: Figures, sweeping: asyncio.Task[Sequence[Result]]) -> Sequence[Result]:
    """Wait for a sweep, which providers that hang make long, and leave a mark each minute: it is at work."""
    try:
        while not (await asyncio.wait({sweeping}, timeout=LOOK_EVERY.total_seconds()))[0]:
            with contextlib.suppress(psycopg.Error, LookupError):
                figures.marked(*await mark(vault))
        return sweeping.result()
    finally:
        sweeping.cancel()


async def sweep(vault: Vault, ahead: timedelta = REFRESH_AHEAD) -> Sequence[Result]:
    """Refresh everything that runs out within `ahead`, then raise and deliver alerts, and remove old states.

    Raises:
        psycopg.Error, LookupError: the database did not answer.
    """
    results: dict[UUID, Result] = {}
    while connections := [one for one in await lease.due(vault.database, ahead, BATCH) if one[0] not in results]:
        for result in await vault.refresh.several(connections, ahead):
            results[result.connection] = result
    await states.purge(vault.database)
    await vault.alerts.sweep()
    return tuple(results.values())


async def mark(vault: Vault) -> tuple[int, int]:
    """Leave a mark of having looked; return how many tokens are due and how many have run out.

    Raises:
        LookupError: the client has no row; migrations have not run.
    """
    row = await vault.database.one(_MARK, {"ahead": REFRESH_AHEAD, "client": await vault.database.client()})
    if row is None:
        raise LookupError("the client has no row")
    return int(row[0]), int(row[1])
