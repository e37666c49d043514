"""One execution that runs an operator's own command, or reads or tells the host's audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otobotctl.agent.protocol import VERSION, ExecRequest, LedgerRequest
from otobotctl.converge.exchange import RefusedError, Session
from otobotctl.errors import ForbiddenError, StepFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from otobotctl.converge.model import Password
    from otobotctl.transport.base import Opener


def execute(
    opener: Opener,
    request: ExecRequest,
    heard: Callable[[int, bytes], None],
    password: Password | None = None,
) -> int:
    """Run a command and return its exit status; `heard` gets what it says as it comes: 1 or 2, and bytes.

    Raises:
        ForbiddenError: the account's role on the host may not.
        StepFailedError: the service does not run.
        HostUnreachableError: no line, or it was lost; then the command was ended.
    """
    status = -1
    for record in _records(opener, dict(request), password):
        if "block" in record:
            heard(record.get("of", 1), record["data"])
        elif "said" in record:
            heard(2, f"{record['said']}\n".encode())
        elif "exit" in record:
            status = record["exit"]
    return status


def ledger(opener: Opener, who: str, password: Password | None = None) -> bytes:
    """Return the host's whole audit. Raises as `execute` does."""
    request = LedgerRequest(version=VERSION, op="ledger", who=who, event="", status=None)
    return b"".join(record["data"] for record in _records(opener, dict(request), password) if "block" in record)


def note(opener: Opener, who: str, event: str, status: int | None = None, password: Password | None = None) -> None:
    """Note in the host's audit what is about to happen, or how it ended. Raises as `execute` does."""
    request = LedgerRequest(version=VERSION, op="ledger", who=who, event=event, status=status)
    list(_records(opener, dict(request), password))


def _records(opener: Opener, request: Mapping[str, Any], password: Password | None) -> Iterator[dict[str, Any]]:
    with Session(opener, password) as session:
        try:
            yield from session.exchange(request)
        except RefusedError as error:
            if error.code == "policy":
                hint = "ask somebody with sudo, or for another role: `operators` and `roles` of the manifest"
                raise ForbiddenError(error.message, hint=hint) from error
            raise StepFailedError(error.message, hint="otobotctl status shows what runs") from error
