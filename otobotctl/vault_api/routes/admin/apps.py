"""OAuth applications and services. A client id or secret goes in and never comes out."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
from msgspec import UNSET

from ... import contract_admin as shapes
from ...connections import By
from ...crypto import Place
from ...endpoint import Answer, Call, Endpoint
from ...errors import Problem, invalid, missing, taken
from ...oauth import applications
from ...oauth.requests import Client
from .common import ADMIN, FORBIDDEN, GONE, TAKEN, entry, seen

_LIST: Final = """
SELECT a.id, a.service_code, a.app_name, a.redirect_uri, a.scopes, a.encrypted_client_secret IS NOT NULL, a.is_active,
    (SELECT count(*) FROM client_connections c
        WHERE c.client_id = a.client_id AND c.oauth_app_id = a.id AND c.is_active), a.created_at
FROM oauth_applications a WHERE a.client_id = %s AND (a.id = %s OR %s) ORDER BY a.service_code, a.created_at, a.id"""
_OLD: Final = """
SELECT service_code, app_name, encrypted_client_id, encrypted_client_secret, redirect_uri, scopes, is_active
FROM oauth_applications WHERE client_id = %s AND id = %s FOR UPDATE"""
_CHANGE: Final = """
UPDATE oauth_applications SET app_name = %s, encrypted_client_id = %s, encrypted_client_secret = %s, redirect_uri = %s,
    scopes = %s, is_active = %s, updated_at = now()
WHERE client_id = %s AND id = %s"""
_REMOVE: Final = "DELETE FROM oauth_applications WHERE client_id = %s AND id = %s RETURNING service_code"
_SERVICES: Final = """
SELECT s.code, s.display_name, s.oauth_type, s.is_active,
    EXISTS (SELECT FROM oauth_applications a
        WHERE a.client_id = %(client)s AND a.service_code = s.code AND a.is_active),
    (SELECT count(*) FROM client_connections c
        WHERE c.client_id = %(client)s AND c.service_code = s.code AND c.is_active)
FROM services s ORDER BY s.code"""


async def listed(call: Call) -> shapes.AppList:
    """Every application, without its values."""
    rows = await call.vault.database.all(_LIST, (await call.vault.database.client(), None, True))
    await seen(call, "oauth_apps")
    return shapes.AppList(apps=[_state(row) for row in rows])


async def create(call: Call) -> shapes.AppState:
    """Store an application, sealed; it takes the place of the service's active one."""
    body: shapes.NewApp = call.body
    app = await applications.save(
        call.vault,
        body.service,
        body.app_name,
        Client(body.client_id, body.client_secret),
        By(call.actor, call.request, call.address),
        redirect_uri=body.redirect_uri,
        scopes=tuple(body.scopes),
    )
    return await _one(call, app)


async def change(call: Call) -> shapes.AppState:
    """Change an application; values that are given are sealed anew."""
    body: shapes.AppChange = call.body
    app = call.id("app")
    if body.redirect_uri and urlsplit(body.redirect_uri).scheme != "https":
        raise invalid("redirectUri must be an https address")
    client = await call.vault.database.client()
    try:
        async with call.vault.audit.transaction() as tx:
            row = await (await tx.connection.execute(_OLD, (client, app))).fetchone()
            if row is None:
                raise missing("oauth_app")
            service, *old = row
            new: list[Any] = [body.app_name, UNSET, UNSET, body.redirect_uri, body.scopes, body.is_active]
            if body.client_id is not UNSET:
                new[1] = _seal(call, service, app, "encrypted_client_id", body.client_id)
            if body.client_secret is not UNSET:
                new[2] = _seal(call, service, app, "encrypted_client_secret", body.client_secret)
            values = [was if now is UNSET else now for now, was in zip(new, old, strict=True)]
            await tx.connection.execute(_CHANGE, (*values, client, app))
            fields = [field for field in body.__struct_fields__ if getattr(body, field) is not UNSET]
            tx.note(entry(call, "oauth_app", "changed", service=service, app=str(app), fields=" ".join(fields)))
    except psycopg.errors.UniqueViolation:
        raise taken("oauth_app") from None
    return await _one(call, app)


async def remove(call: Call) -> Answer:
    """Delete an application that no connection was made with."""
    client, app = await call.vault.database.client(), call.id("app")
    try:
        async with call.vault.audit.transaction() as tx:
            row = await (await tx.connection.execute(_REMOVE, (client, app))).fetchone()
            if row is None:
                raise missing("oauth_app")
            tx.note(entry(call, "oauth_app", "deleted", service=row[0], app=str(app)))
    except psycopg.errors.ForeignKeyViolation:
        text = "Connections were made with this application: disconnect them, or set isActive to false"
        raise Problem(409, "oauth_app_in_use", text) from None
    return Answer(204)


async def services(call: Call) -> shapes.ServiceList:
    """Every service that the vault knows."""
    rows = await call.vault.database.all(_SERVICES, {"client": await call.vault.database.client()})
    await seen(call, "services")
    return shapes.ServiceList(
        services=[
            shapes.ServiceState(
                code=row[0],
                display_name=row[1],
                oauth_type=row[2],
                is_active=row[3],
                has_app=row[4],
                connections=row[5],
            )
            for row in rows
        ]
    )


def _seal(call: Call, service: str, app: UUID, column: str, plain: str) -> str | None:
    place = Place(call.vault.settings.client, "", service, str(app), column)
    return call.vault.keyring.seal(plain, place) if plain else None


async def _one(call: Call, app: UUID) -> shapes.AppState:
    row = await call.vault.database.one(_LIST, (await call.vault.database.client(), app, False))
    if row is None:
        raise missing("oauth_app")
    return _state(row)


def _state(row: tuple[Any, ...]) -> shapes.AppState:
    return shapes.AppState(
        id=str(row[0]),
        service=row[1],
        app_name=row[2],
        redirect_uri=row[3],
        scopes=list(row[4]),
        has_secret=row[5],
        is_active=row[6],
        connections=row[7],
        created_at=row[8].isoformat(),
    )


_WRITE: Final[dict[str, Any]] = {**ADMIN, "scope": "apps.write"}

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        "GET", shapes.APPS_PATH, "oauth_apps", listed, summary="OAuth applications, without their values.",
        answer=shapes.AppList, statuses=FORBIDDEN, scope="apps.read", **ADMIN,
    ),
    Endpoint(
        "POST", shapes.APPS_PATH, "oauth_app_create", create, summary="Store an OAuth application, sealed.",
        body=shapes.NewApp, answer=shapes.AppState, status=201, statuses=TAKEN, **_WRITE,
    ),
    Endpoint(
        "PATCH", shapes.APP_PATH, "oauth_app_change", change, summary="Change an OAuth application.",
        body=shapes.AppChange, answer=shapes.AppState, statuses=TAKEN, **_WRITE,
    ),
    Endpoint(
        "DELETE", shapes.APP_PATH, "oauth_app_remove", remove, summary="Delete an OAuth application not in use.",
        answer=None, status=204, statuses=TAKEN, **_WRITE,
    ),
    Endpoint(
        "GET", shapes.ADMIN_SERVICES_PATH, "admin_services", services, summary="Every service.",
        answer=shapes.ServiceList, statuses=GONE, scope="apps.read", **ADMIN,
    ),
)  # fmt: skip
