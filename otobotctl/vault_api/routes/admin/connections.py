"""The connections of everybody: listed without values, made by an API key, ended."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from ... import connections as rows
from ... import contract_admin as shapes
from ... import contract_people as people
from ...connections import By, NewConnection
from ...endpoint import Answer, Call, Endpoint
from ...oauth import disconnect as ending
from ..tooljet import shown
from .common import ADMIN, FORBIDDEN, GONE, TAKEN, seen


async def listed(call: Call) -> people.OwnConnections:
    """Every active connection, without its values."""
    found = await rows.listed(call.vault, None)
    await seen(call, "connections")
    return people.OwnConnections(connections=[shown(one) for one in found])


async def create(call: Call) -> people.Created:
    """Connect a user to a service by an API key."""
    body: shapes.NewConnectionOf = call.body
    new = NewConnection(api_key=body.api_key, account=body.account_identifier)
    by = By(call.actor, call.request, call.address)
    row, _created = await rows.save(call.vault, UUID(body.user_id), body.service, new, by, replace=False)
    return people.Created(id=str(row))


async def end(call: Call) -> Answer:
    """Revoke a connection at its provider and delete it."""
    await ending.disconnect(call.vault, call.id("connection"), By(call.actor, call.request, call.address))
    return Answer(204)


ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        "GET", shapes.ALL_CONNECTIONS_PATH, "admin_connections", listed, summary="Every connection, without values.",
        answer=people.OwnConnections, statuses=FORBIDDEN, scope="connections.read_all", **ADMIN,
    ),
    Endpoint(
        "POST", shapes.ALL_CONNECTIONS_PATH, "admin_connect", create, summary="Connect a user by an API key.",
        body=shapes.NewConnectionOf, answer=people.Created, status=201, statuses=TAKEN, scope="connections.write_all",
        **ADMIN,
    ),
    Endpoint(
        "DELETE", shapes.ANY_CONNECTION_PATH, "admin_disconnect", end, summary="Revoke and delete a connection.",
        answer=None, status=204, statuses=GONE, scope="connections.write_all", **ADMIN,
    ),
)  # fmt: skip
