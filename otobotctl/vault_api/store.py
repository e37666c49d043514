"""Everything the runtime role asks of the database, for one client; nothing here has seen HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
from psycopg_pool import AsyncConnectionPool

from . import statements
from .crypto import Place, SealError
from .schema import conninfo

if TYPE_CHECKING:
    from .configuration import Settings
    from .crypto import Keyring

SOURCE = "n8n"
LIMITS = "-c statement_timeout=5s -c lock_timeout=3s -c idle_in_transaction_session_timeout=10s"
POOL_SIZE = 8
QUEUE = 256  # more waiting readers than this are answered "later" instead of piling up

Wire = psycopg.AsyncConnection[Any]


class UnknownUserError(Exception):
    """The client has no such active user."""


class UnknownServiceError(Exception):
    """The vault does not know this service."""


class TakenError(Exception):
    """It exists already: an active connection, or another user's e-mail address."""


class UnreadableError(Exception):
    """The stored ciphertext did not open; audited before this is raised."""


@dataclass(frozen=True)
class Asked:
    """Whose credentials of which service, and the request that asks."""

    user: UUID
    service: str
    request: UUID


class Plain:
    """An opened value or None; a plain class, so that no repr shows it."""

    def __init__(self, value: str | None) -> None:
        self.value = value


@dataclass(frozen=True)
class Found:
    """An opened connection. `repr` shows no secret."""

    id: UUID
    account: str
    expires_at: datetime | None
    access_token: Plain
    api_key: Plain

    @property
    def expired(self) -> bool:
        """Whether the token has run out by now."""
        return self.expires_at is not None and self.expires_at <= datetime.now(UTC)


class NewConnection:
    """What to store; a plain class, so that no repr shows its values."""

    def __init__(self, values: dict[str, str | None], account: str, expires_at: datetime | None) -> None:
        # By column, in the order of statements.SAVE.
        self.values = values
        self.account = account
        self.expires_at = expires_at


class Store:
    """The vault's rows, for one client. Open it before use; `close` gives the connections back."""

    def __init__(self, settings: Settings, keyring: Keyring) -> None:
        self._slug = settings.client
        self._keyring = keyring
        self._client: UUID | None = None
        self._pool: AsyncConnectionPool[Wire] = AsyncConnectionPool(
            conninfo(settings, settings.runtime, LIMITS),
            kwargs={"autocommit": True, "prepare_threshold": 0},
            min_size=1,
            max_size=POOL_SIZE,
            max_waiting=QUEUE,
            timeout=3,
            open=False,
            name="vault",
        )

    async def open(self) -> None:
        """Start connecting. Does not wait: health says whether the database is there."""
        await self._pool.open()

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    async def client_id(self) -> UUID:
        """This client's row, looked up once. Raises psycopg.Error or LookupError."""
        if self._client is None:
            row = await self._one(statements.CLIENT, (self._slug,))
            if row is None:
                raise LookupError("the client has no row; migrations have not run")
            self._client = row[0]
        return self._client

    async def migrations(self) -> frozenset[int]:
        """The versions in the ledger."""
        row = await self._one(statements.LEDGER, ())
        return frozenset(row[0] or ()) if row else frozenset()

    async def read(self, asked: Asked) -> Found | None:
        """The active credentials, audited in the statement that reads them; None when there are none.

        Raises:
            UnreadableError: the ciphertext does not open.
            psycopg.Error: no answer from the database, so no audit and no secret.
        """
        client = await self.client_id()
        row = await self._one(statements.READ, {**vars(asked), "client": client, "source": SOURCE})
        if row is None:
            return None
        identity, account, access_token, api_key, expires_at = row
        try:
            opened = (
                self._opened(asked, identity, "encrypted_access_token", access_token),
                self._opened(asked, identity, "encrypted_api_key", api_key),
            )
        except SealError:
            async with self._pool.connection() as connection:
                await self._audit(connection, client, identity, asked, ("read", "unreadable"))
            raise UnreadableError from None
        return Found(identity, account, expires_at, *opened)

    async def save(self, asked: Asked, new: NewConnection, *, replace: bool) -> tuple[UUID, bool]:
        """Seal and store; return the row and whether it is new.

        Raises:
            UnknownUserError, UnknownServiceError: nothing to store it for.
            TakenError: there is an active connection and `replace` is false.
        """
        try:
            return await self._save(asked, new, replace=replace)
        except psycopg.errors.UniqueViolation:
            if not replace:
                raise TakenError from None
            return await self._save(asked, new, replace=True)  # another writer created it in between

    async def _save(self, asked: Asked, new: NewConnection, *, replace: bool) -> tuple[UUID, bool]:
        client = await self.client_id()
        async with self._pool.connection() as connection, connection.transaction():
            await self._must_exist(connection, client, asked)
            row = await (await connection.execute(statements.ACTIVE, (client, asked.user, asked.service))).fetchone()
            if row and not replace:
                raise TakenError
            identity: UUID = row[0] if row else uuid4()
            sealed = self._sealed(asked, identity, new.values)
            known = (client, identity, asked.user, asked.service, new.account, new.expires_at)
            await connection.execute(statements.SAVE, (*known, *sealed))
            await self._audit(connection, client, identity, asked, ("store", "replaced" if row else "created"))
            return identity, row is None

    async def save_user(self, user: UUID, email: str, name: str, role: str) -> bool:
        """Create or change a user; return whether it is new. Raises TakenError: another has the e-mail address."""
        client = await self.client_id()
        try:
            row = await self._one(statements.SAVE_USER, (client, user, email, name, role))
        except psycopg.errors.UniqueViolation:
            raise TakenError from None
        return bool(row and row[0])

    async def _one(self, statement: str, parameters: Any) -> tuple[Any, ...] | None:
        """The first row of one statement, in one round trip; once more when the pooled connection was dead."""
        try:
            return await self._fetch(statement, parameters)
        except _LostError:
            await self._pool.check()  # where one has died, for example in a restart, the others have too
            return await self._fetch(statement, parameters)

    async def _fetch(self, statement: str, parameters: Any) -> tuple[Any, ...] | None:
        async with self._pool.connection() as connection:
            try:
                row: tuple[Any, ...] | None = await (await connection.execute(statement, parameters)).fetchone()
            except psycopg.OperationalError as error:
                if connection.broken:
                    raise _LostError from error
                raise
            return row

    @staticmethod
    async def _audit(connection: Wire, client: UUID, row: UUID, asked: Asked, what: tuple[str, str]) -> None:
        known = (client, row, asked.user, asked.service)
        await connection.execute(statements.AUDIT, (*known, *what, SOURCE, asked.request))

    @staticmethod
    async def _must_exist(connection: Wire, client: UUID, asked: Asked) -> None:
        user = await connection.execute(statements.USER_EXISTS, (client, asked.user))
        if await user.fetchone() is None:
            raise UnknownUserError
        service = await connection.execute(statements.SERVICE_EXISTS, (asked.service,))
        if await service.fetchone() is None:
            raise UnknownServiceError

    def _place(self, asked: Asked, row: UUID, column: str) -> Place:
        return Place(self._slug, str(asked.user), asked.service, str(row), column)

    def _sealed(self, asked: Asked, row: UUID, values: dict[str, str | None]) -> list[str | None]:
        return [plain and self._keyring.seal(plain, self._place(asked, row, name)) for name, plain in values.items()]

    def _opened(self, asked: Asked, row: UUID, column: str, text: str | None) -> Plain:
        return Plain(None if text is None else self._keyring.open(text, self._place(asked, row, column)))


class _LostError(psycopg.OperationalError):
    """A pooled connection was dead."""
