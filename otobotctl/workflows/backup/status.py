"""`backup status`: how archives, checks and drills stand against what was promised; one execution a host."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from otobotctl.backup.standing import ClientStanding, TargetStanding, standing
from otobotctl.errors import DriftError, OtobotError
from otobotctl.workflows import fleetwide
from otobotctl.workflows.backup.asking import ask, chosen
from otobotctl.workflows.desired import load
from otobotctl.workflows.parallel import Limits, each_host

if TYPE_CHECKING:
    from otobotctl.converge.model import Listener, Password
    from otobotctl.fleet import Fleet

__all__ = ["BackupStatus", "ClientStanding", "TargetStanding", "overdue", "status"]


@dataclass(frozen=True)
class BackupStatus:
    """Every client that was asked about, as its host answered."""

    clients: tuple[ClientStanding, ...]


def status(
    fleet: Fleet, names: Sequence[str], listener: Listener, password: Password | None = None
) -> tuple[BackupStatus, OtobotError | None]:
    """How the backups of these clients stand, all where none is named; also the error that it amounts to, if any.

    The error is a DriftError (exit code 4) as soon as something is overdue, or what kept a host from answering.
    """
    loaded = load(fleet)
    hosts = chosen(loaded.manifest, names, every=not names)

    def one(host: str, _: Listener) -> tuple[ClientStanding, ...]:
        told = [each["standing"] for each in ask(loaded, host, hosts[host], "status", password) if "standing" in each]
        return tuple(standing(host, each, time.time()) for each in told)

    outcomes = each_host(tuple(hosts), one, Limits(), listener)
    found = BackupStatus(tuple(client for each in outcomes for client in each.result or ()))
    return found, overdue(found) or fleetwide.failure(outcomes)


def overdue(found: BackupStatus) -> DriftError | None:
    """What is late or has failed, a line each."""
    lines = [f"{client.client}: {line}" for client in found.clients for line in client.overdue]
    lines += [
        f"{each.client} on {each.target}: {line}"
        for client in found.clients
        for each in client.targets
        for line in each.overdue
    ]
    if not lines:
        return None
    first = next(client for client in found.clients if client.overdue or any(each.overdue for each in client.targets))
    hint = f"otobotctl backup run {first.client}; a drill: otobotctl backup drill {first.client}"
    return DriftError(f"{len(lines)} things about backups are overdue", hint=hint, details=lines)
