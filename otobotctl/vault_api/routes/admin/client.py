"""The client of this vault, the permissions there are, and what is granted to whom."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import UNSET
from psycopg.types.json import Jsonb

from ... import contract_admin as shapes
from ...access.identity import Policy
from ...access.permissions import GRANTED, PERMISSIONS
from ...endpoint import Call, Endpoint
from ...errors import invalid, missing
from .common import ADMIN, FORBIDDEN, GONE, entry, may_hand_on, may_touch, seen

_CLIENT: Final = "SELECT id, slug, company_name, email, is_active, policy FROM clients WHERE id = %s"
_CHANGE: Final = """
UPDATE clients SET company_name = coalesce(%s, company_name), email = coalesce(%s, email),
    policy = policy || coalesce(%s, '{}'::jsonb), updated_at = now()
WHERE id = %s"""
_ROLE: Final = "SELECT role FROM users WHERE client_id = %s AND id = %s AND erased_at IS NULL FOR UPDATE"
_HELD: Final = "SELECT permission_code FROM user_permissions WHERE client_id = %s AND user_id = %s ORDER BY 1"
_REVOKE: Final = "DELETE FROM user_permissions WHERE client_id = %s AND user_id = %s AND permission_code <> ALL(%s)"
_GRANT: Final = """
INSERT INTO user_permissions (client_id, user_id, permission_code, granted_by)
SELECT %s, %s, code, %s FROM unnest(%s::text[]) AS code ON CONFLICT DO NOTHING"""


async def read(call: Call) -> shapes.ClientState:
    """The client's row."""
    await seen(call, "client")
    return await _state(call)


async def change(call: Call) -> shapes.ClientState:
    """Change the client's row; only an administrator changes the policy."""
    body: shapes.ClientChange = call.body
    policy = None if body.policy is UNSET else Jsonb(msgspec.to_builtins(body.policy))
    if policy is not None:
        may_hand_on(call, ("admin",))
    name, email = (None if value is UNSET else value for value in (body.company_name, body.email))
    client = await call.vault.database.client()
    async with call.vault.audit.transaction() as tx:
        await tx.connection.execute(_CHANGE, (name, email, policy, client))
        fields = [field for field in body.__struct_fields__ if getattr(body, field) is not UNSET]
        tx.note(entry(call, "client", "changed", fields=" ".join(fields)))
    return await _state(call)


async def permissions(call: Call) -> shapes.KnownPermissions:
    """Every permission that there is."""
    await seen(call, "permissions")
    return shapes.KnownPermissions(permissions=dict(PERMISSIONS))


async def granted(call: Call) -> shapes.Permissions:
    """What is granted to a user beyond his role."""
    user = call.id("user")
    client = await call.vault.database.client()
    if await call.vault.database.one("SELECT 1 FROM users WHERE client_id = %s AND id = %s", (client, user)) is None:
        raise missing("user")
    await seen(call, "permissions", user)
    rows = await call.vault.database.all(_HELD, (client, user))
    return shapes.Permissions(permissions=[row[0] for row in rows])


async def grant(call: Call) -> shapes.Permissions:
    """Replace what is granted to a user; nobody grants or takes what he does not hold."""
    body: shapes.Permissions = call.body
    user, wanted = call.id("user"), sorted(set(body.permissions))
    if not set(wanted) <= GRANTED.keys():
        raise invalid(f"permissions must be of {', '.join(GRANTED)}")
    client = await call.vault.database.client()
    async with call.vault.audit.transaction() as tx:
        row = await (await tx.connection.execute(_ROLE, (client, user))).fetchone()
        if row is None:
            raise missing("user")
        may_touch(call, row[0])
        held = {code for (code,) in await (await tx.connection.execute(_HELD, (client, user))).fetchall()}
        may_hand_on(call, held ^ set(wanted))
        await tx.connection.execute(_REVOKE, (client, user, wanted))
        await tx.connection.execute(_GRANT, (client, user, call.actor.label, wanted))
        tx.note(entry(call, "permissions", "changed", user, permissions=" ".join(wanted)))
    return shapes.Permissions(permissions=wanted)


async def _state(call: Call) -> shapes.ClientState:
    row = await call.vault.database.one(_CLIENT, (await call.vault.database.client(),))
    if row is None:
        raise missing("client")
    policy = shapes.Policy(admin_second_factor=Policy.read(row[5]).admin_second_factor)
    return shapes.ClientState(
        id=str(row[0]), slug=row[1], company_name=row[2], email=row[3], is_active=row[4], policy=policy
    )


_READ: Final[dict[str, Any]] = {**ADMIN, "scope": "users.read"}

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        "GET", shapes.CLIENT_PATH, "client", read, summary="The client of this vault.", answer=shapes.ClientState,
        statuses=GONE, scope="client.read", **ADMIN,
    ),
    Endpoint(
        "PATCH", shapes.CLIENT_PATH, "client_change", change, summary="Change the client or its policy.",
        body=shapes.ClientChange, answer=shapes.ClientState, statuses=GONE, scope="client.write", **ADMIN,
    ),
    Endpoint(
        "GET", shapes.PERMISSIONS_PATH, "permissions", permissions, summary="Every permission.",
        answer=shapes.KnownPermissions, statuses=FORBIDDEN, **_READ,
    ),
    Endpoint(
        "GET", shapes.USER_PERMISSIONS_PATH, "user_permissions", granted, summary="What is granted to a user.",
        answer=shapes.Permissions, statuses=GONE, **_READ,
    ),
    Endpoint(
        "PUT", shapes.USER_PERMISSIONS_PATH, "user_permissions_change", grant, summary="Replace what is granted.",
        body=shapes.Permissions, answer=shapes.Permissions, statuses=GONE, scope="permissions.write", **ADMIN,
    ),
)  # fmt: skip
