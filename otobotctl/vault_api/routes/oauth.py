"""Connecting accounts by OAuth, and refreshing their tokens on demand."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qsl
from uuid import UUID

from .. import contract, contract_oauth, inputs
from ..actor import Access
from ..audit import Entry
from ..connections import REFRESH_AHEAD, By
from ..endpoint import Answer, Call, Endpoint, redirect
from ..errors import Problem, invalid, missing
from ..oauth import applications, callback, flow, lease, states
from ..oauth.callback import Came
from ..oauth.states import Ticket

_MOST_AT_ONCE: Final = 500
_WAIT_S: Final = 20.0  # under the limit of a request; what is not done by then goes on
# An address with a ticket or a code in it must not reach another site.
_QUIET: Final = ("referrer-policy", "no-referrer")


async def connect(call: Call) -> Answer:
    """Send the caller on to an address that is good once, in a browser."""
    query: contract_oauth.ConnectQuery = call.query
    return redirect(await _ticket(call, query.user_id, query.return_url, _pairs(query.parameters)), _QUIET)


async def prepare(call: Call) -> contract_oauth.Connect:
    """The same address as data, for a front end that opens it itself."""
    body: contract_oauth.NewConnect = call.body
    url = await _ticket(call, body.user_id, body.return_url, body.parameters)
    return contract_oauth.Connect(url=url, expires_in=int(states.TICKET.total_seconds()))


async def _ticket(call: Call, user: str | None, return_url: str, parameters: dict[str, str]) -> str:
    wanted = Ticket(_whom(call, user), call.text("service"), return_url, parameters)
    return await flow.ticket(call.vault, wanted, _by(call))


def _whom(call: Call, user: str | None) -> UUID:
    """Whom the account is connected to: a user is told of no other; n8n and an operator must say."""
    if call.actor.kind != "user" or call.actor.user is None:
        if user is None:
            raise invalid("userId is needed")
        return inputs.identity(user, "userId")
    if user is not None and inputs.identity(user, "userId") != call.actor.user:
        raise missing("user")
    return call.actor.user


def _pairs(text: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(text, strict_parsing=True, max_num_fields=8) if text else []
    except ValueError:
        raise invalid("parameters must be encoded like a query, such as shop=acme") from None
    if len(dict(pairs)) < len(pairs):
        raise invalid("a parameter may be given once")
    return dict(pairs)


async def start(call: Call) -> Answer:
    """Take the ticket, tie the browser by a cookie, and send it to the provider."""
    url, cookie = await flow.start(call.vault, call.text("service"), call.query.ticket, _by(call))
    return redirect(url, ("set-cookie", cookie), _QUIET)


async def finish(call: Call) -> Answer:
    """Take the provider's answer, store the tokens, and send the browser back with the outcome."""
    query: contract_oauth.CallbackQuery = call.query
    came = Came(query.code, query.state, query.error, query.iss, call.raw_query, call.cookies)
    url = await callback.callback(call.vault, call.text("service"), came, _by(call))
    return redirect(url, ("set-cookie", flow.set_cookie(query.state, "")), _QUIET)


async def apps(call: Call) -> contract_oauth.Apps:
    """The applications that users can connect through."""
    return contract_oauth.Apps(
        apps=[
            contract_oauth.App(
                id=str(one.id), service_name=one.service, display_name=one.display_name, app_name=one.name,
                scopes=one.scopes, is_global=one.is_global, is_active=one.is_active,
            )
            for one in await applications.listed(call.vault)
        ]
    )  # fmt: skip


async def services(call: Call) -> contract.Services:
    """The services of this vault, and the hosts that each one's token may be sent to."""
    rows = await call.vault.database.all(
        "SELECT code, display_name, oauth_type FROM services WHERE is_active ORDER BY code"
    )
    known = call.vault.providers
    return contract.Services(
        services=[
            contract.ListedService(
                code=code,
                display_name=name,
                oauth_type=kind,
                api_hosts=list(known[code].api_hosts) if code in known else [],
            )
            for code, name, kind in rows
        ]
    )


