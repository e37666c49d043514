"""Keeping tokens fresh: one refresh at a time a connection, by tasks in this process and by the lease across them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

import psycopg

from .. import logs, metrics
from ..crypto import SealError
from ..errors import unavailable
from . import lease
from .lease import Seen
from .renewal import HTTP_S, Outcome, Result, renew

if TYPE_CHECKING:
    from ..reads import Found
    from ..vault import Vault

PATIENCE_S: Final = 8.0  # how long a reader waits for a refresh before it is told to come again
CLOSE_S: Final = 25.0
AT_ONCE: Final = 16
AT_ONCE_A_SERVICE: Final = 4  # a provider that hangs must not hold up the others
READ_MARGIN: Final = timedelta(seconds=60)
_POLL_S: Final = 0.2
_CHANGED: Final = frozenset({Outcome.REFRESHED, Outcome.CURRENT, Outcome.BROKEN, Outcome.LOST, Outcome.GONE})


class Refresh:
    """Refreshes this vault's connections."""

    def __init__(self, vault: Vault, *, http_s: float = HTTP_S) -> None:
        self._vault = vault
        self._http_s = http_s
        self._running: dict[UUID, asyncio.Task[Result]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._by_service: dict[str, asyncio.Semaphore] = {}
        self._queued: set[asyncio.Task[list[Result]]] = set()

    async def close(self) -> None:
        """Let what runs end: a refresh that is cut off may cost its token. What waits for its turn is dropped."""
        for task in self._queued:
            task.cancel()
        if self._running:
            await asyncio.wait(tuple(self._running.values()), timeout=CLOSE_S)

    def due(self, found: Found) -> bool:
        """Whether a token that was just read should be refreshed before it is handed out."""
        if found.expires_at is None or not found.refreshable or found.status != "active":
            return False
        return found.expires_at - datetime.now(UTC) <= READ_MARGIN

    async def ensure(self, found: Found) -> bool:
        """Refresh a token that is `due`. True: read it again; False: hand out what was read.

        Raises:
            Problem: 503 with Retry-After: it has run out and there is no new one yet.
        """
        deadline = time.monotonic() + PATIENCE_S
        connection = UUID(found.id)
        task = self.start(connection, READ_MARGIN)
        await asyncio.wait({task}, timeout=PATIENCE_S)
        result = task.result() if task.done() else Result(connection, Outcome.BUSY, after_s=5)
        while result.outcome is Outcome.BUSY and found.expired and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_S)
            result = await self._state(connection, READ_MARGIN)
        if result.outcome in _CHANGED:
            return True
        if result.outcome is Outcome.STOPPED or not found.expired:
            return False
        raise unavailable(max(1, min(result.after_s, 3600)))

    def start(self, connection: UUID, ahead: timedelta, *, force: bool = False) -> asyncio.Task[Result]:
        """Begin a refresh, or join the one that runs. Who waits for it may go away; it goes on."""
        task = self._running.get(connection)
        if task is None:
            task = asyncio.create_task(self._renew(connection, ahead, force=force), name="refresh")
            self._running[connection] = task
            task.add_done_callback(lambda _: self._running.pop(connection, None))
            task.add_done_callback(_retrieve)
        return task

    async def several(
        self, connections: Iterable[tuple[UUID, str]], ahead: timedelta, *, force: bool = False
    ) -> list[Result]:
        """Refresh these, given with their services, a few at a time; one that cannot be stored is `failed`."""

        async def one(connection: UUID, service: str) -> Result:
            slots = self._by_service.setdefault(service, asyncio.Semaphore(AT_ONCE_A_SERVICE))
            async with slots, self._slots:
                try:
                    return await asyncio.shield(self.start(connection, ahead, force=force))
                except (psycopg.Error, LookupError, SealError) as error:
                    logs.event("refresh_failed", logging.ERROR, connection=connection, **logs.describe(error))
                    return Result(connection, Outcome.FAILED, "seal" if isinstance(error, SealError) else "database")

        return list(await asyncio.gather(*(one(connection, service) for connection, service in connections)))

    async def within(
        self, connections: Iterable[tuple[UUID, str]], ahead: timedelta, wait_s: float, *, force: bool = False
    ) -> tuple[list[Result], int]:
        """Refresh these; return what came of them in `wait_s` seconds, and how many go on after that."""
        tasks = {asyncio.create_task(self.several((one,), ahead, force=force), name="refresh") for one in connections}
        if not tasks:
            return [], 0
        self._queued |= tasks
        for task in tasks:
            task.add_done_callback(self._queued.discard)
        done, pending = await asyncio.wait(tasks, timeout=wait_s)
        return [result for task in done for result in task.result()], len(pending)

    async def _renew(self, connection: UUID, ahead: timedelta, *, force: bool) -> Result:
        claim = await lease.claim(self._vault.database, connection, ahead, force=force)
        if claim is None:
            return await self._state(connection, ahead)
        result = await renew(self._vault, claim, http_s=self._http_s)
        metrics.REFRESHES.labels(result.outcome.value).inc()
        level = logging.INFO if result.outcome in _CHANGED - {Outcome.BROKEN} else logging.WARNING
        about = {"connection": connection, "service": claim.service, "kind": result.reason}
        logs.event("refresh", level, outcome=result.outcome.value, **about)
        return result

    async def _state(self, connection: UUID, ahead: timedelta) -> Result:
        """Why a connection cannot be claimed now."""
        seen = await lease.look(self._vault.database, connection)
        return Result(connection, Outcome.GONE) if seen is None else _state(connection, seen, ahead)


def _state(connection: UUID, seen: Seen, ahead: timedelta) -> Result:
    if seen.status != "active":
        return Result(connection, Outcome.BROKEN)
    if seen.leased_s > 0:
        return Result(connection, Outcome.BUSY, after_s=2)
    if seen.expires_at is None or seen.refresh is None or seen.expires_at > datetime.now(UTC) + ahead:
        return Result(connection, Outcome.CURRENT)
    if seen.failures >= lease.MOST_FAILURES:
        return Result(connection, Outcome.STOPPED)
    # Neither waiting nor held: it has become free this moment.
    return Result(connection, Outcome.WAITING if seen.after_s > 0 else Outcome.BUSY, after_s=max(1, seen.after_s))


def _retrieve(task: asyncio.Task[Result]) -> None:
    # Nobody may be waiting any more; asyncio would print the exception's text.
    if not task.cancelled():
        task.exception()
