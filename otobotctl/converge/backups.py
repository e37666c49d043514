"""One execution that asks a host about its clients' backups, for a run of them, or for a proof of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otobotctl.converge.exchange import RefusedError, Session, locked
from otobotctl.errors import StepFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from otobotctl.agent.protocol import BackupRequest, ProofRequest
    from otobotctl.converge.model import Password
    from otobotctl.transport.base import Opener


def records(
    opener: Opener,
    request: BackupRequest | ProofRequest,
    clients: Sequence[str],
    password: Password | None = None,
    own: Path | None = None,
) -> Iterator[dict[str, Any]]:
    """The host's records (agent/protocol.py) as they come. `own`: see Session.

    Raises:
        LockedError: another run or drill of a client is under way.
        StepFailedError: the host has no such backup, target or report.
        HostUnreachableError: no line, or it was lost. A run goes on without it; a drill ends, and removes what it made.
    """
    with Session(opener, password, own) as session:
        try:
            for record in session.exchange(dict(request)):
                if "end" not in record:
                    yield record
        except RefusedError as error:
            if error.code == "locked":
                raise locked(session.door.name, error.holder) from error
            if error.code == "lacks":
                hint = f"as root on {session.door.name}: apt-get install restic; Docker as docs.docker.com says"
                raise StepFailedError(error.message, hint=hint) from error
            hint = f"otobotctl backup status {' '.join(clients)}"
            raise StepFailedError(error.message, hint=hint) from error
