"""What ToolJet shows a person: the login, the dashboard, connections, workflows."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from .. import connections as rows
from .. import contract_people as shapes
from ..access import accounts, sessions
from ..access.accounts import Account
from ..access.identity import Policy, own_or_all, permissions
from ..actor import Access
from ..audit import Transaction
from ..connections import By, Listed, NewConnection
from ..contract import Failure
from ..endpoint import Answer, Call, Endpoint
from ..errors import missing
from ..inputs import told
from ..oauth import disconnect as ending

_CLIENT: Final = "SELECT id, slug, company_name, email, policy FROM clients WHERE id = %s"

_GRANTED: Final = "SELECT permission_code FROM user_permissions WHERE client_id = %s AND user_id = %s"

_DASHBOARD: Final = """
SELECT d.email, d.name, d.role, d.last_login_at, d.connections, d.expired, d.broken, d.curation_sources, u.mfa_enabled
FROM v_user_dashboard d JOIN users u ON u.client_id = d.client_id AND u.id = d.user_id
WHERE d.client_id = %s AND d.user_id = %s"""

_WORKFLOWS: Final = "SELECT id, name, description FROM workflows WHERE client_id = %s AND is_active ORDER BY name"
_WORKFLOW: Final = "SELECT webhook_path FROM workflows WHERE client_id = %s AND id = %s AND is_active"


async def login(call: Call) -> shapes.LoggedIn:
    """Open a session with the password, and a code where the account has a second factor."""
    body: shapes.Login = call.body
    account = await accounts.by_password(call, body.email, body.password)
    if account.stale:
        await call.vault.audit.record(accounts.entry(call, "login", "password_expired", account.id))
        raise sessions.password_expired()

    async def open_session(tx: Transaction) -> sessions.Issued:
        return await sessions.begin(tx, call, account.id, account.role, second_factor=account.mfa_enabled)

    issued = await accounts.enter(call, account, body.otp, "login", open_session)
    client, policy = await client_info(call)
    return shapes.LoggedIn(
        token=issued.token,
        refresh_token=issued.refresh_token,
        expires_in=issued.expires_in,
        client=client,
        user=await _user(call, account, policy),
    )


async def dashboard(call: Call) -> shapes.Dashboard:
    """The figures of the person's main page."""
    user = _user_id(call)
    found = await call.vault.database.one(_DASHBOARD, (await call.vault.database.client(), user))
    if found is None:
        raise missing("user")
    email, name, role, last_login, connections, expired, broken, sources, mfa_enabled = found
    client, _policy = await client_info(call)
    info = shapes.UserInfo(
        id=str(user),
        email=email,
        name=name,
        role=role,
        mfa_enabled=mfa_enabled,
        permissions=sorted(call.actor.permissions),
    )
    return shapes.Dashboard(
        client=client,
        user=info,
        last_login_at=told(last_login),
        connections=connections,
        expired=expired,
        broken=broken,
        curation_sources=sources,
    )


async def list_connections(call: Call) -> shapes.OwnConnections:
    """The person's connections; an administrator's list has every user's."""
    found = await rows.listed(call.vault, own_or_all(call.actor))
    return shapes.OwnConnections(connections=[shown(one) for one in found])


async def connect(call: Call) -> shapes.Created:
    """Connect a service by its API key."""
    body: shapes.NewApiKeyConnection = call.body
    new = NewConnection(api_key=body.api_key, account=body.account_identifier)
    by = By(call.actor, call.request, call.address)
    row, _created = await rows.save(call.vault, _user_id(call), body.service, new, by, replace=False)
    return shapes.Created(id=str(row))


async def disconnect(call: Call) -> Answer:
    """Revoke a connection at its provider and delete it."""
    by = By(call.actor, call.request, call.address)
    await ending.disconnect(call.vault, call.id("connection"), by, user=own_or_all(call.actor))
    return Answer(204)


async def list_workflows(call: Call) -> shapes.Workflows:
    """The client's workflows."""
    found = await call.vault.database.all(_WORKFLOWS, (await call.vault.database.client(),))
    return shapes.Workflows(
        workflows=[shapes.WorkflowInfo(id=str(row[0]), name=row[1], description=row[2]) for row in found]
    )


