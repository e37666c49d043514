"""What every question to hosts about backups shares: which clients, on which hosts, and one execution for each."""

from __future__ import annotations

import secrets as randomness
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from otobotctl import person
from otobotctl.agent.protocol import VERSION, BackupRequest
from otobotctl.errors import UsageError
from otobotctl.workflows import converging

if TYPE_CHECKING:
    from otobotctl.converge.model import Password
    from otobotctl.manifest import ResolvedManifest
    from otobotctl.workflows.desired import Loaded


def chosen(manifest: ResolvedManifest, names: Sequence[str], *, every: bool) -> dict[str, list[str]]:
    """The clients that were named, or all, by host. Raises UsageError, ManifestError."""
    if every and names:
        raise UsageError("--all is every client already", hint="leave it out, or leave out the others")
    if not every and not names:
        raise UsageError("which client?", hint="name one, or give --all")
    found: dict[str, list[str]] = {}
    for slug in dict.fromkeys(manifest.clients if every else names):
        found.setdefault(manifest.client(slug).host, []).append(slug)
    return found


def ask(
    loaded: Loaded,
    host: str,
    clients: Sequence[str],
    do: str,
    password: Password | None = None,
    *,
    targets: Sequence[str] = (),
    reason: str = "manual",
    consistent: bool = False,
    patience_s: float = 0.0,
) -> Iterator[dict[str, Any]]:
    """One execution: the host's records. Raises as converge.backups.records."""
    from otobotctl.converge import backups

    request = BackupRequest(
        version=VERSION,
        op="backup",
        do=do,
        run=f"backup-{clients[0]}-{randomness.token_hex(4)}",
        who=f"{person.name()} (backup of {', '.join(clients)})",
        clients=list(clients),
        targets=list(targets),
        reason=reason,
        consistent=consistent,
        patience_s=patience_s,
    )
    return backups.records(converging.opener(loaded, host), request, clients, password)