async def refresh(call: Call) -> contract_oauth.Refreshes:
    """Refresh what is due, or one connection whatever its state; a user may ask for one of his own."""
    connections = await _asked(call)
    force = call.query.connection_id is not None
    results, pending = await call.vault.refresh.within(connections, REFRESH_AHEAD, _WAIT_S, force=force)
    return contract_oauth.Refreshes(
        processed=len(results),
        results=[
            contract_oauth.Refreshed(id=str(one.connection), outcome=one.outcome.value, reason=one.reason)
            for one in sorted(results, key=lambda result: str(result.connection))
        ],
        pending=pending,
    )


async def _asked(call: Call) -> list[tuple[UUID, str]]:
    """The connections to refresh; that one was asked for is in the audit before it happens."""
    if call.query.connection_id is None:
        if call.actor.kind == "user":
            raise invalid("connectionId is needed")
        return await lease.due(call.vault.database, REFRESH_AHEAD, _MOST_AT_ONCE)
    connection = inputs.identity(call.query.connection_id, "connectionId")
    seen = await lease.look(call.vault.database, connection)
    if seen is None or (call.actor.kind == "user" and seen.user != call.actor.user):
        raise missing("connection")
    if seen.refresh is None:
        raise Problem(409, "not_refreshable", "There is no refresh token, the user must connect again")
    about = (seen.user, seen.service, connection, call.request, call.address)
    await call.vault.audit.record(Entry("refresh", "asked", call.actor, *about))
    return [(connection, seen.service)]


def _by(call: Call) -> By:
    return By(call.actor, call.request, call.address)


_CALLER: Final[dict[str, Any]] = {"access": Access.CALLER, "tag": "oauth"}
_BINDS: Final[dict[str, Any]] = {
    **_CALLER, "scope": "connections.write", "statuses": {403: contract.Failure, 404: contract.Failure},
}  # fmt: skip
_BROWSER: Final[dict[str, Any]] = {"access": Access.PUBLIC, "answer": None, "status": 302, "tag": "oauth"}
_NOT_FOUND: Final = {404: contract.Failure}

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        "GET", contract.SERVICES_PATH, "services", services, summary="The services that can be connected.",
        answer=contract.Services, access=Access.INTERNAL, limit="internal", tag="n8n",
    ),
    Endpoint(
        "GET", contract_oauth.CONNECT_PATH, "oauth_connect", connect, summary="Begin to connect an account.",
        query=contract_oauth.ConnectQuery, answer=None, status=302, **_BINDS,
    ),
    Endpoint(
        "POST", contract_oauth.CONNECT_PATH, "oauth_prepare", prepare,
        summary="The address that begins to connect an account.", body=contract_oauth.NewConnect,
        answer=contract_oauth.Connect, status=201, **_BINDS,
    ),
    Endpoint(
        "GET", contract_oauth.START_PATH, "oauth_start", start, summary="Go to the provider, with a ticket.",
        query=contract_oauth.StartQuery, statuses=_NOT_FOUND, **_BROWSER,
    ),
    Endpoint(
        "GET", contract_oauth.CALLBACK_PATH, "oauth_callback", finish, summary="Come back from the provider.",
        query=contract_oauth.CallbackQuery, statuses=_NOT_FOUND, **_BROWSER,
    ),
    Endpoint(
        "GET", contract_oauth.APPS_PATH, "oauth_apps", apps, summary="The applications to connect through.",
        answer=contract_oauth.Apps, **_CALLER,
    ),
    Endpoint(
        "POST", contract_oauth.REFRESH_PATH, "refresh_tokens", refresh, summary="Refresh the tokens that are due.",
        query=contract_oauth.RefreshQuery, answer=contract_oauth.Refreshes,
        statuses={403: contract.Failure, 404: contract.Failure, 409: contract.Failure}, scope="connections.write",
        **_CALLER,
    ),
)  # fmt: skip
