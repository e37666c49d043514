"""`init`: a new fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otobotctl import fleet

if TYPE_CHECKING:
    from pathlib import Path


def init(directory: Path) -> fleet.Initialised:
    """Make a fleet in `directory`; whatever is there already is kept."""
    return fleet.init_fleet(directory)
