"""Bodies and answers of the routes that administrators, operators and API keys use. The CLI may import this too."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType, field

from .contract import END, Body, Email, Hidden, Id, Line, Reply, Role, ServiceCode, Shown, Word
from .contract_people import ClientInfo, OwnConnection, SessionInfo, Source

CLIENT_PATH = "/api/admin/client"
USERS_PATH = "/api/admin/users"
ONE_USER_PATH = "/api/admin/users/{user}"
USER_PASSWORD_PATH = "/api/admin/users/{user}/password"  # noqa: S105 - a path
USER_UNLOCK_PATH = "/api/admin/users/{user}/unlock"
USER_MFA_PATH = "/api/admin/users/{user}/mfa"
USER_SESSIONS_PATH = "/api/admin/users/{user}/sessions"
PERMISSIONS_PATH = "/api/admin/permissions"
USER_PERMISSIONS_PATH = "/api/admin/users/{user}/permissions"
EXPORT_PATH = "/api/admin/users/{user}/export"
APPS_PATH = "/api/admin/oauth-apps"
APP_PATH = "/api/admin/oauth-apps/{app}"
ADMIN_SERVICES_PATH = "/api/admin/services"
KEYS_PATH = "/api/admin/api-keys"
KEY_PATH = "/api/admin/api-keys/{key}"
ADMIN_WORKFLOWS_PATH = "/api/admin/workflows"
ADMIN_WORKFLOW_PATH = "/api/admin/workflows/{workflow}"
AUDIT_PATH = "/api/admin/audit"
ALL_CONNECTIONS_PATH = "/api/admin/connections"
ANY_CONNECTION_PATH = "/api/admin/connections/{connection}"

Permission = Annotated[str, Meta(min_length=1, max_length=64)]
WebhookPath = Annotated[
    str, Meta(pattern=rf"^[A-Za-z0-9][A-Za-z0-9_-]{{0,99}}(/[A-Za-z0-9_-]{{1,100}}){{0,4}}{END}", max_length=512)
]
Scope = Annotated[str, Meta(min_length=1, max_length=256)]
PageSize = Annotated[int, Meta(ge=1, le=500)]


class Policy(Body, frozen=True, kw_only=True):
    """What the client has decided. Where `admin_second_factor` is false, an administrator needs none."""

    admin_second_factor: bool = True


class ClientState(ClientInfo, frozen=True, kw_only=True):
    """The client of this vault, with its policy."""

    is_active: bool
    policy: Policy


class ClientChange(Body, frozen=True, kw_only=True):
    """What to change; what is left out stays."""

    company_name: Line | UnsetType = UNSET
    email: Email | UnsetType = UNSET
    policy: Policy | UnsetType = UNSET


class UserState(Reply, frozen=True, kw_only=True):
    """A user, nothing secret."""

    id: str
    email: str
    name: str
    role: Role
    is_active: bool
    mfa_enabled: bool
    must_change_password: bool
    failed_logins: int
    locked_until: str | None
    last_login_at: str | None
    created_at: str
    erased_at: str | None
    permissions: list[str]


class UserList(Reply, frozen=True, kw_only=True):
    """A page of users by e-mail address; `next` is the `after` of the following page."""

    users: list[UserState]
    next: str | None


class UserPage(Body, frozen=True, kw_only=True):
    """Which page."""

    limit: PageSize = 100
    after: Line = ""


class Person(Body, frozen=True, kw_only=True):
    """A user to be."""

    email: Email
    name: Line = ""
    role: Role = "user"


class PersonMade(Shown, frozen=True, kw_only=True):
    """201 of a new user: the password is shown this once and has to be changed at the first login."""

    user: UserState
    password: str


class PersonChange(Body, frozen=True, kw_only=True):
    """What to change; what is left out stays. Deactivating ends every session."""

    email: Email | UnsetType = UNSET
    name: Line | UnsetType = UNSET
    role: Role | UnsetType = UNSET
    is_active: bool | UnsetType = UNSET


class OneTimePassword(Shown, frozen=True, kw_only=True):
    """Shown this once; has to be changed at the next login."""

    password: str


class KnownPermissions(Reply, frozen=True, kw_only=True):
    """Every permission, with what it allows."""

    permissions: dict[str, str]


class Permissions(Body, frozen=True, kw_only=True):
    """All that is granted to a user beyond his role."""

    permissions: Annotated[list[Permission], Meta(max_length=64)]


class NewApp(Hidden, frozen=True, kw_only=True):
    """The client's application at a provider. Values go in and never come out."""

    service: ServiceCode
    app_name: Word
    client_id: Annotated[str, Meta(min_length=1, max_length=2048)]
    client_secret: Annotated[str, Meta(max_length=4096)] = ""
    redirect_uri: Annotated[str, Meta(max_length=2048)] = ""
    scopes: Annotated[list[Scope], Meta(max_length=100)] = field(default_factory=list)


