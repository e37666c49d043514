"""API keys for programs: shown once, listed by prefix, revoked at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ... import contract_admin as shapes
from ...access import apikeys
from ...access.permissions import SCOPES
from ...endpoint import Answer, Call, Endpoint
from ...errors import invalid, missing
from ...inputs import told
from .common import ADMIN, FORBIDDEN, GONE, entry, may_hand_on, seen

_COLUMNS: Final = "id, name, prefix, scopes, created_by, created_at, expires_at, revoked_at, last_used_at"
_LIST: Final = f"SELECT {_COLUMNS} FROM api_keys WHERE client_id = %s ORDER BY created_at DESC, id"  # noqa: S608
_NEW: Final = f"""
INSERT INTO api_keys (client_id, name, prefix, key_hash, scopes, created_by, expires_at)
VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING {_COLUMNS}"""  # noqa: S608 - a constant
_MAKER: Final = "SELECT created_by FROM api_keys WHERE client_id = %s AND prefix = %s AND created_by LIKE 'user:%%'"
_SCOPES: Final = (
    "SELECT scopes, prefix FROM api_keys WHERE client_id = %s AND id = %s AND revoked_at IS NULL FOR UPDATE"
)
_REVOKE: Final = "UPDATE api_keys SET revoked_at = now() WHERE client_id = %s AND id = %s"


async def listed(call: Call) -> shapes.KeyList:
    """Every API key, without its value."""
    rows = await call.vault.database.all(_LIST, (await call.vault.database.client(),))
    await seen(call, "api_keys")
    return shapes.KeyList(keys=[_state(row) for row in rows])


async def create(call: Call) -> shapes.KeyMade:
    """Create a key; nobody hands on more than he holds."""
    body: shapes.NewKey = call.body
    wanted = sorted(set(body.scopes))
    if not SCOPES.issuperset(wanted):
        raise invalid(f"scopes must be of {', '.join(sorted(SCOPES))}")
    may_hand_on(call, wanted)
    minted = apikeys.mint()
    expires_at = datetime.now(UTC) + timedelta(days=body.expires_in_days)
    client = await call.vault.database.client()
    values = (client, body.name, minted.prefix, minted.digest, wanted, await _maker(call), expires_at)
    async with call.vault.audit.transaction() as tx:
        row = await (await tx.connection.execute(_NEW, values)).fetchone()
        tx.note(entry(call, "api_key", "created", prefix=minted.prefix, scopes=" ".join(wanted)))
    assert row is not None  # noqa: S101 - RETURNING of an INSERT
    return shapes.KeyMade(key=minted.text, about=_state(row))


async def _maker(call: Call) -> str:
    """Who answers for a new key: the caller, or the person who made the key that makes it."""
    if call.actor.kind == "key":
        row = await call.vault.database.one(_MAKER, (await call.vault.database.client(), call.actor.id))
        if row is not None:
            return str(row[0])
    return call.actor.label


async def revoke(call: Call) -> Answer:
    """End a key at once."""
    client, key = await call.vault.database.client(), call.id("key")
    async with call.vault.audit.transaction() as tx:
        row = await (await tx.connection.execute(_SCOPES, (client, key))).fetchone()
        if row is None:
            raise missing("key")
        may_hand_on(call, row[0])
        await tx.connection.execute(_REVOKE, (client, key))
        tx.note(entry(call, "api_key", "revoked", prefix=row[1]))
    return Answer(204)


def _state(row: tuple[Any, ...]) -> shapes.KeyState:
    return shapes.KeyState(
        id=str(row[0]),
        name=row[1],
        prefix=row[2],
        scopes=list(row[3]),
        created_by=row[4],
        created_at=row[5].isoformat(),
        expires_at=told(row[6]),
        revoked_at=told(row[7]),
        last_used_at=told(row[8]),
    )


ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        "GET", shapes.KEYS_PATH, "api_keys", listed, summary="Every API key, without its value.", answer=shapes.KeyList,
        statuses=FORBIDDEN, scope="keys.read", **ADMIN,
    ),
    Endpoint(
        "POST", shapes.KEYS_PATH, "api_key_create", create, body=shapes.NewKey,
        summary="Create an API key, shown once.",
        answer=shapes.KeyMade, status=201, statuses=FORBIDDEN, scope="keys.write", **ADMIN,
    ),
    Endpoint(
        "DELETE", shapes.KEY_PATH, "api_key_revoke", revoke, summary="Revoke an API key at once.", answer=None,
        status=204,
        statuses=GONE, scope="keys.write", **ADMIN,
    ),
)  # fmt: skip
