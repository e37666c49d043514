"""A new login: it proves the changes that are on trial, and they are kept."""

from __future__ import annotations

from typing import Any, Dict

from otobotctl.agent import trial
from otobotctl.agent.run import Run


def probe(_params: Dict[str, Any]) -> Dict[str, Any]:
    """Answer {"waiting": trials that wait for a login, "restored": {trial: when it was taken back}}."""
    found = {name: trial.facts(name) for name in trial.names()}
    return {
        "waiting": sorted(name for name in found if found[name]["armed"]),
        "restored": {name: found[name]["restored"] for name in found if found[name]["restored"]},
    }


def apply(_params: Dict[str, Any], run: Run) -> None:
    """Keep what is on trial. Raises StepError when something of it has been taken back, or this login is no proof."""
    found = probe({})
    for name in sorted({*found["waiting"], *found["restored"]}):
        trial.confirm(name, run)
