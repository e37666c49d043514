"""What the vault API and its callers agree on: names, paths and the shapes of answers. Standard library only."""

from __future__ import annotations

from typing import TypedDict

SERVICE = "otobot-vault-api"
VERSION = "0.1.0"
PORT = 3001
TOKEN_HEADER = "x-internal-token"  # noqa: S105 - the header's name
REQUEST_HEADER = "x-request-id"
MAX_BODY_BYTES = 64 * 1024

HEALTH_PATH = "/health"
USER_PATH = "/api/internal/user/{user}"
CREDENTIALS_PATH = "/api/internal/user/{user}/credentials/{service}"

NOT_FOUND = "Connection not found"  # the words that workflows test for


def user_path(user: str) -> str:
    """PUT a `NewUser` here."""
    return USER_PATH.format(user=user)


def credentials_path(user: str, service: str) -> str:
    """GET the active credentials; PUT a `NewCredentials` to create or replace, POST one to create only."""
    return CREDENTIALS_PATH.format(user=user, service=service)


class Health(TypedDict):
    """GET /health: 200 with status "ok", otherwise 503 with status "unavailable" and what is missing."""

    status: str
    service: str
    version: str
    checks: dict[str, str]


class NewUser(TypedDict):
    """A person of the client; `role` is "admin" or "user"."""

    email: str
    name: str
    role: str


class NewCredentials(TypedDict, total=False):
    """What a caller stores: at least one of the first three. `expiresAt` is ISO 8601 with an offset."""

    accessToken: str
    refreshToken: str
    apiKey: str
    accountIdentifier: str
    expiresAt: str


class Credentials(TypedDict, total=False):
    """What a reader gets; a refresh token is never given out."""

    accessToken: str
    apiKey: str


class Metadata(TypedDict):
    """About a connection, nothing secret."""

    accountIdentifier: str
    tokenExpired: bool
    expiresAt: str | None


class Connection(TypedDict):
    """200 of a read."""

    connectionId: str
    hasCredentials: bool
    credentials: Credentials
    metadata: Metadata


class Stored(TypedDict):
    """200 or 201 of a write."""

    connectionId: str
    created: bool


class Failure(TypedDict, total=False):
    """Any other answer. `error` says what; it never quotes what was sent."""

    error: str
    details: list[str]
    hasCredentials: bool
