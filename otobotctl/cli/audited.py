"""Every command that may have changed something is noted in the fleet's own audit, once it has ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from otobotctl.cli import output
from otobotctl.errors import ManifestError, OtobotError, UsageError

# What only looks. A command that is not here is noted: better one row too many than one too few.
_LOOKS = {
    "audit",
    "diff",
    "doctor",
    "drift",
    "facts",
    "guide",
    "init",
    "list",
    "logs",
    "manifest",
    "plan",
    "releases",
    "show",
}
_LOOKS |= {"smoke", "status", "tokens", "verify"}
_DEEPER = {"vault"}  # its commands have one more word
_NOTHING_WRITTEN = (UsageError.exit_code, ManifestError.exit_code)
_ANSWERS = ("--json", "--yes", "-y", "--verbose")  # how it was run, not what it did
_SWITCHES = ("--help", "-h", "--version")


def note(arguments: Sequence[str], code: int) -> None:
    """Note a command line, up to its `--`, with the code it ended with. Never fails: the command's own end counts."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    typed = [word for word in own if word not in _ANSWERS]
    named = Path(typed[typed.index("--fleet") + 1]) if "--fleet" in typed[:-1] else None
    words = [word for word in typed if not word.startswith("-") and word != str(named)]
    command = words[: 3 if _DEEPER.intersection(words[:1]) else 2]
    if not words or _LOOKS.intersection(command) or {*_SWITCHES}.intersection(typed) or code in _NOTHING_WRITTEN:
        return
    from otobotctl import fleet
    from otobotctl.workflows import audit

    try:
        audit.note(fleet.find(named), typed, code)
    except UsageError:
        return  # no fleet, nothing to note
    except (OSError, OtobotError) as error:
        output.story(f"warning: the fleet's audit could not be written: {error}")
