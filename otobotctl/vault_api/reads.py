"""The read that n8n makes all day. Requests that wait at the same time share two statements and one commit.

A batch looks its rows up, opens them, and inserts an audit row for each with its exact outcome; no answer leaves before
that insert is durable. When a batch fails, its requests are tried one by one before anybody is told to come again.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import psycopg

from . import metrics, reading
from .crypto import Keyring, Place, SealError
from .errors import unavailable
from .line import Line
from .reading import Asked, Stored

if TYPE_CHECKING:
    from .audit import Audit
    from .chain import Named
    from .database import Database

BATCH: Final = 64
WAITING: Final = 1024  # more than this are answered "later" instead of piling up
PATIENCE_S: Final = 20.0  # who has waited longer is answered "later"; less than the guard's own limit
RECONNECT_S: Final = 0.5  # after the database let nobody in, nobody is kept waiting for another try
_OPENED: Final = metrics.DECRYPTS.labels("opened")

__all__ = ["Asked", "Found", "Outcome", "Reads", "UnreadableError", "Waiting"]


class Found:
    """An opened connection; a plain class, so that no repr shows its values."""

    __slots__ = ("access_token", "account", "api_key", "expires_at", "id", "refreshable", "status")

    def __init__(self, stored: Stored, access_token: str | None, api_key: str | None) -> None:
        self.id = stored.id
        self.account = stored.account
        self.access_token = access_token
        self.api_key = api_key
        self.expires_at = stored.expires_at
        self.status = stored.status
        self.refreshable = stored.refreshable

    @property
    def expired(self) -> bool:
        """Whether the token has run out by now."""
        return self.expires_at is not None and self.expires_at <= datetime.now(UTC)


class UnreadableError(Exception):
    """The stored ciphertext of this connection did not open; audited before this is raised."""

    def __init__(self, connection: str) -> None:
        super().__init__()
        self.connection = connection


Outcome = Found | None | UnreadableError


class Waiting:
    """A read that was asked for: `tell` is called once, with what came of it, unless it was `dropped` before."""

    __slots__ = ("asked", "dropped", "since", "tell")

    def __init__(self, asked: Asked, tell: Callable[[Outcome | Exception], None], since: float) -> None:
        self.asked = asked
        self.tell = tell
        self.since = since
        self.dropped = False

    def told(self, outcome: Outcome | Exception) -> None:
        """Tell, once."""
        if not self.dropped:
            self.dropped = True
            # Who is told usually holds this: left in a circle, every read would wait for a garbage collection.
            tell, self.tell = self.tell, _nobody
            tell(outcome)


def _nobody(_outcome: Outcome | Exception) -> None:
    """Nobody is told twice."""


class Reads:
    """Serves reads in batches. `start` before use; `stop` answers what still waits."""

    def __init__(self, database: Database, keyring: Keyring, audit: Audit, slug: str) -> None:
        self._database = database
        self._keyring = keyring
        self._audit = audit
        self._slug = slug
        self._queue: collections.deque[Waiting] = collections.deque()
        self._woken = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._line: Line | None = None
        self._try_at = 0.0

    def start(self) -> None:
        """Begin to serve."""
        self._worker = asyncio.create_task(self._serve(), name="reads")

    async def stop(self) -> None:
        """Stop serving; whoever still waits is told to come again."""
        if self._worker is not None:
            self._worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._worker
        while self._queue:
            self._queue.popleft().told(unavailable())
        await self._hang_up()

    def ask(self, asked: Asked, tell: Callable[[Outcome | Exception], None]) -> Waiting:
        """Have `tell` called with the outcome, audited, or with what went wrong: no audit, no secret.

        Raises:
            Problem: 503, too many are waiting.
        """
        if len(self._queue) >= WAITING:
            raise unavailable()
        waiting = Waiting(asked, tell, asyncio.get_running_loop().time())
        self._queue.append(waiting)
        self._woken.set()
        return waiting

    async def read(self, asked: Asked) -> Found | None:
        """The active credentials, audited; None when there are none.

        Raises:
            UnreadableError: the ciphertext does not open.
            Problem: 503, too many are waiting.
            psycopg.Error, LookupError: no answer from the database, so no audit and no secret.
        """
        future: asyncio.Future[Outcome | Exception] = asyncio.get_running_loop().create_future()
        waiting = self.ask(asked, lambda outcome: None if future.done() else future.set_result(outcome))
        try:
            outcome = await future
        finally:
            waiting.dropped = True
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _serve(self) -> None:
        now = asyncio.get_running_loop().time
        while True:
            self._woken.clear()
            if not self._queue:
                await self._woken.wait()
            batch: list[Waiting] = []
            while self._queue and len(batch) < BATCH:
                waiting = self._queue.popleft()
                if now() - waiting.since > PATIENCE_S:
                    waiting.told(unavailable())
                elif not waiting.dropped:  # who has gone away meanwhile is not read for
                    batch.append(waiting)
            try:
                await self._answer(batch)
            except BaseException:  # told to stop: nobody waits for ever
                for waiting in batch:
                    waiting.told(unavailable())
                raise

    async def _answer(self, batch: Sequence[Waiting]) -> None:
        try:
            await self._together(batch)
        except Exception:  # noqa: BLE001 - whatever it was, it may be one reader's alone
            for waiting in batch:
                if not waiting.dropped:
                    await self._alone(waiting)

    async def _alone(self, waiting: Waiting) -> None:
        if asyncio.get_running_loop().time() - waiting.since > PATIENCE_S:
            waiting.told(unavailable())
            return
        try:
            await self._together([waiting])
        except Exception as error:  # noqa: BLE001 - told, and no end of the reading
            waiting.told(error)

    async def _together(self, batch: Sequence[Waiting]) -> None:
        if not batch:
            return
        line = await self._connected()
        outcomes = await self._look(line, [waiting.asked for waiting in batch])
        rows = [_named(waiting.asked, outcome) for waiting, outcome in zip(batch, outcomes, strict=True)]
        async with self._audit.turn(line) as link:
            await line.ask(b"record", reading.record(link, rows), reading.RECORD_FORMATS)
        metrics.AUDITED.inc(len(rows))
        for waiting, outcome in zip(batch, outcomes, strict=True):
            waiting.told(outcome)

    async def _connected(self) -> Line:
        if self._line is not None and not self._line.broken:
            return self._line
        await self._hang_up()
        now = asyncio.get_running_loop().time
        if now() < self._try_at:
            raise psycopg.OperationalError("there was no connection to the database just now")
        try:
            self._line = await Line.open(self._database, reading.STATEMENTS)
        except BaseException:
            self._try_at = now() + RECONNECT_S
            raise
        return self._line

    async def _hang_up(self) -> None:
        if self._line is not None:
            await self._line.close()
            self._line = None

    async def _look(self, line: Line, batch: Sequence[Asked]) -> list[Outcome]:
        result = await line.ask(b"look", reading.look(batch, line.client), reading.LOOK_FORMATS)
        outcomes: list[Outcome] = [None] * len(batch)
        opened = 0
        for number, stored in reading.stored(result):
            try:
                outcomes[number] = self._opened(batch[number], stored)
            except SealError:
                metrics.DECRYPTS.labels("unreadable").inc()
                outcomes[number] = UnreadableError(stored.id)
            else:
                opened += (stored.access_token is not None) + (stored.api_key is not None)
        _OPENED.inc(opened)
        return outcomes

    def _opened(self, asked: Asked, stored: Stored) -> Found:
        where = (self._slug, asked.user, asked.service, stored.id)
        token = self._open(where, "encrypted_access_token", stored.access_token)
        return Found(stored, token, self._open(where, "encrypted_api_key", stored.api_key))

    def _open(self, where: tuple[str, str, str, str], column: str, text: str | None) -> str | None:
        return None if text is None else self._keyring.open(text, Place(*where, column))


def _named(asked: Asked, outcome: Outcome) -> Named:
    """The audit row of a read."""
    if isinstance(outcome, Found):
        found, connection = "found", outcome.id
    elif outcome is None:
        found, connection = "missing", ""
    else:
        found, connection = "unreadable", outcome.connection
    return "read", found, asked.actor.label, asked.user, asked.service, connection, asked.request, asked.address, ()
