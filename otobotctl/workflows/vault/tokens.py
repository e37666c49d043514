"""The state of every token of a client, as its operator watches it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otobotctl.vault_api import contract_admin as admin
from otobotctl.workflows.vault import people

if TYPE_CHECKING:
    from otobotctl.workflows.vault.door import VaultDoor


@dataclass(frozen=True)
class Token:
    """One connection's token. `status` is valid, refresh_needed, expired or broken."""

    id: str
    user: str
    service: str
    account: str
    status: str
    expires_at: str | None
    reason: str


@dataclass(frozen=True)
class Tokens:
    """Every token of a client, those that want attention first."""

    client: str
    valid: int
    wanting: int
    tokens: tuple[Token, ...]


def state(vault: VaultDoor) -> Tokens:
    """Ask the vault for every connection. Two remote executions at most, few users or many."""
    users = {user["id"]: user["email"] for user in people.listed(vault)}
    found = [_token(one, users) for one in vault.ask("GET", admin.ALL_CONNECTIONS_PATH)["connections"]]
    ordered = sorted(found, key=lambda one: (one.status == "valid", one.status, one.user, one.service))
    valid = sum(one.status in {"valid", "refresh_needed"} for one in found)
    return Tokens(vault.slug, valid, len(found) - valid, tuple(ordered))


def connect(vault: VaultDoor, email: str, service: str, api_key: str, account: str) -> str:
    """Store an API key for a user and return the connection's id."""
    body = new(people.one(vault, email)["id"], service, api_key, account)
    made: dict[str, Any] = vault.ask("POST", admin.ALL_CONNECTIONS_PATH, body)
    return str(made["id"])


def new(user: str, service: str, api_key: str, account: str) -> dict[str, str]:
    """The body that connects a user by an API key."""
    return {"userId": user, "service": service, "apiKey": api_key, "accountIdentifier": account}


def disconnect(vault: VaultDoor, connection: str) -> None:
    """Revoke a connection at its provider and delete it."""
    vault.ask("DELETE", admin.ANY_CONNECTION_PATH.format(connection=connection))


def _token(one: dict[str, Any], users: dict[str, str]) -> Token:
    return Token(
        id=one["id"],
        user=users.get(one["user_id"], one["user_id"]),
        service=one["service_name"],
        account=one["account_identifier"],
        status="broken" if one["is_broken"] else one["status"],
        expires_at=one["token_expires_at"],
        reason=one["broken_reason"],
    )
