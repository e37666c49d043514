"""The one exception tree. Every error an operator can meet carries what happened, what to do next and an exit code."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class OtobotError(Exception):
    """Something the operator must know: `message` says what happened, `hint` what to do next.

    Neither may ever hold a secret value. `details` are further lines (findings, a step's own stderr).
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = tuple(details)

    def told(self) -> dict[str, Any]:
        """Return it as `--json` shows it: code, kind, message, hint, details."""
        return {
            "code": self.exit_code,
            "kind": type(self).__name__.removesuffix("Error"),
            "message": self.message,
            "hint": self.hint,
            "details": list(self.details),
        }


class StepFailedError(OtobotError):
    """A step failed on a host; `details` are the step's own last lines of output."""


class UsageError(OtobotError):
    """The command cannot mean what was typed."""

    exit_code = 2


class PartialError(OtobotError):
    """Of several hosts, at least one failed; `details` has a line for each."""

    exit_code = 3


class DriftError(OtobotError):
    """A host is not what the plan saw, or not what the fleet says."""

    exit_code = 4


class TakenBackError(StepFailedError):
    """A release did not work and was undone: the one before it is up and healthy."""

    exit_code = 5


class ManifestError(OtobotError):
    """The manifest, a secret store or a template is wrong; nothing was written."""

    exit_code = 10


class LockedError(OtobotError):
    """Another run holds the host."""

    exit_code = 11


class HostKeyError(OtobotError):
    """The host's key is unknown or has changed."""

    exit_code = 12


class HostUnreachableError(OtobotError):
    """No connection, no login, or the line went silent."""

    exit_code = 13


class ForbiddenError(OtobotError):
    """The role of this account on the host does not allow it."""

    exit_code = 14


class InterruptedRunError(OtobotError):
    """The operator pressed Ctrl-C."""

    exit_code = 130


def defect(error: BaseException) -> OtobotError:
    """Return a bug of ours in one line; its message is left out because it could quote what it was working on."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return OtobotError(
        f"otobotctl has a defect: {type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}",
        hint="run it again with --verbose for the whole trace, and report it; nothing you have is lost",
    )
