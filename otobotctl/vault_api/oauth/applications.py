"""The client's applications at providers: their ids and secrets, sealed, one active a service."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import psycopg

from ..audit import Entry
from ..contract_oauth import CALLBACK_PATH
from ..crypto import Place
from ..errors import Problem, invalid, missing, taken
from .requests import Client

if TYPE_CHECKING:
    from ..connections import By
    from ..vault import Vault

_MOST: Final = 2048

_FIND: Final = """
SELECT id, service_code, app_name, redirect_uri, scopes, encrypted_client_id, encrypted_client_secret
FROM oauth_applications WHERE client_id = %s AND service_code = %s AND (id = %s OR %s::uuid IS NULL AND is_active)"""

_LIST: Final = """
SELECT a.id, a.service_code, s.display_name, a.app_name, a.redirect_uri, a.scopes, a.is_global, a.is_active
FROM oauth_applications a JOIN services s ON s.code = a.service_code
WHERE a.client_id = %s AND s.is_active ORDER BY s.display_name, a.created_at, a.id"""

_RETIRE: Final = """
UPDATE oauth_applications SET is_active = false, updated_at = now()
WHERE client_id = %s AND service_code = %s AND is_active"""

_INSERT: Final = """
INSERT INTO oauth_applications (client_id, id, service_code, app_name, encrypted_client_id, encrypted_client_secret,
    redirect_uri, scopes, is_global)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"""


@dataclass(frozen=True)
class Application:
    """An application with its credentials; no repr shows them."""

    id: UUID
    service: str
    name: str
    redirect_uri: str
    scopes: tuple[str, ...]
    client: Client = field(repr=False)


@dataclass(frozen=True)
class Listed:
    """An application without its credentials."""

    id: UUID
    service: str
    display_name: str
    name: str
    redirect_uri: str
    scopes: list[str]
    is_global: bool
    is_active: bool


def _place(slug: str, service: str, row: UUID, field_: str) -> Place:
    return Place(slug, "", service, str(row), field_)


def public_url(vault: Vault) -> str:
    """Where browsers find the vault. Raises Problem: 503, it is not configured."""
    if not vault.settings.public_url:
        raise Problem(503, "not_configured", "VAULT_PUBLIC_URL is not set, so no provider can send a browser back")
    return vault.settings.public_url


def callback_url(vault: Vault, service: str) -> str:
    """Where providers send browsers back to. Raises Problem: 503, the vault has no public address."""
    return f"{public_url(vault)}{CALLBACK_PATH.format(service=service)}"


async def find(vault: Vault, service: str, application: UUID | None = None) -> Application | None:
    """The active application of a service, or one by its id, active or not: its tokens still need it.

    Raises:
        SealError: its credentials do not open.
    """
    row = await vault.database.one(_FIND, (await vault.database.client(), service, application, application))
    if row is None:
        return None
    identity, code, name, redirect_uri, scopes, sealed_id, sealed_secret = row
    slug = vault.settings.client
    client_id = vault.keyring.open(sealed_id, _place(slug, code, identity, "encrypted_client_id"))
    place = _place(slug, code, identity, "encrypted_client_secret")
    secret = vault.keyring.open(sealed_secret, place) if sealed_secret else ""
    return Application(identity, code, name, redirect_uri, tuple(scopes), Client(client_id, secret))


async def listed(vault: Vault) -> list[Listed]:
    """Every application, without its credentials."""
    rows = await vault.database.all(_LIST, (await vault.database.client(),))
    return [Listed(*row) for row in rows]


async def save(
    vault: Vault,
    service: str,
    name: str,
    client: Client,
    by: By,
    *,
    redirect_uri: str = "",
    scopes: tuple[str, ...] = (),
    is_global: bool = False,
) -> UUID:
    """Store an application, which takes the place of the service's active one; connections of that one keep it.

    Raises:
        Problem: 404, no such OAuth service; 400, the redirect address is not https; 409, another was stored meanwhile.
    """
    provider = vault.providers.get(service)
    if provider is None or provider.kind != "oauth2":
        raise missing("service")
    if redirect_uri and (urlsplit(redirect_uri).scheme != "https" or len(redirect_uri) > _MOST):
        raise invalid("redirectUri must be an https address")
    row, slug = uuid4(), vault.settings.client
    tenant = await vault.database.client()
    sealed_id = vault.keyring.seal(client.id, _place(slug, service, row, "encrypted_client_id"))
    place = _place(slug, service, row, "encrypted_client_secret")
    sealed_secret = vault.keyring.seal(client.secret, place) if client.secret else None
    try:
        async with vault.audit.transaction() as change:
            await change.connection.execute(_RETIRE, (tenant, service))
            values = (tenant, row, service, name, sealed_id, sealed_secret, redirect_uri, list(scopes), is_global)
            await change.connection.execute(_INSERT, values)
            about = {"id": str(row)}
            change.note(Entry("oauth_app", "created", by.actor, None, service, None, by.request, by.address, about))
    except psycopg.errors.UniqueViolation:
        raise taken("oauth_app") from None
    return row
