"""What the vault API and its callers agree on: names, paths and the shapes of bodies and answers.

JSON names are those of the platform's documents: camelCase, and snake_case for rows that are passed on as they are.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from . import health

SERVICE = "otobot-vault-api"
REFRESHER = "otobot-token-refresher"
VERSION = "0.2.0"
PORT = health.PORT
TOKEN_HEADER = "x-internal-token"  # noqa: S105 - the header's name
NODE_HEADER = "x-node-token"
OPERATOR_HEADER = "x-operator-token"
OPERATOR_NAME_HEADER = "x-operator-name"
REQUEST_HEADER = "x-request-id"
MAX_BODY_BYTES = 64 * 1024

HEALTH_PATH = health.PATH
READY_PATH = "/health/ready"
METRICS_PATH = "/metrics"
OPENAPI_PATH = "/openapi.json"
USER_PATH = "/api/internal/user/{user}"
CREDENTIALS_PATH = "/api/internal/user/{user}/credentials/{service}"
CONNECTIONS_PATH = "/api/internal/user/{user}/connections"
STATUS_PATH = "/api/internal/connection-status/{connection}"
SERVICES_PATH = "/api/internal/services"
RECONNECTIONS_PATH = "/api/internal/reconnections"

NOT_FOUND = "Connection not found"  # the words that workflows test for
# Nobody's account: it holds what the client itself is connected to, which a deploy stores.
OWN_USER = "00000000-0000-4000-8000-000000000001"
OWN_EMAIL = "deploy@vault.invalid"

Line = Annotated[str, Meta(max_length=254)]
Word = Annotated[str, Meta(min_length=1, max_length=254)]
# Behind the end no line break may follow: `$` alone lets one pass, and `\Z` is unknown where the document is read.
END = r"$(?!\n)"
Email = Annotated[str, Meta(pattern=rf"^[^@\s]{{1,64}}@[^@\s]{{1,189}}{END}", max_length=254)]
Id = Annotated[str, Meta(pattern=f"^[0-9a-fA-F]{{8}}(-[0-9a-fA-F]{{4}}){{3}}-[0-9a-fA-F]{{12}}{END}", max_length=36)]
ServiceCode = Annotated[str, Meta(pattern=f"^[a-z][a-z0-9_-]{{0,63}}{END}", max_length=64)]
Opaque = Annotated[str, Meta(min_length=1, max_length=61440)]
Role = Literal["admin", "user"]
Health = Literal["ok", "unavailable"]
ConnectionState = Literal["valid", "refresh_needed", "expired"]


def connections_path(user: str) -> str:
    """GET a user's `Connections`."""
    return CONNECTIONS_PATH.format(user=user)


def user_path(user: str) -> str:
    """PUT a `NewUser` here."""
    return USER_PATH.format(user=user)


def credentials_path(user: str, service: str) -> str:
    """GET the active credentials; PUT a `NewCredentials` to create or replace, POST one to create only."""
    return CREDENTIALS_PATH.format(user=user, service=service)


def key_check(master_key: str) -> str:
    """Digits by which two who have the same master key know it; they tell nothing about it."""
    import hmac

    return hmac.digest(bytes.fromhex(master_key), b"otobot-vault: which key is this", "sha256").hex()[:32]


class Body(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What a caller sends: nothing unknown."""


class Reply(Struct, frozen=True, kw_only=True, rename="camel"):
    """What the vault answers."""


class Hidden(Body, frozen=True, kw_only=True):
    """A body that holds something secret: its repr shows nothing."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


class Shown(Reply, frozen=True, kw_only=True):
    """An answer that holds something secret: its repr shows nothing."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


class Alive(Reply, frozen=True, kw_only=True):
    """GET /health and /health/ready: 200 with status "ok", otherwise 503 with what is missing."""

    status: Health
    service: str
    version: str
    checks: dict[str, str]


class Failure(Reply, frozen=True, kw_only=True):
    """Any answer that is not the asked-for one. `code` is for programs; `error` never quotes what was sent."""

    error: str
    code: str
    details: list[str] | UnsetType = UNSET


class NoConnection(Reply, frozen=True, kw_only=True):
    """404 of a read."""

    error: str
    code: str
    has_credentials: Literal[False]


class NewUser(Body, frozen=True, kw_only=True):
    """A person of the client."""

    email: Email
    name: Line = ""
    role: Role = "user"


class UserSaved(Reply, frozen=True, kw_only=True):
    """200 or 201 of a user's PUT."""

    user_id: str
    created: bool


class NewCredentials(Hidden, frozen=True, kw_only=True):
    """What a caller stores: at least one of the first three. `expires_at` is ISO 8601 with an offset."""

    access_token: Opaque | None = None
    refresh_token: Opaque | None = None
    api_key: Opaque | None = None
    account_identifier: Line = ""
    expires_at: Line | None = None


class Credentials(Shown, frozen=True, kw_only=True):
    """What a reader gets; a refresh token is never given out."""

    access_token: str | UnsetType = UNSET
    api_key: str | UnsetType = UNSET


class Metadata(Reply, frozen=True, kw_only=True):
    """About a connection, nothing secret."""

    account_identifier: str
    token_expired: bool
    expires_at: str | None
    status: str


class Connection(Reply, frozen=True, kw_only=True):
    """200 of a read."""

    connection_id: str
    has_credentials: bool
    credentials: Credentials
    metadata: Metadata


class Stored(Reply, frozen=True, kw_only=True):
    """200 or 201 of a write."""

    connection_id: str
    created: bool


class ListedConnection(Struct, frozen=True, kw_only=True):
    """A connection in a list; `status` is what connection-status says of it."""

    id: str
    service_name: str
    display_name: str
    account_identifier: str
    status: ConnectionState
    is_broken: bool
    token_expires_at: str | None
    created_at: str


class Connections(Reply, frozen=True, kw_only=True):
    """Every connection of a user."""

    user_id: str
    connections: list[ListedConnection]


class Horizon(Body, frozen=True, kw_only=True):
    """How far a look ahead goes."""

    within_days: Annotated[int, Meta(ge=0, le=366)] = 14


class Reconnection(Struct, frozen=True, kw_only=True):
    """A connection that its user has to make again: it is broken, or its token ends and nothing can renew it."""

    id: str
    user_id: str
    email: str
    name: str
    service_name: str
    display_name: str
    account_identifier: str
    status: ConnectionState
    is_broken: bool
    broken_reason: str
    token_expires_at: str | None


class Reconnections(Reply, frozen=True, kw_only=True):
    """Those of every user, a thousand at most."""

    connections: list[Reconnection]


class ConnectionStatus(Reply, frozen=True, kw_only=True):
    """200 of connection-status."""

    id: str
    status: ConnectionState
    service_name: str
    broken: bool
    broken_reason: str
    expires_at: str | None
    last_refresh_at: str | None
    refresh_failures: int


class ListedService(Reply, frozen=True, kw_only=True):
    """A service that the vault knows. `api_hosts` are the only hosts that its token may be sent to."""

    code: str
    display_name: str
    oauth_type: str
    api_hosts: list[str]


class Services(Reply, frozen=True, kw_only=True):
    """Every service."""

    services: list[ListedService]
