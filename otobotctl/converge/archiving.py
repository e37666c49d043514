"""One execution that streams an archive: records come in, and the operator's confirmation goes back at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from otobotctl.converge.exchange import RefusedError, Session, locked
from otobotctl.errors import StepFailedError

if TYPE_CHECKING:
    from typing import Self

    from otobotctl.agent.protocol import ArchiveRequest, Confirmation
    from otobotctl.converge.model import Password
    from otobotctl.transport.base import Opener


class Archiving:
    """An archive that a host streams. Leaving the block without `confirm` tells the host that it came to nothing."""

    def __init__(self, opener: Opener, request: ArchiveRequest, password: Password | None = None) -> None:
        self._session = Session(opener, password)
        self._request: Mapping[str, Any] = dict(request)
        self._exchange = self._session.exchange(self._request)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._exchange.close()
        self._session.drop()

    def records(self) -> Iterator[dict[str, Any]]:
        """The records of an archive (agent/protocol.py), up to and with "archived" or "final"; blocks have "data".

        Raises:
            StepFailedError: the host cannot have a member; the text names it and says why.
            LockedError: another run holds the host.
            HostUnreachableError: no line, or it was lost.
        """
        try:
            for record in self._exchange:
                yield record
                if "archived" in record or "final" in record:
                    return
        except RefusedError as error:
            raise self._refused(error) from error

    def confirm(self, confirmation: Confirmation) -> None:
        """Tell the host that the archive is safe, and wait until it has noted that. Raises as `records`."""
        self._session.say(confirmation)
        try:
            for _ in self._exchange:
                pass
        except RefusedError as error:
            raise self._refused(error) from error

    def _refused(self, error: RefusedError) -> Exception:
        host, client = self._session.door.name, self._request["client"]
        if error.code == "locked":
            return locked(host, error.holder)
        return StepFailedError(error.message, hint=f"see how {client} is: otobotctl status {host}")
