"""The read that n8n makes all day. Requests that wait at the same time share two statements and one commit.

A batch selects its rows, opens them, and inserts an audit row for each with its exact outcome; no answer leaves before
that insert is durable. When a batch fails, its requests are tried one by one before anybody is told to come again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec
import psycopg

from . import metrics
from .actor import Actor
from .audit import Entry
from .crypto import Keyring, Place, SealError
from .errors import unavailable

if TYPE_CHECKING:
    from .audit import Audit
    from .database import Database, Wire

BATCH: Final = 64
WAITING: Final = 1024  # more than this are answered "later" instead of piling up

SELECT: Final = """
SELECT asked.number, c.id, c.account_identifier, c.encrypted_access_token, c.encrypted_api_key, c.token_expires_at,
    c.status, c.encrypted_refresh_token IS NOT NULL
FROM unnest(%s::uuid[], %s::text[]) WITH ORDINALITY AS asked (user_id, service_code, number)
JOIN client_connections c ON c.client_id = %s AND c.user_id = asked.user_id AND c.service_code = asked.service_code
    AND c.is_active
JOIN users u ON u.client_id = c.client_id AND u.id = c.user_id AND u.is_active"""


class Asked(msgspec.Struct, frozen=True):
    """Whose credentials of which service, who asks and by which request."""

    user: UUID
    service: str
    request: UUID
    actor: Actor
    address: str = ""


class Found:
    """An opened connection; a plain class, so that no repr shows its values."""

    __slots__ = ("access_token", "account", "api_key", "expires_at", "id", "refreshable", "status")

    def __init__(
        self,
        identity: UUID,
        account: str,
        access_token: str | None,
        api_key: str | None,
        expires_at: datetime | None,
        status: str,
        refreshable: bool,
    ) -> None:
        self.id = identity
        self.account = account
        self.access_token = access_token
        self.api_key = api_key
        self.expires_at = expires_at
        self.status = status
        self.refreshable = refreshable

    @property
    def expired(self) -> bool:
        """Whether the token has run out by now."""
        return self.expires_at is not None and self.expires_at <= datetime.now(UTC)


class UnreadableError(Exception):
    """The stored ciphertext of this connection did not open; audited before this is raised."""

    def __init__(self, connection: UUID) -> None:
        super().__init__()
        self.connection = connection


Outcome = Found | None | UnreadableError
_Waiting = tuple[Asked, "asyncio.Future[Outcome]"]


class Reads:
    """Serves reads in batches. `start` before use; `stop` answers what still waits."""

    def __init__(self, database: Database, keyring: Keyring, audit: Audit, slug: str) -> None:
        self._database = database
        self._keyring = keyring
        self._audit = audit
        self._slug = slug
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue(WAITING)
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to serve."""
        self._worker = asyncio.create_task(self._serve(), name="reads")

    async def stop(self) -> None:
        """Stop serving; whoever still waits is told to come again."""
        if self._worker is not None:
            self._worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._worker
        while not self._queue.empty():
            _, future = self._queue.get_nowait()
            if not future.done():
                future.set_exception(unavailable())

    async def read(self, asked: Asked) -> Found | None:
        """The active credentials, audited; None when there are none.

        Raises:
            UnreadableError: the ciphertext does not open.
            Problem: 503, too many are waiting.
            psycopg.Error: no answer from the database, so no audit and no secret.
        """
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait((asked, future))
        except asyncio.QueueFull:
            raise unavailable() from None
        outcome = await future
        if isinstance(outcome, UnreadableError):
            raise outcome
        return outcome

    async def _serve(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            # Who has gone away meanwhile is not read for.
            batch = [waiting for waiting in batch if not waiting[1].done()]
            try:
                await self._answer(batch)
            except BaseException as error:
                # Whatever it was, nobody waits for ever, and the next batch is served.
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error if isinstance(error, Exception) else unavailable())
                if not isinstance(error, Exception):
                    raise

    async def _answer(self, batch: Sequence[_Waiting]) -> None:
        try:
            await self._together(batch)
        except (psycopg.Error, LookupError):
            await self._database.mend()
            for waiting in batch:
                await self._alone(waiting)

    async def _alone(self, waiting: _Waiting) -> None:
        try:
            await self._together([waiting])
        except (psycopg.Error, LookupError) as error:
            if not waiting[1].done():
                waiting[1].set_exception(error)

    async def _together(self, batch: Sequence[_Waiting]) -> None:
        if not batch:
            return
        async with self._database.connection() as connection:
            outcomes = await self._look(connection, [asked for asked, _ in batch])
            entries = [_entry(asked, outcome) for (asked, _), outcome in zip(batch, outcomes, strict=True)]
            await self._audit.append(connection, entries)
        metrics.AUDITED.inc(len(entries))
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if not future.done():
                future.set_result(outcome)

    async def _look(self, connection: Wire, batch: Sequence[Asked]) -> list[Outcome]:
        # Neither a UUID nor a service's code has a character that means something in an array.
        users = "{" + ",".join([str(one.user) for one in batch]) + "}"
        services = "{" + ",".join([one.service for one in batch]) + "}"
        parameters = (users, services, await self._database.client())
        rows = await (await connection.execute(SELECT, parameters)).fetchall()
        outcomes: list[Outcome] = [None] * len(batch)
        for number, *columns in rows:
            outcomes[number - 1] = self._opened(batch[number - 1], columns)
        return outcomes

    def _opened(self, asked: Asked, columns: Sequence[Any]) -> Outcome:
        identity, account, access_token, api_key, expires_at, status, refreshable = columns
        where = (self._slug, str(asked.user), asked.service, str(identity))
        try:
            token = self._open(where, "encrypted_access_token", access_token)
            key = self._open(where, "encrypted_api_key", api_key)
        except SealError:
            metrics.DECRYPTS.labels("unreadable").inc()
            return UnreadableError(identity)
        return Found(identity, account, token, key, expires_at, status, refreshable)

    def _open(self, where: tuple[str, str, str, str], column: str, text: str | None) -> str | None:
        if text is None:
            return None
        _OPENED.inc()
        return self._keyring.open(text, Place(*where, column))


_OPENED: Final = metrics.DECRYPTS.labels("opened")


def _entry(asked: Asked, outcome: Outcome) -> Entry:
    if isinstance(outcome, Found):
        found, connection = "found", outcome.id
    elif outcome is None:
        found, connection = "missing", None
    else:
        found, connection = "unreadable", outcome.connection
    return Entry("read", found, asked.actor, asked.user, asked.service, connection, asked.request, asked.address)
