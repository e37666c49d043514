"""Pages that a command writes beside its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otobotctl.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from otobotctl.cli.session import Session


def write(here: Session, file: Path, page: str, mode: int = 0o644) -> None:
    """Write a page, whole or not at all. Raises UsageError: it cannot be written there."""
    from otobotctl import atomic

    try:
        atomic.write(file, page.encode(), mode)
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}", hint="name another file") from error
    here.say(f"wrote {file}")
