"""Tickets and states: random, stored as digests, good for a while and once."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from ..crypto import Place

if TYPE_CHECKING:
    from ..database import Database, Wire
    from ..vault import Vault

TICKET: Final = timedelta(minutes=2)
STATE: Final = timedelta(minutes=10)
BYTES: Final = 32

_TICKET: Final = """
INSERT INTO oauth_tickets (client_id, ticket_hash, user_id, service_code, return_url, parameters, expires_at)
VALUES (%s, %s, %s, %s, %s, %s, now() + %s)"""

_USE_TICKET: Final = """
DELETE FROM oauth_tickets WHERE client_id = %s AND ticket_hash = %s
RETURNING user_id, service_code, return_url, parameters, expires_at > now()"""

_STATE: Final = """
INSERT INTO oauth_states (client_id, state_hash, user_id, service_code, oauth_app_id, cookie_hash, encrypted_verifier,
    return_url, parameters, expires_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, now() + %s)"""

_USE_STATE: Final = """
DELETE FROM oauth_states WHERE client_id = %s AND state_hash = %s
RETURNING user_id, service_code, oauth_app_id, cookie_hash, encrypted_verifier, return_url, parameters,
    expires_at > now()"""

_PURGE: Final = (
    "DELETE FROM oauth_tickets WHERE client_id = %s AND expires_at < now()",
    "DELETE FROM oauth_states WHERE client_id = %s AND expires_at < now()",
)


@dataclass(frozen=True)
class Ticket:
    """What a connect is for; `alive` is false when it was used too late."""

    user: UUID
    service: str
    return_url: str
    parameters: Mapping[str, str]
    alive: bool = True


@dataclass(frozen=True)
class State:
    """What a browser was sent to a provider for."""

    user: UUID
    service: str
    app: UUID
    cookie_hash: bytes = field(repr=False)
    verifier: str | None = field(repr=False)
    return_url: str
    parameters: Mapping[str, str]
    alive: bool


def token() -> str:
    """256 random bits, fit for an address."""
    return secrets.token_urlsafe(BYTES)


def digest(kind: str, text: str) -> bytes:
    """What is stored of a token. The kind goes in: a ticket is no state."""
    return sha256(f"{kind}:{text}".encode()).digest()


def cookie_name(state: str) -> str:
    """The cookie of one state, so that two connects in one browser do not disturb each other."""
    return f"__Host-otobot-oauth-{digest('cookie-name', state).hex()[:16]}"


async def issue_ticket(wire: Wire, client: UUID, ticket: Ticket) -> str:
    """Store a new ticket and return it."""
    text = token()
    values = (
        client,
        digest("ticket", text),
        ticket.user,
        ticket.service,
        ticket.return_url,
        Jsonb(dict(ticket.parameters)),
    )
    await wire.execute(_TICKET, (*values, TICKET))
    return text


async def use_ticket(wire: Wire, client: UUID, text: str) -> Ticket | None:
    """Take a ticket out: it is good once, whatever comes of it."""
    row = await (await wire.execute(_USE_TICKET, (client, digest("ticket", text)))).fetchone()
    return Ticket(*row) if row else None


def _place(vault: Vault, user: UUID, service: str, hashed: bytes) -> Place:
    return Place(vault.settings.client, str(user), service, hashed.hex(), "oauth_states.encrypted_verifier")


async def issue_state(vault: Vault, wire: Wire, ticket: Ticket, app: UUID, verifier: str | None) -> tuple[str, str]:
    """Store a new state, and return it with the value of its cookie."""
    state, cookie = token(), token()
    hashed = digest("state", state)
    sealed = verifier and vault.keyring.seal(verifier, _place(vault, ticket.user, ticket.service, hashed))
    values: tuple[Any, ...] = (
        await vault.database.client(), hashed, ticket.user, ticket.service, app, digest("cookie", cookie), sealed,
        ticket.return_url, Jsonb(dict(ticket.parameters)), STATE,
    )  # fmt: skip
    await wire.execute(_STATE, values)
    return state, cookie


async def use_state(vault: Vault, state: str) -> State | None:
    """Take a state out, in one statement: of two callbacks with the same one, one gets it.

    Raises:
        SealError: its verifier does not open.
    """
    hashed = digest("state", state)
    async with vault.database.connection() as wire:
        row = await (await wire.execute(_USE_STATE, (await vault.database.client(), hashed))).fetchone()
    if row is None:
        return None
    user, service, app, cookie_hash, sealed, return_url, parameters, alive = row
    verifier = vault.keyring.open(sealed, _place(vault, user, service, hashed)) if sealed else None
    return State(user, service, app, bytes(cookie_hash), verifier, return_url, parameters, alive)


async def purge(database: Database) -> None:
    """Remove what has run out."""
    for statement in _PURGE:
        await database.run(statement, (await database.client(),))
