"""A connection that somebody else may have: ended in the vault, and at its provider where that has a way."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from otobotctl.errors import UsageError
from otobotctl.vault_api import contract_admin as admin
from otobotctl.workflows.incidents.acting import Acted, acted, acting, ledger_for
from otobotctl.workflows.vault import tokens

if TYPE_CHECKING:
    from otobotctl.fleet import Fleet
    from otobotctl.workflows.vault.door import VaultDoor

_PAGE = 200


def revoke(fleet: Fleet, vault: VaultDoor, connection: str, *, incident: str | None = None) -> Acted:
    """End a connection. One that an interrupted call has ended already is written down as done.

    Raises:
        UsageError: the vault never had it.
    """
    found = next((one for one in tokens.state(vault).tokens if one.id == connection), None)
    if found is None and not _ended(_history(vault, connection)):
        hint = f"otobotctl vault connection list {vault.slug}"
        raise UsageError(f"the vault of {vault.slug} has no connection {connection}", hint=hint)
    subject = f"{connection} of {vault.slug}"
    ledger = ledger_for(fleet, incident, f"the token of connection {connection} of {vault.slug} may be known to others")
    with acting(ledger, "revoke-connection", subject, client=vault.slug) as act:
        if found is not None:
            tokens.disconnect(vault, connection)
        history = _history(vault, connection)
        ending = _ended(history) or {}
        service = found.service if found else str(ending.get("service", ""))
        user = found.user if found else str(ending.get("userId", ""))
        provider = str(ending.get("outcome", "unknown"))
        act.details.update(service=service, user=user, provider=provider, seen=_seen(history))
        act.remaining.append(f"tell {user} what happened, and that {service} must be connected again")
        if provider != "revoked":
            told = f"the vault's copy is gone, and the provider was not told ({provider})"
            act.remaining.append(f"revoke the access at {service} itself: {told}")
        act.remaining.append(f"look at who had it: otobotctl vault audit export {vault.slug} {vault.slug}-audit.jsonl")
    return acted(ledger, "revoke-connection", subject, act)


def _history(vault: VaultDoor, connection: str) -> list[dict[str, Any]]:
    """The newest entries of the vault's audit about a connection."""
    answer: dict[str, Any] = vault.ask("GET", f"{admin.AUDIT_PATH}?connection={connection}&limit={_PAGE}")
    return list(answer["entries"])


def _ended(history: list[dict[str, Any]]) -> dict[str, Any] | None:
    return next((entry for entry in history if entry["action"] == "disconnect"), None)


def _seen(history: list[dict[str, Any]]) -> dict[str, int]:
    """How often it was used, by what and from where: the beginning of finding out how far it went."""
    counted = Counter(f"{entry['action']} by {entry['by']} from {entry['address'] or 'inside'}" for entry in history)
    return dict(counted.most_common(10))
