"""What a person may ask of a company: everything that is kept about him, and its end."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Final

from ... import connections as rows
from ... import contract_admin as shapes
from ... import erasure
from ...access import sessions
from ...connections import By
from ...endpoint import Call, Endpoint
from ...errors import Problem, missing
from ...oauth.disconnect import disconnect
from .. import curation, tooljet
from .common import ADMIN, GONE, TAKEN, entry, may_touch, nobodys
from .log import COLUMNS, state
from .users import load

MOST_ENTRIES: Final = 10_000
_AUDIT: Final = f"""
SELECT {COLUMNS} FROM credential_access_logs
WHERE client_id = %s AND user_id = %s ORDER BY id DESC LIMIT %s"""  # noqa: S608 - a constant

_LOCK: Final = "SELECT role FROM users WHERE client_id = %s AND id = %s AND erased_at IS NULL FOR UPDATE"


async def export(call: Call) -> shapes.Exported:
    """Everything about a person. Which connections exist is told; their values are not."""
    user = call.id("user")
    person = await load(call, user)
    client = await call.vault.database.client()
    found = await rows.listed(call.vault, user)
    sources = await call.vault.database.all(curation.SOURCES, (client, user, False))
    entries = await call.vault.database.all(_AUDIT, (client, user, MOST_ENTRIES))
    await call.vault.audit.record(entry(call, "privacy", "exported", user))
    return shapes.Exported(
        exported_at=datetime.now(UTC).isoformat(),
        client=(await tooljet.client_info(call))[0],
        user=person,
        connections=[tooljet.shown(one) for one in found],
        curation_sources=[curation.source(row) for row in sources],
        sessions=[sessions.shown(row, None) for row in await sessions.listed(call, user)],
        audit=[state(row) for row in entries],
    )


async def erase(call: Call) -> shapes.Erased:
    """Revoke a person's connections at their providers, then delete or empty every row about him.

    A provider that does not confirm is named in the answer and stops nothing: the right to be erased does not wait.
    """
    user = call.id("user")
    if user == call.actor.user:
        raise Problem(409, "own_account", "Nobody erases himself: another administrator or an operator does")
    nobodys(user)
    client = await call.vault.database.client()
    found = await rows.listed(call.vault, user)
    row = await call.vault.database.one(_LOCK.replace("FOR UPDATE", ""), (client, user))
    if row is None:
        raise missing("user")
    may_touch(call, row[0])
    not_revoked = await _revoke(call, found)
    async with call.vault.audit.transaction() as tx:
        if await (await tx.connection.execute(_LOCK, (client, user))).fetchone() is None:
            raise missing("user")
        for statement in erasure.EMPTY:
            await tx.connection.execute(statement, (client, user))
        tx.note(entry(call, "privacy", "erased", user, connections=str(len(found)), not_revoked=str(len(not_revoked))))
    return shapes.Erased(
        user_id=str(user), erased_at=datetime.now(UTC).isoformat(), connections=len(found), not_revoked=not_revoked
    )


async def _revoke(call: Call, found: list[rows.Listed]) -> list[str]:
    """Disconnect each; return the services that did not confirm."""
    by = By(call.actor, call.request, call.address)
    not_revoked = []
    for one in found:
        with contextlib.suppress(Problem):  # disconnected since it was listed
            if await disconnect(call.vault, one.id, by) == "not_revoked":
                not_revoked.append(one.service)
    return not_revoked


ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        "GET", shapes.EXPORT_PATH, "privacy_export", export, summary="Everything about a person but secret values.",
        answer=shapes.Exported, statuses=GONE, scope="privacy.write", **ADMIN,
    ),
    Endpoint(
        "DELETE", shapes.ONE_USER_PATH, "privacy_erase", erase, answer=shapes.Erased, statuses=TAKEN,
        summary="Revoke a person's connections and erase everything about him.", scope="privacy.write", **ADMIN,
    ),
)  # fmt: skip
