"""`init`: a new fleet."""

from __future__ import annotations

from pathlib import Path

from otobotctl import fleet


def init(directory: Path) -> fleet.Initialised:
    """Make a fleet in `directory`; whatever is there already is kept."""
    import json

    from otobotctl.workflows.manifest import schema

    return fleet.init_fleet(directory, schema=json.dumps(schema(), indent=2, ensure_ascii=False) + "\n")
