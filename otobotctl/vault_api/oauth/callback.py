"""The provider's answer to a connect: checked, exchanged for tokens, and stored sealed at once."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

import msgspec

from .. import connections
from ..actor import Actor
from ..connections import By, NewConnection
from ..crypto import SealError
from ..errors import Problem
from . import answers, applications, requests, returns, states
from .answers import Refusal, Tokens
from .flow import entry, provider_of
from .outbound import OutboundError, Request
from .providers import Provider, fill
from .renewal import only
from .states import State

if TYPE_CHECKING:
    from ..vault import Vault
    from .applications import Application

EXCHANGE_S: Final = 15.0
IDENTITY_S: Final = 5.0
_TELLABLE: Final = re.compile(r"[a-z_]{1,40}", re.ASCII)


@dataclass(frozen=True)
class Came:
    """What a callback brought."""

    code: str = field(default="", repr=False)
    state: str = field(default="", repr=False)
    error: str = ""
    issuer: str = ""
    query: str = field(default="", repr=False)
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)


async def callback(vault: Vault, service: str, came: Came, by: By) -> str:
    """Finish a connect, and return where the browser goes: back, with nothing but success or an error's code.

    Raises:
        Problem: 400, the state is unknown, used, of another service, or of another browser; nobody is sent anywhere.
    """
    provider = provider_of(vault, service)
    try:
        found = await states.use_state(vault, came.state) if came.state else None
    except SealError:
        found = None
    if found is None or not _fits(found, service, came):
        await vault.audit.record(entry("connect", "refused", service, by, found))
        raise Problem(400, "invalid_state", "This belongs to no connect begun in this browser, start again")
    error = await _finish(vault, provider, found, came, by)
    if error:
        await vault.audit.record(entry("connect", "failed", service, by, found, reason=error))
    return returns.back(found.return_url, service, error)


def _fits(found: State, service: str, came: Came) -> bool:
    cookie = came.cookies.get(states.cookie_name(came.state), "")
    same = hmac.compare_digest(states.digest("cookie", cookie), found.cookie_hash)
    return same and found.service == service


async def _finish(vault: Vault, provider: Provider, found: State, came: Came, by: By) -> str:
    """Everything after the state is ours; return the error's code, or nothing."""
    values = only(found.parameters, provider)
    try:
        application = await applications.find(vault, found.service, found.app)
    except SealError:
        application = None
    if application is None:
        return "not_configured"
    refused = _refused(provider, values, application.client.secret, came) if found.alive else "expired"
    if refused:
        return refused
    redirect_uri = application.redirect_uri or applications.callback_url(vault, found.service)
    request = requests.exchange(provider, values, application.client, came.code, redirect_uri, found.verifier)
    tokens = await _tokens(vault, provider, values, request)
    if isinstance(tokens, Refusal):
        return "exchange_failed"
    return await _keep(vault, provider, found, application, tokens, by)


async def _keep(
    vault: Vault, provider: Provider, found: State, application: Application, tokens: Tokens, by: By
) -> str:
    """Store the tokens in the place of the user's connection to the service, if there is one."""
    account, remembered = await _identity(vault, provider, tokens)
    new = NewConnection(
        access_token=tokens.access,
        refresh_token=tokens.refresh,
        account=account,
        expires_at=tokens.expires_at,
        app=application.id,
        scopes=tokens.scopes or requests.scopes(provider, application.scopes),
        parameters={**found.parameters, **remembered},
    )
    whose = By(Actor("user", str(found.user), found.user), by.request, by.address)
    try:
        await connections.save(vault, found.user, found.service, new, whose, replace=True)
    except Problem as problem:
        return problem.code
    return ""


def _refused(provider: Provider, values: Mapping[str, str], secret: str, came: Came) -> str:
    """What in the callback itself ends the connect."""
    if came.issuer and not _issued(provider, values, came.issuer):
        return "wrong_issuer"
    if came.error:
        return came.error if _TELLABLE.fullmatch(came.error) else "provider_error"
    if provider.callback_hmac and not requests.signed(came.query, secret):
        return "wrong_signature"
    said = dict(parse_qsl(came.query, keep_blank_values=True))
    if any(said.get(name) != fill(value, values) for name, value in provider.callback_matches.items()):
        return "wrong_account"
    return "" if came.code else "no_code"


def _issued(provider: Provider, values: Mapping[str, str], issuer: str) -> bool:
    """Whether the callback is the provider's that was asked (RFC 9207), and not another's who passed it on."""
    if provider.issuer:
        return issuer == provider.issuer
    asked = urlsplit(fill(provider.authorization_url, values)).hostname
    try:
        return urlsplit(issuer).hostname == asked
    except ValueError:
        return False


async def _tokens(vault: Vault, provider: Provider, values: Mapping[str, str], request: Request) -> Tokens | Refusal:
    try:
        response = await vault.outbound.send(request, total_s=EXCHANGE_S)
    except OutboundError as error:
        return Refusal(error.fault.value)
    return answers.read(provider, values, response, datetime.now(UTC))


async def _identity(vault: Vault, provider: Provider, tokens: Tokens) -> tuple[str, dict[str, str]]:
    """Whose account it is and what else its API needs; a provider that does not say loses no connection."""
    remembered = dict(tokens.remembered)
    request = requests.identity(provider, tokens.access)
    if request is None or provider.identity is None:
        return tokens.account, remembered
    try:
        response = await vault.outbound.send(request, total_s=IDENTITY_S)
        answer = msgspec.json.decode(response.body) if response.status == 200 else None  # noqa: PLR2004
    except (OutboundError, msgspec.DecodeError, RecursionError, UnicodeError):
        return tokens.account, remembered
    said = answers.kept(answer, provider.identity.remember)
    return answers.text(answers.at(answer, provider.identity.account)) or tokens.account, {**remembered, **said}
