"""A client's data brought back from an archive."""

from __future__ import annotations

from typing import Any, Dict

from otobotctl.agent.run import Run


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Answer run and request of the client's last restore that succeeded, at (Unix seconds), and _restored (all of it).

    Also _left: the id of an archive whose restore was killed and not yet put right, "" where there is none.
    """
    from otobotctl.agent.backup import state
    from otobotctl.agent.backup.course import Course
    from otobotctl.agent.backup.places import BackupPlaces

    places = BackupPlaces(params["client"])
    known = state.read(places.note)["restored"] or {}
    try:
        left = Course.left(places.restoring)
    except (OSError, ValueError):
        left = None
    return {
        "run": known.get("run", ""),
        "request": known.get("request", ""),
        "at": known.get("at", 0.0),
        "_restored": known,
        "_left": left.about["id"] if left else "",
    }


def apply(params: Dict[str, Any], run: Run) -> None:
    """Restore. Raises StepError; with the code TAKEN_BACK what was there before is up and healthy again."""
    from otobotctl.agent.backup.restores import restore

    restore({**params, "who": run.who}, run.say)
