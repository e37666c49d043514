"""The rows of a refresh: who may refresh a connection now, and what becomes of it. Every statement names the client.

`lease` is the fence: a number that only grows, so that whoever held the row before cannot write to it any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, LiteralString
from uuid import UUID

if TYPE_CHECKING:
    from ..database import Database, Wire

# Much longer than the HTTP call may take: whoever holds a lease is done, or dead, before it lapses.
LEASE: Final = timedelta(seconds=120)
MOST_FAILURES: Final = 5

_CLAIM: Final = """
UPDATE client_connections SET lease = lease + 1, lease_until = now() + %(lease)s
WHERE client_id = %(client)s AND id = %(id)s AND is_active AND encrypted_refresh_token IS NOT NULL
    AND (lease_until IS NULL OR lease_until <= now())
    AND (%(force)s AND status <> 'revoked' OR status = 'active' AND token_expires_at <= now() + %(ahead)s
        AND (refresh_after IS NULL OR refresh_after <= now()) AND refresh_failures < %(most)s)
RETURNING lease, user_id, service_code, oauth_app_id, parameters, refresh_failures, scopes,
    encrypted_refresh_token, encrypted_next_refresh_token"""

_LOOK: Final = """
SELECT lease, user_id, service_code, status, token_expires_at, token_expires_at <= now(), refresh_failures,
    coalesce(ceil(extract(epoch FROM refresh_after - now())), 0)::int,
    coalesce(ceil(extract(epoch FROM lease_until - now())), 0)::int,
    encrypted_refresh_token, encrypted_next_refresh_token
FROM client_connections WHERE client_id = %s AND id = %s AND is_active"""

_DUE: Final = """
SELECT id, service_code FROM client_connections
WHERE client_id = %(client)s AND is_active AND status = 'active' AND encrypted_refresh_token IS NOT NULL
    AND token_expires_at <= now() + %(ahead)s AND (refresh_after IS NULL OR refresh_after <= now())
    AND refresh_failures < %(most)s
ORDER BY token_expires_at, id LIMIT %(limit)s"""

_KEEP: Final = """
UPDATE client_connections SET encrypted_next_refresh_token = %s WHERE client_id = %s AND id = %s AND lease = %s"""

# Whoever showed the used-up token meanwhile was told that the grant is gone: it is not.
_KEEP_ANYHOW: Final = """
UPDATE client_connections SET encrypted_next_refresh_token = %s, broken_reason = '', broken_at = NULL,
    status = CASE status WHEN 'broken' THEN 'active' ELSE status END
WHERE client_id = %s AND id = %s AND lease = %s
    AND encrypted_refresh_token = %s AND encrypted_next_refresh_token IS NOT DISTINCT FROM %s"""

_FINISH: Final = """
UPDATE client_connections SET encrypted_access_token = %s, encrypted_refresh_token = %s,
    encrypted_next_refresh_token = NULL, token_expires_at = %s, scopes = %s, status = 'active', broken_reason = '',
    broken_at = NULL, refresh_failures = 0, refresh_after = NULL, last_refresh_at = now(), lease_until = NULL,
    updated_at = now()
WHERE client_id = %s AND id = %s AND lease = %s AND is_active"""

_FAIL: Final = """
UPDATE client_connections SET refresh_failures = refresh_failures + %s, refresh_after = now() + %s, lease_until = NULL
WHERE client_id = %s AND id = %s AND lease = %s RETURNING refresh_failures"""

_BREAK: Final = """
UPDATE client_connections SET status = 'broken', broken_reason = %s, broken_at = now(), lease_until = NULL,
    refresh_failures = refresh_failures + 1, updated_at = now()
