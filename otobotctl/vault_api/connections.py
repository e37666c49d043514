"""A user's connections: stored sealed, listed without their values."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

import psycopg

from . import logs, metrics
from .audit import Entry, Transaction
from .contract import ConnectionState
from .crypto import Place
from .errors import missing, taken

if TYPE_CHECKING:
    from .actor import Actor
    from .vault import Vault

# A token that runs out sooner than this is renewed: more than the time between two sweeps of the refresher.
REFRESH_AHEAD: Final = timedelta(minutes=35)
SEALED: Final = ("encrypted_access_token", "encrypted_refresh_token", "encrypted_api_key")

_ACTIVE: Final = """
SELECT id FROM client_connections
WHERE client_id = %s AND user_id = %s AND service_code = %s AND is_active FOR UPDATE"""

_SAVE: Final = """
INSERT INTO client_connections (client_id, id, user_id, service_code, account_identifier, token_expires_at,
    oauth_app_id, scopes, parameters, encrypted_access_token, encrypted_refresh_token, encrypted_api_key)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (client_id, id) DO UPDATE SET
    account_identifier = EXCLUDED.account_identifier,
    token_expires_at = EXCLUDED.token_expires_at,
    oauth_app_id = EXCLUDED.oauth_app_id,
    scopes = EXCLUDED.scopes,
    parameters = EXCLUDED.parameters,
    encrypted_access_token = EXCLUDED.encrypted_access_token,
    encrypted_refresh_token = EXCLUDED.encrypted_refresh_token,
    encrypted_api_key = EXCLUDED.encrypted_api_key,
    encrypted_next_refresh_token = NULL,
    status = 'active', broken_reason = '', broken_at = NULL, refresh_failures = 0, refresh_after = NULL,
    -- Whoever is refreshing the old token now loses.
    lease = client_connections.lease + 1, lease_until = NULL,
    updated_at = now()"""

_COLUMNS: Final = """c.id, c.service_code, s.display_name, c.account_identifier, c.token_expires_at, c.status,
    c.broken_reason, c.encrypted_refresh_token IS NOT NULL, c.created_at, c.last_refresh_at, c.refresh_failures,
    c.user_id"""

_LIST: Final = f"""
SELECT {_COLUMNS} FROM client_connections c JOIN services s ON s.code = c.service_code
WHERE c.client_id = %s AND (c.user_id = %s OR %s) AND c.is_active ORDER BY c.created_at, c.id"""  # noqa: S608

_ONE: Final = f"""
SELECT {_COLUMNS} FROM client_connections c JOIN services s ON s.code = c.service_code
WHERE c.client_id = %s AND c.id = %s AND c.is_active"""  # noqa: S608

# What nothing but the user can mend: a token that can be renewed is the refresher's business until it breaks.
_ENDING: Final = f"""
SELECT u.email, u.name, {_COLUMNS} FROM client_connections c JOIN services s ON s.code = c.service_code
JOIN users u ON u.client_id = c.client_id AND u.id = c.user_id
WHERE c.client_id = %s AND c.is_active AND u.is_active AND (c.status <> 'active'
    OR (c.encrypted_refresh_token IS NULL AND c.token_expires_at <= now() + make_interval(days => %s)))
