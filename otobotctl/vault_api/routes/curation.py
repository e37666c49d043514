"""Curation sources: what a person wants watched. Rows keep the platform's snake_case names."""

from __future__ import annotations

from typing import Any, Final

from psycopg.types.json import Jsonb

from .. import contract_people as shapes
from ..access import accounts
from ..access.identity import own_or_all
from ..actor import Access
from ..contract import Failure
from ..endpoint import Answer, Call, Endpoint
from ..errors import missing

SOURCES: Final = """
SELECT id, user_id, source_type, source_value, source_name, metadata, created_at FROM curation_sources
WHERE client_id = %s AND (user_id = %s OR %s) AND is_active ORDER BY created_at, id"""

_NEW_SOURCE: Final = """
INSERT INTO curation_sources (client_id, user_id, source_type, source_value, source_name, metadata)
SELECT client_id, id, %s, %s, %s, %s FROM users WHERE client_id = %s AND id = %s AND is_active FOR KEY SHARE
RETURNING id"""

_NO_SOURCE: Final = """
DELETE FROM curation_sources WHERE client_id = %s AND id = %s AND (user_id = %s OR %s) RETURNING user_id"""


async def list_sources(call: Call) -> shapes.Sources:
    """The person's curation sources; an administrator's list has every user's."""
    user = own_or_all(call.actor)
    client = await call.vault.database.client()
    found = await call.vault.database.all(SOURCES, (client, user, user is None))
    return shapes.Sources(curation_sources=[source(row) for row in found])


async def add_source(call: Call) -> shapes.Created:
    """Add a curation source."""
    body: shapes.NewSource = call.body
    user = call.actor.user
    client = await call.vault.database.client()
    values = (body.source_type, body.source_value, body.source_name, Jsonb(body.metadata), client, user)
    async with call.vault.audit.transaction() as tx:
        row = await (await tx.connection.execute(_NEW_SOURCE, values)).fetchone()
        if row is None:  # deactivated or erased since the request was let in
            raise missing("user")
        made = str(row[0])
        tx.note(accounts.entry(call, "curation_source", "created", user, source=made))
    return shapes.Created(id=made)


async def remove_source(call: Call) -> Answer:
    """Remove a curation source."""
    user = own_or_all(call.actor)
    client = await call.vault.database.client()
    async with call.vault.audit.transaction() as tx:
        removed = await tx.connection.execute(_NO_SOURCE, (client, call.id("source"), user, user is None))
        row = await removed.fetchone()
        if row is None:
            raise missing("source")
        tx.note(accounts.entry(call, "curation_source", "deleted", row[0], source=str(call.id("source"))))
    return Answer(204)


def source(row: tuple[Any, ...]) -> shapes.Source:
    """A row of `SOURCES` as an answer."""
    return shapes.Source(
        id=str(row[0]),
        user_id=str(row[1]),
        source_type=row[2],
        source_value=row[3],
        source_name=row[4],
        metadata=row[5],
        created_at=row[6].isoformat(),
    )


_SELF: Final[dict[str, Any]] = {"access": Access.USER, "tag": "tooljet"}
_GONE: Final = {404: Failure}

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        "GET", shapes.SOURCES_PATH, "sources", list_sources, summary="Curation sources.", answer=shapes.Sources,
        scope="curation.read", **_SELF,
    ),
    Endpoint(
        "POST", shapes.SOURCES_PATH, "source_add", add_source, summary="Add a curation source.", body=shapes.NewSource,
        answer=shapes.Created, status=201, statuses=_GONE, scope="curation.write", **_SELF,
    ),
    Endpoint(
        "DELETE", shapes.SOURCE_PATH, "source_remove", remove_source, summary="Remove a curation source.", answer=None,
        status=204, statuses=_GONE, scope="curation.write", **_SELF,
    ),
)  # fmt: skip
