"""Users: created, changed, unlocked, deactivated; a password set by somebody else is good for one login."""

from __future__ import annotations

import secrets
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg
from msgspec import UNSET

from ... import contract_admin as shapes
from ...access import accounts, factors, sessions
from ...access.passwords import BusyError
from ...audit import Transaction
from ...endpoint import Answer, Call, Endpoint
from ...errors import Problem, missing, taken, unavailable
from ...inputs import told
from .common import ADMIN, FORBIDDEN, GONE, TAKEN, entry, may_touch, nobodys, seen

_COLUMNS: Final = """u.id, u.email, u.name, u.role, u.is_active, u.mfa_enabled, u.must_change_password,
    u.failed_logins, u.locked_until, u.last_login_at, u.created_at, u.erased_at,
    ARRAY(SELECT p.permission_code FROM user_permissions p
        WHERE p.client_id = u.client_id AND p.user_id = u.id ORDER BY 1)"""
_PAGE: Final = f"""
SELECT {_COLUMNS} FROM users u WHERE u.client_id = %s AND lower(u.email) > lower(%s)
ORDER BY lower(u.email) LIMIT %s"""  # noqa: S608 - constants
_ONE: Final = f"SELECT {_COLUMNS} FROM users u WHERE u.client_id = %s AND u.id = %s"  # noqa: S608 - constants
_NEW: Final = "INSERT INTO users (client_id, id, email, name, role) VALUES (%s, %s, %s, %s, %s)"
_LOCK: Final = """
SELECT u.role, u.email, u.name, u.is_active,
    ARRAY(SELECT p.permission_code FROM user_permissions p WHERE p.client_id = u.client_id AND p.user_id = u.id)
FROM users u WHERE u.client_id = %s AND u.id = %s AND u.erased_at IS NULL FOR UPDATE OF u"""
_CHANGE: Final = """
UPDATE users SET email = %s, name = %s, role = %s, is_active = %s, updated_at = now()
WHERE client_id = %s AND id = %s"""
_UNLOCK: Final = """
UPDATE users SET failed_logins = 0, locked_until = NULL, updated_at = now()
WHERE client_id = %s AND id = %s AND erased_at IS NULL"""


def one_time_password() -> str:
    """A password of 130 random bits that the policy accepts and a person can type: five groups and all classes."""
    alphabet = "abcdefghijkmnpqrstuvwxyzACDEFGHJKLMNPQRTUVWXY34679"
    groups = ["".join(secrets.choice(alphabet) for _ in range(5)) for _ in range(4)]
    return "-".join([*groups, "Aa3"])


async def page(call: Call) -> shapes.UserList:
    """A page of users."""
    query: shapes.UserPage = call.query
    client = await call.vault.database.client()
    rows = await call.vault.database.all(_PAGE, (client, query.after, query.limit))
    await seen(call, "users")
    users = [state(row) for row in rows]
    return shapes.UserList(users=users, next=users[-1].email if len(users) == query.limit else None)


async def one(call: Call) -> shapes.UserState:
    """One user."""
    found = await load(call, call.id("user"))
    await seen(call, "user", call.id("user"))
    return found


async def load(call: Call, user: UUID) -> shapes.UserState:
    """A user's state. Raises Problem: 404."""
    row = await call.vault.database.one(_ONE, (await call.vault.database.client(), user))
    if row is None:
        raise missing("user")
    return state(row)


async def create(call: Call) -> shapes.PersonMade:
    """Create a user with a one-time password."""
    body: shapes.Person = call.body
    may_touch(call, body.role)
    user, password = uuid4(), one_time_password()
    hashed = await _hashed(call, password)
    client = await call.vault.database.client()
    try:
        async with call.vault.audit.transaction() as tx:
            await tx.connection.execute(_NEW, (client, user, body.email, body.name, body.role))
            await accounts.set_password(tx, client, user, hashed, must_change=True)
            tx.note(entry(call, "user", "created", user, role=body.role))
    except psycopg.errors.UniqueViolation:
        raise taken("user") from None
    return shapes.PersonMade(user=await load(call, user), password=password)


async def change(call: Call) -> shapes.UserState:
    """Change a user; a lower role or a deactivation ends his sessions."""
    body: shapes.PersonChange = call.body
    user = call.id("user")
    if user == call.actor.user and (body.role is not UNSET or body.is_active is not UNSET):
        raise Problem(409, "own_account", "Nobody changes his own role or deactivates himself")
    nobodys(user)
    client = await call.vault.database.client()
    try:
        async with call.vault.audit.transaction() as tx:
            role, *known, granted = await _locked(tx, client, user)
            asked = (body.email, body.name, body.is_active)
            email, name, active = (old if new is UNSET else new for new, old in zip(asked, known, strict=True))
            new_role = role if body.role is UNSET else body.role
            may_touch(call, role, granted)
            may_touch(call, new_role)
            await tx.connection.execute(_CHANGE, (email, name, new_role, active, client, user))
            if not active or new_role != role:
                await sessions.revoke_others(tx, client, user)
            fields = [field for field in body.__struct_fields__ if getattr(body, field) is not UNSET]
            tx.note(entry(call, "user", "changed", user, fields=" ".join(fields), role=new_role, active=str(active)))
    except psycopg.errors.UniqueViolation:
        raise taken("user") from None
    return await load(call, user)


