"""The client's applications at providers, and the API keys that programs call its vault with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otobotctl.vault_api import contract_admin as admin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otobotctl.workflows.vault.door import VaultDoor


class App:
    """An application to store; a plain class, so that no repr shows its values."""

    def __init__(
        self, service: str, name: str, client_id: str, client_secret: str, redirect_uri: str, scopes: Sequence[str]
    ) -> None:
        self.body = {
            "service": service,
            "appName": name,
            "clientId": client_id,
            "clientSecret": client_secret,
            "redirectUri": redirect_uri,
            "scopes": list(scopes),
        }


def apps(vault: VaultDoor) -> list[dict[str, Any]]:
    """Every application, without its values."""
    found: list[dict[str, Any]] = vault.ask("GET", admin.APPS_PATH)["apps"]
    return found


def add_app(vault: VaultDoor, app: App) -> dict[str, Any]:
    """Store an application, sealed."""
    made: dict[str, Any] = vault.ask("POST", admin.APPS_PATH, app.body)
    return made


def remove_app(vault: VaultDoor, app: str) -> None:
    """Delete an application that no connection was made with."""
    vault.ask("DELETE", admin.APP_PATH.format(app=app))


def keys(vault: VaultDoor) -> list[dict[str, Any]]:
    """Every API key, without its value."""
    found: list[dict[str, Any]] = vault.ask("GET", admin.KEYS_PATH)["keys"]
    return found


def create_key(vault: VaultDoor, name: str, scopes: Sequence[str], days: int) -> tuple[dict[str, Any], str]:
    """Create an API key; return what is known of it, and the key, which the vault shows this once."""
    made = vault.ask("POST", admin.KEYS_PATH, {"name": name, "scopes": list(scopes), "expiresInDays": days})
    return made["about"], made["key"]


def revoke_key(vault: VaultDoor, key: str) -> None:
    """Revoke an API key at once."""
    vault.ask("DELETE", admin.KEY_PATH.format(key=key))
