"""Sessions: a login and the refresh tokens that follow it. Each is good once; showing a used one ends them all."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

from ..audit import Entry
from ..contract_people import SessionInfo
from ..errors import Problem
from . import passwords
from .tokens import LIFETIME, Claims

if TYPE_CHECKING:
    from ..audit import Transaction
    from ..endpoint import Call

IDLE: Final = timedelta(days=14)
LONGEST: Final = timedelta(days=90)  # then everybody logs in again, however busy the session
_TOKEN: Final = re.compile(r"ort_[A-Za-z0-9_-]{43}")

_INSERT: Final = """
INSERT INTO client_sessions (client_id, user_id, family, token_hash, expires_at, address, user_agent)
VALUES (%s, %s, %s, %s, %s, %s, %s)"""

# Whoever issues a token or ends sessions holds the user's row, and looks at the sessions then: of two who show the same
# token one is second, and no ending overlooks a token that is just being made.
_HOLD: Final = "SELECT 1 FROM users WHERE client_id = %s AND id = %s FOR NO KEY UPDATE"
_HOLD_WHOSE: Final = """
SELECT 1 FROM users WHERE client_id = %(client)s AND id = (
    SELECT user_id FROM client_sessions WHERE client_id = %(client)s AND token_hash = %(token)s
) FOR NO KEY UPDATE"""

_FIND: Final = """
SELECT s.id, s.user_id, s.family, s.used_at, s.revoked_at, s.expires_at, u.role, u.mfa_enabled, u.password_changed_at,
    u.must_change_password, u.is_active AND u.erased_at IS NULL AND c.is_active,
    (SELECT min(f.issued_at) FROM client_sessions f WHERE f.client_id = s.client_id AND f.family = s.family)
FROM client_sessions s
    JOIN users u ON u.client_id = s.client_id AND u.id = s.user_id
    JOIN clients c ON c.id = s.client_id
WHERE s.client_id = %(client)s AND s.token_hash = %(token)s"""

_USE: Final = "UPDATE client_sessions SET used_at = now() WHERE client_id = %s AND id = %s"

_REVOKE_FAMILY: Final = """
UPDATE client_sessions SET revoked_at = now()
WHERE client_id = %s AND user_id = %s AND family = %s AND revoked_at IS NULL"""

_REVOKE_OTHERS: Final = """
UPDATE client_sessions SET revoked_at = now()
WHERE client_id = %s AND user_id = %s AND family IS DISTINCT FROM %s AND revoked_at IS NULL"""

# Everybody's, with every login: addresses and browsers of sessions that are over are nobody's business.
_FORGET: Final = "DELETE FROM client_sessions WHERE client_id = %s AND expires_at < now() - interval '1 day'"

_SEEN: Final = "UPDATE users SET last_login_at = now() WHERE client_id = %s AND id = %s"

LIST: Final = """
SELECT family, min(issued_at), max(issued_at), max(expires_at), (array_agg(address ORDER BY issued_at DESC))[1],
    (array_agg(user_agent ORDER BY issued_at DESC))[1]
