"""Who a bearer is: a person by an access token, a program by an API key. What is revoked is refused at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from ..actor import Access, Actor
from ..errors import Problem
from . import apikeys
from .permissions import OWN, PERMISSIONS, held
from .tokens import Claims, TokenError

if TYPE_CHECKING:
    from starlette.requests import Request

    from ..endpoint import Endpoint
    from ..vault import Vault

NOBODY: Final = UUID(int=0)

# A token lives fifteen minutes; its session and user are asked each time, so that ending either ends it now.
_PERSON: Final = """
SELECT u.role, u.mfa_enabled, c.policy,
    ARRAY(SELECT p.permission_code FROM user_permissions p WHERE p.client_id = u.client_id AND p.user_id = u.id)
FROM users u JOIN clients c ON c.id = u.client_id
WHERE u.client_id = %(client)s AND u.id = %(user)s AND u.is_active AND u.erased_at IS NULL AND c.is_active
    AND EXISTS (
        SELECT FROM client_sessions s
        WHERE s.client_id = u.client_id AND s.user_id = u.id AND s.family = %(session)s
            AND s.revoked_at IS NULL AND s.expires_at > now()
    )"""

# With what its maker may do now: a key is not a way to keep what he has lost. Keys of operators have no
# such end.
_KEY: Final = """
SELECT k.id, k.key_hash, k.scopes, k.expires_at, k.revoked_at, k.created_by LIKE 'user:%%',
    CASE WHEN u.is_active AND u.erased_at IS NULL THEN u.role END,
    ARRAY(SELECT p.permission_code FROM user_permissions p WHERE p.client_id = u.client_id AND p.user_id = u.id)
FROM api_keys k LEFT JOIN users u ON u.client_id = k.client_id AND 'user:' || u.id = k.created_by
WHERE k.client_id = %s AND k.prefix = %s"""

_TOUCH: Final = """
UPDATE api_keys SET last_used_at = now()
WHERE client_id = %s AND id = %s AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')"""


@dataclass(frozen=True)
class Policy:
    """What a client has decided; kept as JSON with its row. An admin needs a second factor unless it says otherwise."""

    admin_second_factor: bool = True

    @classmethod
    def read(cls, stored: Any) -> Policy:
        """The stored policy; what it does not say is the default."""
        given = stored if isinstance(stored, dict) else {}
        return cls(given.get("adminSecondFactor") is not False)


def permissions(role: str, granted: list[str], policy: Policy, *, second_factor: bool) -> frozenset[str]:
    """Return what a login may do: more than one's own only with the second factor that the policy asks for."""
    if policy.admin_second_factor and not second_factor:
        return frozenset(OWN)
    return held(role, granted)


async def person(vault: Vault, endpoint: Endpoint, request: Request) -> Actor | None:
    """The person of a valid access token. Raises Problem: 403 when the endpoint asks for more than he may do."""
    try:
        claims = vault.tokens.verify(_bearer(request))
    except TokenError:
        return None
    actor = await _person(vault, claims)
    if actor is not None and endpoint.scope and endpoint.scope not in actor.permissions:
        raise _forbidden(actor)
    return actor


async def administrator(vault: Vault, endpoint: Endpoint, request: Request) -> Actor | None:
    """Like `person`; where the endpoint has no scope, every permission is needed."""
    actor = await person(vault, endpoint, request)
    if actor is not None and not endpoint.scope and not actor.permissions > frozenset(OWN):
        raise _forbidden(actor)
    return actor


async def program(vault: Vault, endpoint: Endpoint, request: Request) -> Actor | None:
    """The program of a valid API key, for endpoints of administrators only. Raises Problem: 403 outside its scopes."""
    presented = _bearer(request)
    prefix = apikeys.prefix(presented)
    if prefix is None or endpoint.access is not Access.ADMIN:
        return None
    client = await vault.database.client()
    row = await vault.database.one(_KEY, (client, prefix))
    stored = apikeys.Stored(bytes(row[1]), row[3], row[4]) if row else None
    if row is None or not apikeys.admits(stored, presented, datetime.now(UTC)):
        return None
    await vault.database.run(_TOUCH, (client, row[0]))
    scopes = frozenset(row[2])
    if row[5]:
        scopes &= _handed_on(row[6], row[7])
    if not scopes & {"admin", endpoint.scope or "admin"}:
        raise Problem(403, "forbidden", "The API key does not have the scope for this")
    return Actor("key", prefix, role="admin" if "admin" in scopes else "", scopes=scopes)


def _handed_on(role: str | None, granted: list[str]) -> frozenset[str]:
    """What a maker of keys may hand on now; nothing when he is gone."""
    if role is None:
        return frozenset()
    return held(role, granted) | ({"admin"} if role == "admin" else frozenset())


async def _person(vault: Vault, claims: Claims) -> Actor | None:
    client = await vault.database.client()
    row = await vault.database.one(_PERSON, {"client": client, "user": claims.user, "session": claims.session})
    if row is None:
        return None
    role, mfa_enabled, policy, granted = row
    may = permissions(role, granted, Policy.read(policy), second_factor=claims.second_factor and mfa_enabled)
    effective = "admin" if role == claims.role == "admin" and may > frozenset(OWN) else "user"
    return Actor("user", str(claims.user), claims.user, effective, may, session=claims.session)


def _bearer(request: Request) -> str:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _forbidden(actor: Actor) -> Problem:
    if actor.permissions == frozenset(OWN):
        return Problem(
            403, "forbidden", "This needs a permission; an administrator has it once the second factor is on"
        )
    return Problem(403, "forbidden", "This needs a permission that the account does not have")


def powers(actor: Actor) -> frozenset[str]:
    """Return what an actor may do and therefore hand on; `admin` is among them for who may do everything."""
    if actor.kind == "operator" or "admin" in actor.scopes or actor.role == "admin":
        return frozenset({*PERMISSIONS, "admin"})
    return actor.permissions | actor.scopes


def own_or_all(actor: Actor) -> UUID | None:
    """Whose rows an actor sees: his own, or None for every user's of the client. Who is nobody sees nobody's."""
    if actor.role == "admin" or actor.kind == "operator":
        return None
    return actor.user or NOBODY
