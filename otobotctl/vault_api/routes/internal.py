"""What n8n asks, by the internal token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import psycopg

from .. import connections as rows
from .. import contract, inputs
from ..actor import INTERNAL, Access, Actor
from ..audit import Entry
from ..connections import By, Listed, NewConnection
from ..endpoint import Answer, Call, Endpoint
from ..errors import Problem, forbidden, invalid, missing, taken
from ..reads import Asked, Found, Outcome, UnreadableError

if TYPE_CHECKING:
    from ..vault import Vault

_SAVE_USER: Final = """
INSERT INTO users (client_id, id, email, name, role) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (client_id, id) DO UPDATE SET
    email = EXCLUDED.email, name = EXCLUDED.name, role = EXCLUDED.role, updated_at = now()
WHERE users.erased_at IS NULL
RETURNING (xmax = 0)"""


_EXPOSING: Final = "This client's vault gives no credentials to workflows: use Call Service API"


async def read(call: Call) -> contract.Connection:
    """The active credentials of a user for a service.

    Raises:
        Problem: 403, workflows get no credentials of this client; and as `settled`.
    """
    user, service = call.id("user"), call.text("service")
    if not readable(call.vault, call.actor):
        await call.vault.audit.record(
            Entry("read", "refused", call.actor, user, service, None, call.request, call.address)
        )
        raise forbidden("exposure_refused", _EXPOSING)
    asked = Asked(str(user), service, str(call.request), call.actor, call.address)
    return await settled(call.vault, asked, await _outcome(call.vault, asked))


def readable(vault: Vault, actor: Actor) -> bool:
    """Whether this reader may have credentials: workflows may where the client allows it."""
    return actor is not INTERNAL or vault.settings.expose_credentials


async def _outcome(vault: Vault, asked: Asked) -> Outcome:
    try:
        return await vault.reads.read(asked)
    except UnreadableError as error:
        return error


async def settled(vault: Vault, asked: Asked, outcome: Outcome | Exception) -> contract.Connection:
    """What a reader gets for what was read, its token renewed first where it is about to run out.

    Raises:
        Problem: 404, there is no connection; 500, what is stored does not open; 503, come again.
        psycopg.Error, LookupError: as `Reads.read`.
    """
    if isinstance(outcome, Found) and vault.refresh.due(outcome) and await vault.refresh.ensure(outcome):
        outcome = await _outcome(vault, asked)
    if isinstance(outcome, UnreadableError):
        # Changed, moved, or sealed under another key.
        text = "The stored credential does not open"
        raise Problem(500, "credential_unreadable", text, extra={"hasCredentials": False}) from None
    if isinstance(outcome, Exception):
        raise outcome
    if outcome is None:  # in the words that workflows test for
        raise Problem(404, "connection_not_found", contract.NOT_FOUND, extra={"hasCredentials": False})
    return shown(outcome)


def shown(found: Found) -> contract.Connection:
    """A connection as n8n gets it. One that the provider has ended has no credentials."""
    values = {}
    if found.status == "active":
        values = {"access_token": found.access_token, "api_key": found.api_key}
    given = {name: value for name, value in values.items() if value is not None}
    return contract.Connection(
        connection_id=found.id,
        has_credentials=bool(given),
        credentials=contract.Credentials(**given),
        metadata=contract.Metadata(
            account_identifier=found.account,
            token_expired=found.expired or found.status != "active",
            expires_at=inputs.told(found.expires_at),
            status=found.status,
        ),
    )


async def save(call: Call) -> Answer:
    """Store credentials, replacing what was there."""
    return await _save(call, replace=True)


async def create(call: Call) -> Answer:
    """Store credentials where there are none."""
    return await _save(call, replace=False)


async def _save(call: Call, *, replace: bool) -> Answer:
    body: contract.NewCredentials = call.body
    if not (body.access_token or body.refresh_token or body.api_key):
        raise invalid("one of accessToken, refreshToken and apiKey is needed")
    new = NewConnection(
        access_token=body.access_token,
        refresh_token=body.refresh_token,
        api_key=body.api_key,
        account=body.account_identifier,
        expires_at=inputs.instant(body.expires_at),
    )
    by = By(call.actor, call.request, call.address)
    row, created = await rows.save(call.vault, call.id("user"), call.text("service"), new, by, replace=replace)
    return Answer(201 if created else 200, contract.Stored(connection_id=str(row), created=created))


async def put_user(call: Call) -> Answer:
    """Create or change a user."""
    body: contract.NewUser = call.body
    user = call.id("user")
    values = (await call.vault.database.client(), user, body.email, body.name, body.role)
    try:
        async with call.vault.audit.transaction() as change:
            row = await (await change.connection.execute(_SAVE_USER, values)).fetchone()
            if row is None:  # erased: the id stays empty for ever
                raise missing("user")
            created = bool(row[0])
            outcome = "created" if created else "changed"
            change.note(Entry("user", outcome, call.actor, user, request=call.request, address=call.address))
    except psycopg.errors.UniqueViolation:
        raise taken("user") from None
    return Answer(201 if created else 200, contract.UserSaved(user_id=str(user), created=created))


async def connections(call: Call) -> contract.Connections:
    """Every active connection of a user, without its values. A user that does not exist has none."""
    user = call.id("user")
    found = await rows.listed(call.vault, user)
    return contract.Connections(user_id=str(user), connections=[listed(one) for one in found])


def listed(one: Listed) -> contract.ListedConnection:
    """A connection in a list."""
    return contract.ListedConnection(
        id=str(one.id),
        service_name=one.service,
        display_name=one.display_name,
        account_identifier=one.account,
        status=one.state,
        is_broken=one.status == "broken",
        token_expires_at=inputs.told(one.expires_at),
        created_at=one.created_at.isoformat(),
    )


async def reconnections(call: Call) -> contract.Reconnections:
    """What users have to connect again, now or soon. A list of everybody's: it is in the audit."""
    query: contract.Horizon = call.query
    found = await rows.ending(call.vault, query.within_days)
    await call.vault.audit.record(
        Entry("reconnections", "read", call.actor, request=call.request, address=call.address)
    )
    return contract.Reconnections(connections=[_ending(email, name, one) for email, name, one in found])