async def trigger(call: Call) -> shapes.Triggered:
    """Start a workflow in the client's n8n. Recorded before it is asked, and again with how it went."""
    body: shapes.Trigger = call.body
    workflow = call.id("workflow")
    client = await call.vault.database.client()
    row = await call.vault.database.one(_WORKFLOW, (client, workflow))
    if row is None:
        raise missing("workflow")
    user = _user_id(call)
    await call.vault.audit.record(accounts.entry(call, "workflow", "triggering", user, workflow=str(workflow)))
    content = {"userId": str(user), "clientId": str(client), "parameters": body.parameters}
    status = await call.vault.n8n.trigger(row[0], content)
    await call.vault.audit.record(accounts.entry(call, "workflow", "triggered", user, workflow=str(workflow)))
    return shapes.Triggered(workflow_id=str(workflow), status=status)


def _user_id(call: Call) -> UUID:
    user = call.actor.user
    assert user is not None  # noqa: S101 - the access of these endpoints is USER
    return user


async def client_info(call: Call) -> tuple[shapes.ClientInfo, Policy]:
    """The client's row as answers say it, and its policy."""
    row = await call.vault.database.one(_CLIENT, (await call.vault.database.client(),))
    if row is None:
        raise missing("client")
    return shapes.ClientInfo(id=str(row[0]), slug=row[1], company_name=row[2], email=row[3]), Policy.read(row[4])


async def _user(call: Call, account: Account, policy: Policy) -> shapes.UserInfo:
    found = await call.vault.database.all(_GRANTED, (await call.vault.database.client(), account.id))
    may = permissions(account.role, [row[0] for row in found], policy, second_factor=account.mfa_enabled)
    return shapes.UserInfo(
        id=str(account.id),
        email=account.email,
        name=account.name,
        role="admin" if account.role == "admin" else "user",
        mfa_enabled=account.mfa_enabled,
        permissions=sorted(may),
    )


def shown(one: Listed) -> shapes.OwnConnection:
    """A connection as its user sees it."""
    return shapes.OwnConnection(
        id=str(one.id),
        user_id=str(one.user),
        service_name=one.service,
        display_name=one.display_name,
        account_identifier=one.account,
        status=one.state,
        is_broken=one.status == "broken",
        broken_reason=one.broken_reason,
        token_expires_at=told(one.expires_at),
        created_at=one.created_at.isoformat(),
    )


_SELF: Final[dict[str, Any]] = {"access": Access.USER, "tag": "tooljet"}
_GONE: Final = {404: Failure}

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        "POST", shapes.LOGIN_PATH, "login", login, Access.PUBLIC, "Open a session.", shapes.LoggedIn, body=shapes.Login,
        statuses={403: Failure}, tag="tooljet",
    ),
    Endpoint(
        "GET", shapes.DASHBOARD_PATH, "dashboard", dashboard, summary="The main page's figures.",
        answer=shapes.Dashboard, statuses=_GONE, **_SELF,
    ),
    Endpoint(
        "GET", shapes.OWN_CONNECTIONS_PATH, "own_connections", list_connections, answer=shapes.OwnConnections,
        summary="One's own connections, without values; an administrator sees every user's.",
        scope="connections.read", **_SELF,
    ),
    Endpoint(
        "POST", shapes.OWN_CONNECTIONS_PATH, "connect_key", connect, summary="Connect a service by its API key.",
        body=shapes.NewApiKeyConnection, answer=shapes.Created, status=201, statuses={404: Failure, 409: Failure},
        scope="connections.write", **_SELF,
    ),
    Endpoint(
        "DELETE", shapes.OWN_CONNECTION_PATH, "disconnect", disconnect, answer=None, status=204, statuses=_GONE,
        summary="Revoke a connection at its provider and delete it.", scope="connections.write", **_SELF,
    ),
    Endpoint(
        "GET", shapes.WORKFLOWS_PATH, "workflows", list_workflows, summary="The client's workflows.",
        answer=shapes.Workflows, scope="workflows.read", **_SELF,
    ),
    Endpoint(
        "POST", shapes.TRIGGER_PATH, "workflow_trigger", trigger, summary="Start a workflow in the client's n8n.",
        body=shapes.Trigger, answer=shapes.Triggered, statuses={404: Failure, 502: Failure, 504: Failure},
        scope="workflows.trigger", **_SELF,
    ),
)  # fmt: skip
