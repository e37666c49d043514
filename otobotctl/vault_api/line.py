"""A connection to PostgreSQL for one user who asks one prepared statement at a time, without what a pool costs.

psycopg makes the connection; then libpq is driven directly (`psycopg.pq`). A statement awaited through psycopg makes a
cursor and registers with the event loop twice, and a pool adds a round of locks and timers: together more than several
reads of a batch cost. Here the event loop is told once, and a statement is one send and one wake-up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final
from uuid import UUID

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

    from .database import Database, Wire

# Above the server's own limit of a statement: then the server or the way to it is gone.
ANSWER_S: Final = 8.0
OPEN_S: Final = 5.0
# Whoever asks here looks rows up by their keys: neither a table's size nor its missing statistics may choose another
# way, and planning anew would cost more than the lookups.
OPTIONS: Final = "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c jit=off"
_WELL: Final = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK)


class Line:
    """Make it with `Line.open`. Not for two at the same time."""

    def __init__(self, connection: Wire, client: UUID) -> None:
        self.client = client
        self.broken = False
        self._connection = connection
        self._libpq = connection.pgconn
        self._socket = self._libpq.socket
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[PGresult] | None = None
        self._results: list[PGresult] = []
        self._sending = False
        self._loop.add_reader(self._socket, self._readable)

    @classmethod
    async def open(cls, database: Database, statements: Mapping[str, str]) -> Line:
        """Connect as the pool does and prepare `statements` (name to SQL with $1, $2).

        Raises:
            psycopg.Error, LookupError: as `Database`, within OPEN_S.
        """
        try:
            async with asyncio.timeout(OPEN_S):
                connection = await database.beside(OPTIONS)
                try:
                    made = cls(connection, await database.client())
                except BaseException:
                    await connection.close()
                    raise
        except TimeoutError:
            raise psycopg.OperationalError("the database does not let us in") from None
        try:
            for name, text in statements.items():
                made._libpq.send_prepare(name.encode(), text.encode())
                await made._result()
        except BaseException:
            await made.close()
            raise
        return made

    async def close(self) -> None:
        """Hang up."""
        self._broke()
        await self._connection.close()

    async def ask(self, statement: bytes, parameters: Sequence[bytes | None], formats: Sequence[pq.Format]) -> PGresult:
        """Run a prepared statement in a transaction of its own: what it wrote is durable on return. Values come binary.

        Raises:
            psycopg.OperationalError: the line is `broken`; whether the statement was committed is not known.
            psycopg.Error: the server refused; nothing was done.
        """
        if self.broken:
            raise psycopg.OperationalError("the line to the database is broken")
        self._libpq.send_query_prepared(statement, parameters, formats, pq.Format.BINARY)
        return await self._result()

    async def _result(self) -> PGresult:
        self._answer = self._loop.create_future()
        late = self._loop.call_later(ANSWER_S, self._broke)
        try:
            self._send()
            result = await self._answer
        except asyncio.CancelledError:
            self._broke()  # the answer to come would be taken for the next one's
            raise
        finally:
            late.cancel()
            self._answer = None
        if result.status not in _WELL:
            raise error_from_result(result)
        return result

    def _send(self) -> None:
        """Give the socket what it takes; a batch of statements fits, so that the rest is rare."""
        try:
            more = bool(self._libpq.flush())
        except psycopg.Error:
            self._broke()
            return
        if more and not self._sending:
            self._loop.add_writer(self._socket, self._send)
        elif self._sending and not more:
            self._loop.remove_writer(self._socket)
        self._sending = more

    def _readable(self) -> None:
        try:
            self._libpq.consume_input()
            while not self._libpq.is_busy():
                result = self._libpq.get_result()
                if result is None:
                    break
                self._results.append(result)
            else:
                return  # the rest is on its way
        except psycopg.Error:
            self._broke()
            return
        if self._libpq.status != pq.ConnStatus.OK:
            self._broke()
        elif self._results and self._answer is not None and not self._answer.done():
            results, self._results = self._results, []
            self._answer.set_result(results[-1])

    def _broke(self) -> None:
        """From here on nothing is asked; who waits is told."""
        if not self.broken:
            self.broken = True
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(psycopg.OperationalError("the line to the database broke"))
