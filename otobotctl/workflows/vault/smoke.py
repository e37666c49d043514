"""An end-to-end trial of a live vault: a user of its own is made, connected, looked at and erased."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from otobotctl.errors import StepFailedError
from otobotctl.vault_api import contract, contract_people
from otobotctl.workflows.vault import people, tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from otobotctl.workflows.vault.door import VaultDoor


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
    email = f"smoke-{secrets.token_hex(6)}@otobotctl.invalid"

    def step(name: str, do: Callable[[], object]) -> None:
        do()
        steps.append(name)

    step("ready", lambda: _ready(vault))
    step("create a user", lambda: people.add(vault, email, "otobotctl vault smoke", "user"))
    try:
        step("replace the one-time password and log in", lambda: _login(vault, email))
        step("store a credential, fetch it as n8n does, and list it", lambda: _credential(vault, email))
    finally:
        people.erase(vault, email)
    steps.append("erase the user")
    return Trial(vault.slug, tuple(steps), round(time.monotonic() - begun, 2))


def _ready(vault: VaultDoor) -> None:
    checks = vault.ask("GET", contract.READY_PATH)["checks"]
    if set(checks.values()) != {"ok"}:
        raise _wrong(vault, "is not ready", *(f"{name}: {state}" for name, state in checks.items()))


def _login(vault: VaultDoor, email: str) -> None:
    _, once = people.reset(vault, email)
    own = f"Smoke-{secrets.token_urlsafe(18)}-1a!"
    _, entered = vault.ask_all([
        ("POST", contract_people.RENEW_PATH, {"email": email, "password": once, "newPassword": own}),
        ("POST", contract_people.LOGIN_PATH, {"email": email, "password": own}),
    ])  # fmt: skip
    if not entered["token"] or entered["user"]["email"] != email:
        raise _wrong(vault, "does not log its user in")


def _credential(vault: VaultDoor, email: str) -> None:
    user, value = people.one(vault, email)["id"], secrets.token_urlsafe(24)
    tokens.connect(vault, email, "openai", value, "smoke")
    fetched = vault.ask("GET", contract.credentials_path(user, "openai"))
    if fetched["credentials"] != {"apiKey": value}:
        raise _wrong(vault, "gives another credential back than it was given")
    if [one.status for one in tokens.state(vault).tokens if one.user == email] != ["valid"]:
        raise _wrong(vault, "does not list the connection that it stored")


def _wrong(vault: VaultDoor, what: str, *details: str) -> StepFailedError:
    return StepFailedError(f"the vault of {vault.slug} {what}", hint=f"otobotctl status {vault.host}", details=details)
