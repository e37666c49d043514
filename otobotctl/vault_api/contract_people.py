"""Bodies and answers of the routes that people and ToolJet use."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from .contract import Body, ConnectionState, Email, Hidden, Line, Reply, Role, ServiceCode, Shown

LOGIN_PATH = "/api/tooljet/auth/login"
DASHBOARD_PATH = "/api/tooljet/dashboard"
OWN_CONNECTIONS_PATH = "/api/tooljet/connections"
OWN_CONNECTION_PATH = "/api/tooljet/connections/{connection}"
SOURCES_PATH = "/api/tooljet/curation-sources"
SOURCE_PATH = "/api/tooljet/curation-sources/{source}"
WORKFLOWS_PATH = "/api/tooljet/workflows"
TRIGGER_PATH = "/api/tooljet/workflows/{workflow}/trigger"
REFRESH_PATH = "/api/auth/refresh"
LOGOUT_PATH = "/api/auth/logout"
PASSWORD_PATH = "/api/auth/password"  # noqa: S105 - a path
RENEW_PATH = "/api/auth/password/renew"
MFA_PATH = "/api/auth/mfa"
MFA_CONFIRM_PATH = "/api/auth/mfa/confirm"
MFA_DISABLE_PATH = "/api/auth/mfa/disable"
MFA_RECOVERY_PATH = "/api/auth/mfa/recovery-codes"
SESSIONS_PATH = "/api/auth/sessions"
SESSION_PATH = "/api/auth/sessions/{session}"

Password = Annotated[str, Meta(min_length=1, max_length=1024)]
Code = Annotated[str, Meta(max_length=32)]
SourceType = Literal["WEBSITE", "RSS_FEED", "SOCIAL_ACCOUNT", "BLOG"]


class Login(Hidden, frozen=True, kw_only=True):
    """`otp` is a code of the authenticator or a recovery code, where the account has a second factor."""

    email: Email
    password: Password
    otp: Code = ""


class ClientInfo(Reply, frozen=True, kw_only=True):
    """The client of this vault."""

    id: str
    slug: str
    company_name: str
    email: str


class UserInfo(Reply, frozen=True, kw_only=True):
    """A person. `permissions` are what this login may do: without a second factor an admin may hold fewer."""

    id: str
    email: str
    name: str
    role: Role
    mfa_enabled: bool
    permissions: list[str]


class TokenPair(Shown, frozen=True, kw_only=True):
    """A new access token, the refresh token that follows it (good once), and the first one's seconds."""

    token: str
    refresh_token: str
    expires_in: int


class LoggedIn(TokenPair, frozen=True, kw_only=True):
    """200 of a login."""

    client: ClientInfo
    user: UserInfo


class Refresh(Hidden, frozen=True, kw_only=True):
    """The newest refresh token of a session."""

    refresh_token: Annotated[str, Meta(min_length=1, max_length=256)]


class NewPassword(Hidden, frozen=True, kw_only=True):
    """The present password and the one to come."""

    password: Password
    new_password: Password


class Renewal(Hidden, frozen=True, kw_only=True):
    """A login whose password has expired, or was set by an administrator, with the password to come."""

    email: Email
    password: Password
    new_password: Password
    otp: Code = ""


class Reentered(Hidden, frozen=True, kw_only=True):
    """The password once more, because something delicate follows."""

    password: Password
    otp: Code = ""


class Confirmation(Hidden, frozen=True, kw_only=True):
    """A code of the authenticator that is being enrolled."""

    otp: Code


class MfaState(Reply, frozen=True, kw_only=True):
    """Whether there is a second factor, and how many recovery codes are unused."""

    enabled: bool
    recovery_codes_left: int


class Enrolment(Shown, frozen=True, kw_only=True):
    """For the authenticator; shown once. `uri` is what a QR code holds."""

    secret: str
    uri: str


class RecoveryCodes(Shown, frozen=True, kw_only=True):
    """Good once each; shown once."""

    recovery_codes: list[str]


class Confirmed(RecoveryCodes, frozen=True, kw_only=True):
    """The second factor is on; `token` counts as a login with it."""

    token: str
    expires_in: int


class SessionInfo(Reply, frozen=True, kw_only=True):
    """A login that is still good, from its first to its latest refresh."""

    id: str
    started_at: str
    last_used_at: str
    expires_at: str
    address: str
    user_agent: str
    current: bool


class Sessions(Reply, frozen=True, kw_only=True):
    """Every login that is still good."""

    sessions: list[SessionInfo]


class Dashboard(Reply, frozen=True, kw_only=True):
    """The main page's figures."""

    client: ClientInfo
    user: UserInfo
    last_login_at: str | None
    connections: int
    expired: int
    broken: int
    curation_sources: int


class OwnConnection(Reply, frozen=True, kw_only=True, rename=None):
    """A connection, nothing secret."""

    id: str
    user_id: str
    service_name: str
    display_name: str
    account_identifier: str
    status: ConnectionState
    is_broken: bool
    broken_reason: str
    token_expires_at: str | None
    created_at: str


class OwnConnections(Reply, frozen=True, kw_only=True):
    """One's own connections; an admin's list has every user's."""

    connections: list[OwnConnection]


class NewApiKeyConnection(Hidden, frozen=True, kw_only=True):
    """Connect a service by its API key. `service` is a code such as openai."""

    service: ServiceCode
    api_key: Annotated[str, Meta(min_length=1, max_length=16384)]
    account_identifier: Line = ""


class Created(Reply, frozen=True, kw_only=True):
    """201: the id of what was made."""

    id: str


class NewSource(Body, frozen=True, kw_only=True, rename=None):
    """A curation source; the platform writes these names in snake_case."""

    source_type: SourceType
    source_value: Annotated[str, Meta(min_length=1, max_length=2048)]
    source_name: Line = ""
    metadata: dict[str, Annotated[str, Meta(max_length=1024)]] = field(default_factory=dict)


class Source(Reply, frozen=True, kw_only=True, rename=None):
    """A curation source."""

    id: str
    user_id: str
    source_type: SourceType
    source_value: str
    source_name: str
    metadata: dict[str, Any]
    created_at: str


class Sources(Reply, frozen=True, kw_only=True, rename=None):
    """One's own curation sources; an admin's list has every user's."""

    curation_sources: list[Source]


class WorkflowInfo(Reply, frozen=True, kw_only=True):
    """A workflow that users may start."""

    id: str
    name: str
    description: str


class Workflows(Reply, frozen=True, kw_only=True):
    """The client's workflows."""

    workflows: list[WorkflowInfo]


class Trigger(Body, frozen=True, kw_only=True):
    """What the workflow gets as `parameters`, beside `userId` and `clientId`."""

    parameters: dict[str, Any] = field(default_factory=dict)


class Triggered(Reply, frozen=True, kw_only=True):
    """n8n took it; `status` is its answer's."""

    workflow_id: str
    status: int