ORDER BY u.email, c.service_code, c.id LIMIT 1000"""  # noqa: S608


class NewConnection:
    """What to store; a plain class, so that no repr shows its values."""

    def __init__(
        self,
        *,
        access_token: str | None = None,
        refresh_token: str | None = None,
        api_key: str | None = None,
        account: str = "",
        expires_at: datetime | None = None,
        app: UUID | None = None,
        scopes: tuple[str, ...] = (),
        parameters: dict[str, str] | None = None,
    ) -> None:
        self.sealed = dict(zip(SEALED, (access_token, refresh_token, api_key), strict=True))
        self.account = account
        self.expires_at = expires_at
        self.app = app
        self.scopes = scopes
        self.parameters = parameters or {}


_STATES: Final = """
SELECT state, count(c.state_of) FROM unnest(ARRAY['valid', 'expired', 'broken']) AS states (state) LEFT JOIN (
    SELECT CASE WHEN status <> 'active' THEN 'broken' WHEN token_expires_at <= now() THEN 'expired'
        ELSE 'valid' END AS state_of
    FROM client_connections WHERE client_id = %s AND is_active
) c ON c.state_of = states.state GROUP BY state"""


@dataclass(frozen=True)
class Listed:
    """A connection without its values."""

    id: UUID
    service: str
    display_name: str
    account: str
    expires_at: datetime | None
    status: str
    broken_reason: str
    refreshable: bool
    created_at: datetime
    last_refresh_at: datetime | None
    refresh_failures: int
    user: UUID

    @property
    def state(self) -> ConnectionState:
        """Whether its token can be used now, soon needs a refresh, or has run out."""
        if self.status != "active":
            return "expired"
        if self.expires_at is None:
            return "valid"
        left = self.expires_at - datetime.now(UTC)
        if left <= timedelta():
            return "refresh_needed" if self.refreshable else "expired"
        return "refresh_needed" if self.refreshable and left <= REFRESH_AHEAD else "valid"


@dataclass(frozen=True)
class By:
    """Who stores it, and by which request."""

    actor: Actor
    request: UUID | None
    address: str = ""


async def listed(vault: Vault, user: UUID | None) -> list[Listed]:
    """The active connections of a user; of everybody, when `user` is None."""
    client = await vault.database.client()
    rows = await vault.database.all(_LIST, (client, user, user is None))
    return [Listed(*row) for row in rows]


async def ending(vault: Vault, within_days: int) -> list[tuple[str, str, Listed]]:
    """The email and the name of a user, and a connection that he has to make again by then; of everybody."""
    rows = await vault.database.all(_ENDING, (await vault.database.client(), within_days))
    return [(email, name, Listed(*row)) for email, name, *row in rows]


async def one(vault: Vault, connection: UUID) -> Listed:
    """An active connection. Raises Problem: 404."""
    row = await vault.database.one(_ONE, (await vault.database.client(), connection))
    if row is None:
        raise missing("connection")
    return Listed(*row)


async def save(
    vault: Vault, user: UUID, service: str, new: NewConnection, by: By, *, replace: bool
) -> tuple[UUID, bool]:
    """Seal and store; return the row and whether it is new.

    Raises:
        Problem: 404, no such active user or service; 409, there is an active connection and `replace` is false.
    """
    try:
        return await _save(vault, user, service, new, by, replace=replace)
    except psycopg.errors.UniqueViolation:
        if not replace:
            raise taken("connection") from None
        return await _save(vault, user, service, new, by, replace=True)  # another writer created it in between


async def _save(
    vault: Vault, user: UUID, service: str, new: NewConnection, by: By, *, replace: bool
) -> tuple[UUID, bool]:
    client = await vault.database.client()
    async with vault.audit.transaction() as change:
        await _must_exist(change, client, user, service)
        row = await (await change.connection.execute(_ACTIVE, (client, user, service))).fetchone()
        if row and not replace:
            raise taken("connection")
        identity: UUID = row[0] if row else uuid4()
        await change.connection.execute(_SAVE, _values(vault, client, identity, user, service, new))
        outcome = "replaced" if row else "created"
        change.note(Entry("store", outcome, by.actor, user, service, identity, by.request, by.address))
    return identity, row is None


def _values(vault: Vault, client: UUID, row: UUID, user: UUID, service: str, new: NewConnection) -> tuple[Any, ...]:
    from psycopg.types.json import Jsonb

    sealed = [
        plain and vault.keyring.seal(plain, Place(vault.settings.client, str(user), service, str(row), column))
        for column, plain in new.sealed.items()
    ]
    about = (new.account, new.expires_at, new.app, list(new.scopes), Jsonb(new.parameters))
    return (client, row, user, service, *about, *sealed)


async def _must_exist(change: Transaction, client: UUID, user: UUID, service: str) -> None:
    there = await change.connection.execute(
        # Locked against an erasure at the same time: either it sees this row, or this sees it.
        "SELECT 1 FROM users WHERE client_id = %s AND id = %s AND is_active FOR KEY SHARE",
        (client, user),
    )
    if await there.fetchone() is None:
        raise missing("user")
    there = await change.connection.execute("SELECT 1 FROM services WHERE code = %s AND is_active", (service,))
    if await there.fetchone() is None:
        raise missing("service")


async def states(vault: Vault) -> None:
    """Count the connections by state for Prometheus; without the database, the other figures are worth having."""
    try:
        rows = await vault.database.all(_STATES, (await vault.database.client(),))
    except (psycopg.Error, LookupError) as error:
        logs.event("states_unknown", logging.WARNING, **logs.describe(error))
        return
    for state, count in rows:
        metrics.TOKENS.labels(state).set(count)
