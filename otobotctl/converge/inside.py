"""One execution that runs a command inside a service's container."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from otobotctl.agent.protocol import VERSION, InsideRequest
from otobotctl.converge.exchange import RefusedError, Session
from otobotctl.errors import StepFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otobotctl.converge.model import Password
    from otobotctl.transport.base import Opener


@dataclass(frozen=True)
class Place:
    """A service of a Compose project on a host. `client` is what an operator calls it."""

    opener: Opener
    project: str
    service: str
    client: str
    password: Password | None = None


@dataclass(frozen=True)
class Said:
    """What a command answered: its exit status, all of stdout, and the last lines of stderr."""

    status: int
    stdout: bytes
    stderr: tuple[str, ...]


def run(place: Place, argv: Sequence[str], stdin: str = "", heard: Callable[[bytes], None] | None = None) -> Said:
    """Run a command in the service's container and return what it said; `heard` gets each line of stdout as it comes.

    Raises:
        StepFailedError: the service does not run.
        HostUnreachableError: no line, or it was lost.
    """
    request = InsideRequest(
        version=VERSION, op="inside", project=place.project, service=place.service, argv=list(argv), input=stdin
    )
    stdout, told, status, said = b"", 0, -1, ()
    with Session(place.opener, place.password) as session:
        try:
            for record in session.exchange(dict(request)):
                if "block" in record:
                    stdout += record["data"]
                    while heard is not None and (end := stdout.find(b"\n", told)) >= 0:
                        heard(stdout[told:end])
                        told = end + 1
                elif "exit" in record:
                    status, said = record["exit"], tuple(record["said"])
        except RefusedError as error:
            hint = f"otobotctl client deploy {place.client}"
            raise StepFailedError(str(error), hint=hint) from error
    return Said(status, stdout, said)
