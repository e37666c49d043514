"""One execution that has a host prove something of a client's archives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otobotctl.converge.exchange import RefusedError, Session, locked
from otobotctl.errors import StepFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otobotctl.agent.protocol import ProofRequest
    from otobotctl.converge.model import Password
    from otobotctl.transport.base import Opener


def proofs(opener: Opener, request: ProofRequest, password: Password | None = None) -> Iterator[dict[str, Any]]:
    """The host's records (agent/protocol.py) as they come.

    Raises:
        LockedError: another run or drill of the client is under way.
        StepFailedError: the host cannot: no such backup, target or report.
        HostUnreachableError: no line, or it was lost; the host ends what it had begun, and removes it.
    """
    with Session(opener, password) as session:
        try:
            for record in session.exchange(dict(request)):
                if "end" not in record:
                    yield record
        except RefusedError as error:
            if error.code == "locked":
                raise locked(session.door.name, error.holder) from error
            raise StepFailedError(error.message, hint=f"otobotctl backup status {request['client']}") from error
