"""An end-to-end trial of a live vault: a user of its own is made, connected, looked at and erased."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otobotctl.errors import OtobotError, StepFailedError, UsageError
from otobotctl.vault_api import contract, contract_people
from otobotctl.vault_api import contract_admin as admin
from otobotctl.workflows.vault import people, tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from otobotctl.workflows.vault.door import VaultDoor

_PREFIX, _DOMAIN = "smoke-", "@otobotctl.invalid"
_LONG_S = 3600
_SERVICE = "openai"


@dataclass(frozen=True)
class Trial:
    """What was tried, in order, and how long it took in seconds."""

    client: str
    steps: tuple[str, ...]
    took_s: float


def run(vault: VaultDoor) -> Trial:
    """Try the vault. What it made is erased again, whatever happens; the audit keeps that it was there.

    Raises:
        StepFailedError: something is not as it should be; it names what.
    """
    begun = time.monotonic()
    steps: list[str] = []
    email = f"{_PREFIX}{int(time.time())}-{secrets.token_hex(6)}{_DOMAIN}"

    def step(name: str, do: Callable[[], object]) -> None:
        try:
            do()
        except UsageError as error:
            raise _wrong(vault, f"refuses a step of its trial: {name}", error.message, *error.details) from error
        steps.append(name)

    made: list[tuple[dict[str, Any], str]] = []
    step("ready", lambda: _ready(vault))
    try:
        step("create a user", lambda: made.append(people.add(vault, email, "", "user")))
        step("replace the one-time password and log in", lambda: _login(vault, email, made[0][1]))
        step("store a credential, fetch it as n8n does, and list it", lambda: _credential(vault, made[0][0]["id"]))
    finally:
        _erase(vault, email)
    steps.append("erase the user")
    return Trial(vault.slug, tuple(steps), round(time.monotonic() - begun, 2))


def _erase(vault: VaultDoor, email: str) -> None:
    """Erase the trial's user, also where the answer to its creation was lost, and those that a kill left behind."""
    try:
        for user in people.listed(vault):
            if user["email"] == email or _old(user["email"]):
                vault.ask("DELETE", admin.ONE_USER_PATH.format(user=user["id"]))
    except OtobotError as error:
        message = f"the trial of the vault of {vault.slug} ended, and its user may be left: {email}"
        hint = f"otobotctl vault gdpr erase {vault.slug} {email}"
        raise StepFailedError(message, hint=hint, details=(error.message, *error.details)) from error


def _old(email: str) -> bool:
    """Whether a trial that is long over has made this user; one that runs beside us is let be."""
    made = email.removeprefix(_PREFIX).partition("-")[0]
    ours = email.startswith(_PREFIX) and email.endswith(_DOMAIN) and made.isdigit()
    return ours and int(made) < time.time() - _LONG_S


def _ready(vault: VaultDoor) -> None:
    checks = vault.ask("GET", contract.READY_PATH)["checks"]
    if set(checks.values()) != {"ok"}:
        raise _wrong(vault, "is not ready", *(f"{name}: {state}" for name, state in checks.items()))


def _login(vault: VaultDoor, email: str, once: str) -> None:
    own = f"{secrets.token_urlsafe(24)}-1aB!"  # with every kind of character that the policy asks for
    _, entered = vault.ask_all([
        ("POST", contract_people.RENEW_PATH, {"email": email, "password": once, "newPassword": own}),
        ("POST", contract_people.LOGIN_PATH, {"email": email, "password": own}),
    ])  # fmt: skip
    if not entered["token"] or entered["user"]["email"] != email:
        raise _wrong(vault, "does not log its user in")


def _credential(vault: VaultDoor, user: str) -> None:
    value = secrets.token_urlsafe(24)
    made, fetched, listed = vault.ask_all([
        ("POST", admin.ALL_CONNECTIONS_PATH, tokens.new(user, _SERVICE, value, "smoke")),
        ("GET", contract.credentials_path(user, _SERVICE), None),
        ("GET", admin.ALL_CONNECTIONS_PATH, None),
    ])  # fmt: skip
    if fetched["credentials"] != {"apiKey": value}:
        raise _wrong(vault, "gives another credential back than it was given")
    if [one["status"] for one in listed["connections"] if one["id"] == made["id"]] != ["valid"]:
        raise _wrong(vault, "does not list the connection that it stored")


def _wrong(vault: VaultDoor, what: str, *details: str) -> StepFailedError:
    return StepFailedError(f"the vault of {vault.slug} {what}", hint=f"otobotctl status {vault.host}", details=details)
