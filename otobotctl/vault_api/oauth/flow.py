"""Connecting a user to a provider: a ticket, then a browser with a cookie and a state, then tokens.

Who may bind an account to a user: only somebody the vault knows (the user, n8n, an operator) gets a ticket for that
user; the ticket opens once, within two minutes. The browser that opens it gets a cookie, and only that browser can
bring the answer back. So a stranger who guesses a user's id gets nowhere, and an answer that a stranger began cannot be
finished in another browser. What remains: somebody who may have a ticket for himself can send that link to another
person, who would have to agree at the provider. Every ticket is in the audit with who asked for it.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from ..audit import Entry
from ..connections import By
from ..contract_oauth import START_PATH
from ..crypto import SealError
from ..errors import Problem, invalid, missing
from . import applications, requests, returns, states
from .providers import Provider
from .renewal import only
from .states import State, Ticket

if TYPE_CHECKING:
    from ..vault import Vault
    from .applications import Application


def provider_of(vault: Vault, service: str) -> Provider:
    """A service that is connected by OAuth. Raises Problem: 404."""
    provider = vault.providers.get(service)
    if provider is None or provider.kind != "oauth2":
        raise missing("service")
    return provider


async def ticket(vault: Vault, wanted: Ticket, by: By) -> str:
    """Mint a ticket and return the address that a browser opens with it.

    Raises:
        Problem: 404, no such user, service or application; 400, the return address or a parameter is not allowed.
    """
    provider = provider_of(vault, wanted.service)
    if not returns.allowed(wanted.return_url, vault.settings.allowed_origins):
        raise invalid("returnUrl must begin with one of the origins of VAULT_ALLOWED_ORIGINS")
    try:
        values = provider.values(wanted.parameters)
    except ValueError as error:
        raise invalid(str(error)) from None
    address = f"{applications.public_url(vault)}{START_PATH.format(service=wanted.service)}"
    if await _application(vault, wanted.service) is None:
        raise missing("oauth_application")
    client = await vault.database.client()
    async with vault.audit.transaction() as change:
        row = await change.connection.execute(
            "SELECT 1 FROM users WHERE client_id = %s AND id = %s AND is_active", (client, wanted.user)
        )
        if await row.fetchone() is None:
            raise missing("user")
        full = Ticket(wanted.user, wanted.service, wanted.return_url, values)
        text = await states.issue_ticket(change.connection, client, full)
        change.note(entry("ticket", "issued", wanted.service, by, full))
    return f"{address}?ticket={text}"


async def start(vault: Vault, service: str, text: str, by: By) -> tuple[str, str]:
    """Turn a ticket into the provider's address and the Set-Cookie that ties the answer to this browser.

    Raises:
        Problem: 400, the ticket is not valid (any more); 404, the application is gone.
    """
    provider = provider_of(vault, service)
    application = await _application(vault, service)
    if application is None:
        raise missing("oauth_application")
    client = await vault.database.client()
    async with vault.audit.transaction() as change:
        found = await states.use_ticket(change.connection, client, text)
        valid = found is not None and found.alive and found.service == service
        change.note(entry("connect", "started" if valid else "refused", service, by, found))
        if found is not None and valid:
            verifier = secrets.token_urlsafe(64) if provider.pkce else None
            state, cookie = await states.issue_state(vault, change.connection, found, application.id, verifier)
    if found is None or not valid:
        raise Problem(400, "invalid_ticket", "This link is not valid any more, start again")
    url = requests.authorization(
        provider, only(found.parameters, provider), application.client.id,
        application.redirect_uri or applications.callback_url(vault, service), state,
        wanted=application.scopes, verifier=verifier,
    )  # fmt: skip
    return url, set_cookie(state, cookie)


def set_cookie(state: str, value: str) -> str:
    """The Set-Cookie of a state; an empty value takes the cookie away. Lax: the provider's redirect brings it along."""
    age = int(states.STATE.total_seconds()) if value else 0
    return f"{states.cookie_name(state)}={value}; Path=/; Max-Age={age}; HttpOnly; Secure; SameSite=Lax"


async def _application(vault: Vault, service: str) -> Application | None:
    try:
        return await applications.find(vault, service)
    except SealError:
        raise Problem(500, "credential_unreadable", "The application's stored credentials do not open") from None


def entry(
    action: str, outcome: str, service: str, by: By, found: Ticket | State | None = None, **details: str
) -> Entry:
    """A line of the audit about a connect."""
    user = found.user if found else None
    return Entry(action, outcome, by.actor, user, service, None, by.request, by.address, details)
