"""One execution that streams what a client's containers say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otobotctl import person
from otobotctl.agent.protocol import VERSION, LogsRequest
from otobotctl.converge.exchange import RefusedError, Session
from otobotctl.errors import StepFailedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from otobotctl.converge.model import Password
    from otobotctl.transport.base import Opener


def lines(
    opener: Opener,
    client: str,
    project: str,
    services: Sequence[str],
    *,
    tail: str,
    since: str,
    follow: bool,
    password: Password | None = None,
) -> Iterator[str]:
    """Yield each line as Compose writes it: container, a bar, the time, the words.

    Raises:
        UsageError: nothing is deployed there, or the release has no such service.
        StepFailedError: Docker does not tell.
        HostUnreachableError: no line, or it was lost.
    """
    request = LogsRequest(
        version=VERSION,
        op="logs",
        who=person.name(),
        client=client,
        project=project,
        services=list(services),
        tail=tail,
        since=since,
        follow=follow,
    )
    rest, last = b"", ""
    with Session(opener, password) as session:
        try:
            for record in session.exchange(dict(request)):
                if "block" in record:
                    *whole, rest = (rest + record["data"]).split(b"\n")
                    for line in whole:
                        last = line.decode("utf-8", "replace")
                        yield last
                elif record.get("exit"):
                    raise StepFailedError(
                        f"the containers of {client} cannot be read: {last}", hint="see: otobotctl status"
                    )
        except RefusedError as error:
            raise UsageError(str(error), hint=f"otobotctl releases {client}") from error
    if rest:
        yield rest.decode("utf-8", "replace")
