"""The runtime role's door to PostgreSQL: a pool whose every connection sees one client's rows only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, LiteralString
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool

if TYPE_CHECKING:
    from .configuration import Login, Settings

SCHEMA = "vault"
LIMITS = "-c statement_timeout=5s -c lock_timeout=3s -c idle_in_transaction_session_timeout=10s"
POOL_SIZE = 8
QUEUE = 256  # more waiting callers than this are answered "later" instead of piling up

Wire = psycopg.AsyncConnection[tuple[Any, ...]]
Row = tuple[Any, ...]
Parameters = Sequence[Any] | Mapping[str, Any]
Statement = LiteralString | sql.Composed


def conninfo(settings: Settings, login: Login, options: str = "") -> str:
    """How psycopg connects as `login`, looking into the vault's schema only. Holds the password: never log it."""
    return make_conninfo(
        host=settings.host,
        port=settings.port,
        dbname=settings.database,
        user=login.user,
        password=login.password.reveal(),
        connect_timeout=5,
        # A server that is gone without a word is noticed in half a minute; the kernel would wait for hours.
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=25_000,
        application_name="otobot-vault-api",
        # The slug is what row-level security knows a client by until its id is known; a slug needs no quoting.
        options=f"-c search_path={SCHEMA} -c timezone=UTC -c vault.slug={settings.client} {options}".strip(),
    )


class Database:
    """The rows of one client. Open it before use.

    Every method raises psycopg.Error when the database does not answer, and LookupError when the client has no row.
    """

    def __init__(self, settings: Settings, *, size: int = POOL_SIZE) -> None:
        self._settings = settings
        self._slug = settings.client
        self._client: UUID | None = None
        self._pool: AsyncConnectionPool[Wire] = AsyncConnectionPool(
            conninfo(settings, settings.runtime, LIMITS),
            kwargs={"autocommit": True, "prepare_threshold": 0},
            configure=self._configure,
            min_size=1,
            max_size=size,
            max_waiting=QUEUE,
            timeout=3,
            reconnect_timeout=20,
            open=False,
            name="vault",
        )

    async def open(self) -> None:
        """Start connecting. Does not wait: health says whether the database is there."""
        await self._pool.open()

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    async def _configure(self, connection: Wire) -> None:
        # What row-level security goes by. Without the client's row there is no connection: the pool tries again later.
        row = await (await connection.execute("SELECT id FROM clients WHERE slug = %s", (self._slug,))).fetchone()
        if row is None:
            raise LookupError("the client has no row; migrations have not run")
        await connection.execute("SELECT set_config('vault.client', %s, false)", (str(row[0]),))
        self._client = row[0]

    async def client(self) -> UUID:
        """The client's row; known once there was a connection."""
        if self._client is None:
            async with self._pool.connection():
                pass
        if self._client is None:
            raise LookupError("the client has no row; migrations have not run")
        return self._client

    async def beside(self, options: str) -> Wire:
        """A connection of one's own, set up as the pool's are, with more `options`; whoever asks for it closes it."""
        address = conninfo(self._settings, self._settings.runtime, f"{LIMITS} {options}")
        connection: Wire = await psycopg.AsyncConnection.connect(address, autocommit=True)
        try:
            await self._configure(connection)
        except BaseException:
            await connection.close()
            raise
        return connection

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Wire]:
        """A connection of the pool, in autocommit, known to live: for what cannot be repeated."""
        async with self._pool.connection() as connection:
            if await _lives(connection):
                yield connection
                return
        await self.mend()
        async with self._pool.connection() as connection:
            yield connection

    async def mend(self) -> None:
        """Replace every dead connection: where one has died, for example in a restart, the others have too."""
        await self._pool.check()

    async def one(self, statement: Statement, parameters: Parameters = ()) -> Row | None:
        """The first row of one statement, in one round trip. A dead pooled connection is replaced once."""
        found = await self.all(statement, parameters)
        return found[0] if found else None

    async def all(self, statement: Statement, parameters: Parameters = ()) -> list[Row]:
        """Every row of one statement. Safe to repeat, like `one`."""
        try:
            return await self._fetch(statement, parameters)
        except _LostError:
            await self.mend()
            return await self._fetch(statement, parameters)

    async def run(self, statement: Statement, parameters: Parameters = ()) -> int:
        """Run a statement and return how many rows it touched."""
        async with self.connection() as connection:
            return (await connection.execute(statement, parameters)).rowcount

    async def _fetch(self, statement: Statement, parameters: Parameters) -> list[Row]:
        async with self._pool.connection() as connection:
            try:
                return await (await connection.execute(statement, parameters)).fetchall()
            except psycopg.OperationalError as error:
                if connection.broken:
                    raise _LostError from error
                raise

    def counts(self) -> dict[str, int]:
        """The pool's own figures, for the metrics."""
        return dict(self._pool.get_stats())


async def _lives(connection: Wire) -> bool:
    try:
        await connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


class _LostError(psycopg.OperationalError):
    """A pooled connection was dead."""