WHERE client_id = %s AND id = %s AND lease = %s AND encrypted_refresh_token = %s
    AND encrypted_next_refresh_token IS NOT DISTINCT FROM %s"""


@dataclass(frozen=True)
class Claim:
    """A connection that is ours to refresh while the lease lasts, as it is in the database now."""

    client: UUID
    id: UUID
    lease: int
    user: UUID
    service: str
    app: UUID | None
    parameters: Mapping[str, str]
    failures: int
    scopes: tuple[str, ...]
    refresh: str = field(repr=False)
    next: str | None = field(repr=False)

    @property
    def key(self) -> tuple[UUID, UUID, int]:
        """What the statements that end a refresh go by."""
        return self.client, self.id, self.lease


@dataclass(frozen=True)
class Seen:
    """A connection as it is, without a claim to it."""

    lease: int
    user: UUID
    service: str
    status: str
    expires_at: datetime | None
    expired: bool
    failures: int
    after_s: int
    leased_s: int
    refresh: str | None = field(repr=False)
    next: str | None = field(repr=False)


async def claim(database: Database, connection: UUID, ahead: timedelta, *, force: bool) -> Claim | None:
    """Take the lease of a connection whose token runs out within `ahead`, and read it in the same statement.

    None: it is not due, or somebody else's, or waits after a failure. `force`: due or not, but never somebody else's.
    """
    client = await database.client()
    wanted = {"client": client, "id": connection, "lease": LEASE, "ahead": ahead, "force": force, "most": MOST_FAILURES}
    # Not `one`, which repeats itself on a dead connection: the first may have taken the lease.
    async with database.connection() as wire:
        row = await (await wire.execute(_CLAIM, wanted)).fetchone()
    if row is None:
        return None
    lease, user, service, app, parameters, failures, scopes, refresh, following = row
    return Claim(client, connection, lease, user, service, app, parameters, failures, tuple(scopes), refresh, following)


async def look(database: Database, connection: UUID) -> Seen | None:
    """A connection as it is; None: it is gone."""
    row = await database.one(_LOOK, (await database.client(), connection))
    return Seen(*row) if row else None


async def due(database: Database, ahead: timedelta, limit: int) -> list[tuple[UUID, str]]:
    """The connections whose tokens run out within `ahead`, the most urgent first, each with its service."""
    client = await database.client()
    wanted = {"client": client, "ahead": ahead, "most": MOST_FAILURES, "limit": limit}
    return [(connection, service) for connection, service in await database.all(_DUE, wanted)]


async def keep(database: Database, claim: Claim, sealed: str) -> bool:
    """Make the refresh token that a provider has rotated to durable, beside the old one. False: the lease is lost."""
    return await database.run(_KEEP, (sealed, *claim.key)) == 1


async def keep_anyhow(database: Database, claim: Claim, seen: Seen, sealed: str) -> bool:
    """The same on a row whose lease is another's, if it is still as it was seen."""
    values = (sealed, claim.client, claim.id, seen.lease, seen.refresh, seen.next)
    return await database.run(_KEEP_ANYHOW, values) == 1


async def finish(
    wire: Wire, claim: Claim, sealed: tuple[str, str], expires_at: datetime | None, scopes: tuple[str, ...]
) -> bool:
    """Put the new tokens (access, refresh) in place and give the lease back. False: it is lost, nothing was written."""
    values = (*sealed, expires_at, list(scopes), *claim.key)
    return (await wire.execute(_FINISH, values)).rowcount == 1


async def fail(wire: Wire, claim: Claim, delay: timedelta, *, counts: bool) -> int | None:
    """Note a failure, and give the lease back; return the failures now, None when the lease is lost."""
    row = await (await wire.execute(_FAIL, (int(counts), delay, *claim.key))).fetchone()
    return None if row is None else int(row[0])


async def end(wire: Wire, claim: Claim, seen: Seen, reason: str) -> bool:
    """Mark the connection broken: its user must connect again. False: the lease is lost, or the tokens have changed."""
    return (await wire.execute(_BREAK, (reason, *claim.key, seen.refresh, seen.next))).rowcount == 1


RAISE: Final[LiteralString] = """
INSERT INTO alerts (client_id, kind, connection_id, details) VALUES (%s, %s, %s, %s)
ON CONFLICT (client_id, kind, connection_id) WHERE resolved_at IS NULL DO NOTHING"""
