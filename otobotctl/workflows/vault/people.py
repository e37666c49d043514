"""Users of a client, by their e-mail addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from otobotctl.errors import UsageError
from otobotctl.vault_api import contract_admin as admin

if TYPE_CHECKING:
    from otobotctl.workflows.vault.door import VaultDoor

_PAGE = 500


def client(vault: VaultDoor) -> dict[str, Any]:
    """The client as its vault knows it."""
    found: dict[str, Any] = vault.ask("GET", admin.CLIENT_PATH)
    return found


def listed(vault: VaultDoor, *, erased: bool = False) -> list[dict[str, Any]]:
    """Every user, by e-mail address. `erased`: also what is left of those who were, an id without a name."""
    users: list[dict[str, Any]] = []
    after = ""
    while True:
        page = vault.ask("GET", f"{admin.USERS_PATH}?limit={_PAGE}" + (f"&after={quote(after)}" if after else ""))
        users += page["users"]
        if page["next"] is None:
            return [user for user in users if erased or not user["erasedAt"]]
        after = page["next"]


def one(vault: VaultDoor, email: str) -> dict[str, Any]:
    """The user with this e-mail address. Raises UsageError: there is none."""
    for user in listed(vault):
        if user["email"].lower() == email.lower():
            return user
    raise UsageError(f"{vault.slug} has no user {email}", hint=f"otobotctl vault user list {vault.slug}")


def add(vault: VaultDoor, email: str, name: str, role: str) -> tuple[dict[str, Any], str]:
    """Create a user; return it with the one-time password, which the vault shows this once."""
    made = vault.ask("POST", admin.USERS_PATH, {"email": email, "name": name, "role": role})
    return made["user"], made["password"]


def change(vault: VaultDoor, email: str, **fields: Any) -> dict[str, Any]:
    """Change a user's role, name or whether it may log in."""
    user = one(vault, email)
    changed: dict[str, Any] = vault.ask("PATCH", admin.ONE_USER_PATH.format(user=user["id"]), fields)
    return changed


def reset(vault: VaultDoor, email: str) -> tuple[dict[str, Any], str]:
    """Replace the password by a one-time one, which is returned, and forget failed logins."""
    user = one(vault, email)
    unlock = ("POST", admin.USER_UNLOCK_PATH.format(user=user["id"]), None)
    given = ("POST", admin.USER_PASSWORD_PATH.format(user=user["id"]), None)
    _, made = vault.ask_all([unlock, given])
    return user, made["password"]


def exported(vault: VaultDoor, email: str) -> dict[str, Any]:
    """Everything about a person but secret values."""
    found: dict[str, Any] = vault.ask("GET", admin.EXPORT_PATH.format(user=one(vault, email)["id"]))
    return found


def erase(vault: VaultDoor, email: str) -> dict[str, Any]:
    """Revoke a person's connections and erase everything about him."""
    done: dict[str, Any] = vault.ask("DELETE", admin.ONE_USER_PATH.format(user=one(vault, email)["id"]))
    return done