def _ending(email: str, name: str, one: Listed) -> contract.Reconnection:
    return contract.Reconnection(
        id=str(one.id),
        user_id=str(one.user),
        email=email,
        name=name,
        service_name=one.service,
        display_name=one.display_name,
        account_identifier=one.account,
        status=one.state,
        is_broken=one.status == "broken",
        broken_reason=one.broken_reason,
        token_expires_at=inputs.told(one.expires_at),
    )


async def status(call: Call) -> contract.ConnectionStatus:
    """What is known of one connection's token."""
    one = await rows.one(call.vault, call.id("connection"))
    return contract.ConnectionStatus(
        id=str(one.id),
        status=one.state,
        service_name=one.service,
        broken=one.status == "broken",
        broken_reason=one.broken_reason,
        expires_at=inputs.told(one.expires_at),
        last_refresh_at=inputs.told(one.last_refresh_at),
        refresh_failures=one.refresh_failures,
    )


_N8N: Final[dict[str, Any]] = {"access": Access.INTERNAL, "limit": "internal", "tag": "n8n"}
_STORE: Final[dict[str, Any]] = {
    **_N8N, "body": contract.NewCredentials, "answer": contract.Stored, "status": 201,
    "statuses": {200: contract.Stored, 404: contract.Failure, 409: contract.Failure},
}  # fmt: skip

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        "GET", contract.CREDENTIALS_PATH, "read", read, summary="A user's active credentials for a service.",
        answer=contract.Connection, statuses={403: contract.Failure, 404: contract.NoConnection},
        **_N8N | {"access": Access.READER},
    ),
    Endpoint("PUT", contract.CREDENTIALS_PATH, "store", save, summary="Store credentials, replacing any.", **_STORE),
    Endpoint(
        "POST", contract.CREDENTIALS_PATH, "create", create, summary="Store credentials where there are none.", **_STORE
    ),
    Endpoint(
        "PUT", contract.USER_PATH, "user", put_user, summary="Create or change a user.", body=contract.NewUser,
        answer=contract.UserSaved, status=201,
        statuses={200: contract.UserSaved, 404: contract.Failure, 409: contract.Failure}, **_N8N,
    ),
    Endpoint(
        "GET", contract.CONNECTIONS_PATH, "connections", connections, summary="A user's connections, without values.",
        answer=contract.Connections, **_N8N,
    ),
    Endpoint(
        "GET", contract.STATUS_PATH, "connection_status", status, summary="What is known of a connection's token.",
        answer=contract.ConnectionStatus, statuses={404: contract.Failure}, **_N8N,
    ),
    Endpoint(
        "GET", contract.RECONNECTIONS_PATH, "reconnections", reconnections,
        summary="What users have to connect again, now or soon.", query=contract.Horizon,
        answer=contract.Reconnections, **_N8N,
    ),
)  # fmt: skip
