"""One execution that asks a host about its clients' backups, or for a run of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otobotctl.converge.exchange import RefusedError, Session, locked
from otobotctl.errors import StepFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otobotctl.agent.protocol import BackupRequest
    from otobotctl.converge.model import Password
    from otobotctl.transport.base import Opener


def records(opener: Opener, request: BackupRequest, password: Password | None = None) -> Iterator[dict[str, Any]]:
    """The host's records (agent/protocol.py) as they come.

    Raises:
        LockedError: another run of the client's backup is under way.
        StepFailedError: the host has no such backup.
        HostUnreachableError: no line, or it was lost; a run goes on without it.
    """
    with Session(opener, password) as session:
        try:
            for record in session.exchange(dict(request)):
                if "end" not in record:
                    yield record
        except RefusedError as error:
            if error.code == "locked":
                raise locked(session.door.name, error.holder) from error
            hint = f"otobotctl backup status {' '.join(request['clients'])}"
            raise StepFailedError(error.message, hint=hint) from error