class AppChange(Hidden, frozen=True, kw_only=True):
    """What to change; what is left out stays."""

    app_name: Word | UnsetType = UNSET
    client_id: Annotated[str, Meta(min_length=1, max_length=2048)] | UnsetType = UNSET
    client_secret: Annotated[str, Meta(max_length=4096)] | UnsetType = UNSET
    redirect_uri: Annotated[str, Meta(max_length=2048)] | UnsetType = UNSET
    scopes: Annotated[list[Scope], Meta(max_length=100)] | UnsetType = UNSET
    is_active: bool | UnsetType = UNSET


class AppState(Reply, frozen=True, kw_only=True):
    """An application, without its values."""

    id: str
    service: str
    app_name: str
    redirect_uri: str
    scopes: list[str]
    has_secret: bool
    is_active: bool
    connections: int
    created_at: str


class AppList(Reply, frozen=True, kw_only=True):
    """Every application."""

    apps: list[AppState]


class ServiceState(Reply, frozen=True, kw_only=True):
    """A service that the vault knows."""

    code: str
    display_name: str
    oauth_type: str
    is_active: bool
    has_app: bool
    connections: int


class ServiceList(Reply, frozen=True, kw_only=True):
    """Every service."""

    services: list[ServiceState]


class NewConnectionOf(Hidden, frozen=True, kw_only=True):
    """Connect a user to a service by an API key."""

    user_id: Id
    service: ServiceCode
    api_key: Annotated[str, Meta(min_length=1, max_length=16384)]
    account_identifier: Line = ""


class NewKey(Body, frozen=True, kw_only=True):
    """An API key to be. Scopes are permissions, or `admin` for all; a key ends after a year at the latest."""

    name: Word
    scopes: Annotated[list[Permission], Meta(min_length=1, max_length=64)]
    expires_in_days: Annotated[int, Meta(ge=1, le=366)] = 90


class KeyState(Reply, frozen=True, kw_only=True):
    """An API key; its prefix is what logs call it."""

    id: str
    name: str
    prefix: str
    scopes: list[str]
    created_by: str
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None


class KeyList(Reply, frozen=True, kw_only=True):
    """Every API key."""

    keys: list[KeyState]


class KeyMade(Shown, frozen=True, kw_only=True):
    """201 of a new API key: shown this once."""

    key: str
    about: KeyState


class NewWorkflow(Body, frozen=True, kw_only=True):
    """A workflow that users may start, by the path of its webhook in the client's n8n."""

    name: Word
    description: Annotated[str, Meta(max_length=2000)] = ""
    webhook_path: WebhookPath


class WorkflowState(Reply, frozen=True, kw_only=True):
    """A workflow."""

    id: str
    name: str
    description: str
    webhook_path: str


class WorkflowList(Reply, frozen=True, kw_only=True):
    """Every workflow."""

    workflows: list[WorkflowState]


class AuditPage(Body, frozen=True, kw_only=True):
    """Which entries, newest first. `before` is the `next` of the page before; times are ISO 8601 with an offset."""

    limit: PageSize = 100
    before: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None
    user: Annotated[str, Meta(max_length=36)] = ""
    connection: Annotated[str, Meta(max_length=36)] = ""
    action: Line = ""
    outcome: Line = ""
    since: Line = ""
    until: Line = ""


class AuditEntry(Reply, frozen=True, kw_only=True):
    """Who did what, when, from where, with what outcome."""

    id: int
    at: str
    action: str
    outcome: str
    by: str
    user_id: str | None
    service: str | None
    connection_id: str | None
    request_id: str | None
    address: str
    details: dict[str, Any]


class AuditList(Reply, frozen=True, kw_only=True):
    """A page of the audit; `next` is the `before` of the following page."""

    entries: list[AuditEntry]
    next: int | None


class Exported(Reply, frozen=True, kw_only=True):
    """Everything about a person but secret values, which are named and not shown."""

    exported_at: str
    client: ClientInfo
    user: UserState
    connections: list[OwnConnection]
    curation_sources: list[Source]
    sessions: list[SessionInfo]
    audit: list[AuditEntry]


class Erased(Reply, frozen=True, kw_only=True):
    """What went. `not_revoked` are connections that their provider did not confirm the end of."""

    user_id: str
    erased_at: str
    connections: int
    not_revoked: list[str]