FROM client_sessions WHERE client_id = %s AND user_id = %s
GROUP BY family HAVING bool_and(revoked_at IS NULL) AND max(expires_at) > now()
ORDER BY max(issued_at) DESC, family"""


@dataclass(frozen=True)
class Issued:
    """What a login or a refresh gives."""

    token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int


@dataclass(frozen=True)
class _Session:
    """A row of `_FIND`."""

    id: UUID
    user: UUID
    family: UUID
    used_at: datetime | None
    revoked_at: datetime | None
    expires_at: datetime
    role: str
    second_factor: bool
    password_changed_at: datetime | None
    must_change: bool
    active: bool
    started_at: datetime


def refused() -> Problem:
    """401: one answer for every refresh token that does not work, whatever the reason."""
    return Problem(401, "session_ended", "The session has ended: log in again")


def digest(token: str) -> bytes:
    """How a refresh token is stored; 256 random bits need no salt."""
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


async def begin(tx: Transaction, call: Call, user: UUID, role: str, *, second_factor: bool) -> Issued:
    """Open a session in a transaction that notes the login."""
    client = await call.vault.database.client()
    await tx.connection.execute(_FORGET, (client,))
    await tx.connection.execute(_SEEN, (client, user))
    claims = Claims(user, uuid4(), role, second_factor)
    return await _issue(tx, call, claims, datetime.now(UTC) + IDLE)


async def rotate(call: Call, presented: str) -> Issued:
    """Exchange a refresh token for the next pair.

    A token that was used before is in two hands: the whole family is revoked, whoever shows it.

    Raises:
        Problem: 401 when it does not work, whatever the reason; 403 when the password has expired.
    """
    if not _TOKEN.fullmatch(presented):
        raise refused()
    client = await call.vault.database.client()
    async with call.vault.audit.transaction() as tx:
        wanted = {"client": client, "token": digest(presented)}
        await tx.connection.execute(_HOLD_WHOSE, wanted)
        row = await (await tx.connection.execute(_FIND, wanted)).fetchone()
        session = _Session(*row) if row else None
        outcome = _verdict(session, datetime.now(UTC))
        user = session.user if session else None
        details = {"session": str(session.family)} if session else {}
        tx.note(
            Entry("refresh", outcome, call.actor, user, request=call.request, address=call.address, details=details)
        )
        if session is not None and outcome == "reused":
            await tx.connection.execute(_REVOKE_FAMILY, (client, session.user, session.family))
        if session is not None and outcome == "ok":
            await tx.connection.execute(_USE, (client, session.id))
            claims = Claims(session.user, session.family, session.role, session.second_factor)
            until = min(datetime.now(UTC) + IDLE, session.started_at + LONGEST)
            return await _issue(tx, call, claims, until)
    # Only here, after the commit: an exception inside would undo the revocation and the record.
    if outcome == "password_expired":
        raise password_expired()
    raise refused()


def password_expired() -> Problem:
    """403: right, but it has to be replaced."""
    return Problem(403, "password_expired", "The password has to be changed: POST /api/auth/password/renew")


async def revoke(tx: Transaction, client: UUID, user: UUID, family: UUID) -> int:
    """End one session of a user; return how many refresh tokens that ended."""
    await tx.connection.execute(_HOLD, (client, user))
    return (await tx.connection.execute(_REVOKE_FAMILY, (client, user, family))).rowcount


async def revoke_others(tx: Transaction, client: UUID, user: UUID, keep: UUID | None = None) -> int:
    """End every session of a user but one (None: every one); return how many refresh tokens that ended."""
    await tx.connection.execute(_HOLD, (client, user))
    return (await tx.connection.execute(_REVOKE_OTHERS, (client, user, keep))).rowcount


async def listed(call: Call, user: UUID) -> list[tuple[Any, ...]]:
    """Return (family, first and latest refresh, end, address, user agent) of a user's sessions, newest first."""
    client = await call.vault.database.client()
    return await call.vault.database.all(LIST, (client, user))


def shown(row: tuple[Any, ...], current: UUID | None) -> SessionInfo:
    """A row of `listed` as an answer; `current` is the session that asks."""
    family, started, latest, ends, address, agent = row
    return SessionInfo(
        id=str(family),
        started_at=started.isoformat(),
        last_used_at=latest.isoformat(),
        expires_at=ends.isoformat(),
        address=address,
        user_agent=agent,
        current=family == current,
    )


def _verdict(session: _Session | None, now: datetime) -> str:
    if session is None:
        return "unknown"
    if session.revoked_at is not None:
        return "revoked"
    if session.used_at is not None:
        return "reused"
    if session.expires_at <= now or not session.active:
        return "ended"
    if session.must_change or passwords.expired(session.password_changed_at, now):
        return "password_expired"
    return "ok"


async def _issue(tx: Transaction, call: Call, claims: Claims, until: datetime) -> Issued:
    client = await call.vault.database.client()
    refresh = f"ort_{secrets.token_urlsafe(32)}"
    row = (client, claims.user, claims.session, digest(refresh), until, call.address, call.user_agent)
    await tx.connection.execute(_INSERT, row)
    return Issued(call.vault.tokens.issue(claims), refresh, int(LIFETIME.total_seconds()))