async def reset_password(call: Call) -> shapes.OneTimePassword:
    """Replace a user's password with a one-time one; every session ends."""
    user = call.id("user")
    password = one_time_password()
    hashed = await _hashed(call, password)
    client = await call.vault.database.client()
    async with call.vault.audit.transaction() as tx:
        role, email, *_rest, granted = await _locked(tx, client, user)
        may_touch(call, role, granted)
        await accounts.set_password(tx, client, user, hashed, must_change=True)
        await sessions.revoke_others(tx, client, user)
        tx.note(entry(call, "password", "reset", user))
    await call.vault.throttle.succeeded(email)
    return shapes.OneTimePassword(password=password)


async def unlock(call: Call) -> Answer:
    """Forget a user's failed logins."""
    user = call.id("user")
    client = await call.vault.database.client()
    async with call.vault.audit.transaction() as tx:
        _role, email, *_rest = await _locked(tx, client, user)
        await tx.connection.execute(_UNLOCK, (client, user))
        tx.note(entry(call, "user", "unlocked", user))
    await call.vault.throttle.succeeded(email)
    await call.vault.throttle.succeeded(str(user))
    return Answer(204)


async def end_sessions(call: Call) -> Answer:
    """End every session of a user."""
    user = call.id("user")
    client = await call.vault.database.client()
    async with call.vault.audit.transaction() as tx:
        await _locked(tx, client, user)
        ended = await sessions.revoke_others(tx, client, user)
        tx.note(entry(call, "session", "revoked", user, count=str(ended)))
    return Answer(204)


async def remove_mfa(call: Call) -> Answer:
    """Turn off the second factor of a user who has lost it; every session ends."""
    user = call.id("user")
    client = await call.vault.database.client()
    async with call.vault.audit.transaction() as tx:
        role, *_rest, granted = await _locked(tx, client, user)
        may_touch(call, role, granted)
        await factors.turning_off(call, user)(tx)
        await sessions.revoke_others(tx, client, user)
    return Answer(204)


async def _locked(tx: Transaction, client: UUID, user: UUID) -> tuple[Any, ...]:
    row = await (await tx.connection.execute(_LOCK, (client, user))).fetchone()
    if row is None:
        raise missing("user")
    return row


async def _hashed(call: Call, password: str) -> str:
    try:
        return await call.vault.passwords.hash(password)
    except BusyError:
        raise unavailable() from None


def state(row: tuple[Any, ...]) -> shapes.UserState:
    """A row of this module's columns as an answer."""
    return shapes.UserState(
        id=str(row[0]),
        email=row[1],
        name=row[2],
        role=row[3],
        is_active=row[4],
        mfa_enabled=row[5],
        must_change_password=row[6],
        failed_logins=row[7],
        locked_until=told(row[8]),
        last_login_at=told(row[9]),
        created_at=row[10].isoformat(),
        erased_at=told(row[11]),
        permissions=list(row[12]),
    )


_WRITE: Final[dict[str, Any]] = {**ADMIN, "scope": "users.write"}

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        "GET", shapes.USERS_PATH, "users", page, summary="A page of users.", query=shapes.UserPage,
        answer=shapes.UserList, statuses=FORBIDDEN, scope="users.read", **ADMIN,
    ),
    Endpoint(
        "POST", shapes.USERS_PATH, "user_create", create, summary="Create a user with a one-time password, shown once.",
        body=shapes.Person, answer=shapes.PersonMade, status=201, statuses=TAKEN, **_WRITE,
    ),
    Endpoint(
        "GET", shapes.ONE_USER_PATH, "user_read", one, summary="One user.", answer=shapes.UserState, statuses=GONE,
        scope="users.read", **ADMIN,
    ),
    Endpoint(
        "PATCH", shapes.ONE_USER_PATH, "user_change", change, summary="Change, deactivate or reactivate a user.",
        body=shapes.PersonChange, answer=shapes.UserState, statuses=TAKEN, **_WRITE,
    ),
    Endpoint(
        "POST", shapes.USER_PASSWORD_PATH, "user_password", reset_password, answer=shapes.OneTimePassword,
        statuses=GONE, summary="Replace a user's password with a one-time one, shown once.", **_WRITE,
    ),
    Endpoint(
        "POST", shapes.USER_UNLOCK_PATH, "user_unlock", unlock, summary="Forget a user's failed logins.", answer=None,
        status=204, statuses=GONE, **_WRITE,
    ),
    Endpoint(
        "DELETE", shapes.USER_SESSIONS_PATH, "user_sessions_end", end_sessions, summary="End every session of a user.",
        answer=None, status=204, statuses=GONE, **_WRITE,
    ),
    Endpoint(
        "DELETE", shapes.USER_MFA_PATH, "user_mfa_remove", remove_mfa, answer=None, status=204, statuses=GONE,
        summary="Turn off a user's second factor.", **_WRITE,
    ),
)  # fmt: skip
