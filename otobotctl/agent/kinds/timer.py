"""A program run at set times, or no longer: one service unit, one timer unit."""

from __future__ import annotations

import os
from typing import Any, Dict, List

from otobotctl.agent import files, systemd
from otobotctl.agent.run import Run, StepError
from otobotctl.agent.shell import NOT_FOUND, ask

_PROPERTIES = ("ActiveState", "UnitFileState", "NeedDaemonReload")


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Answer `units` ({path: text or None}), the timer's `_active` and `enabled`, `stale`: systemd read older texts.

    Of a timer that shall be absent only `present`, the paths that are there: systemd is not asked.
    """
    if params.get("state") == "absent":
        return {"present": [path for path in params["paths"] if os.path.lexists(path)]}
    units = [params["name"] + suffix for suffix in (".timer", ".service")]
    timer, service = systemd.show_all(units, _PROPERTIES)
    return {
        "units": {path: files.text(path) for path in params["paths"]},
        "_active": timer.get("ActiveState", ""),
        "enabled": timer.get("UnitFileState", ""),
        "stale": "yes" in (timer.get("NeedDaemonReload"), service.get("NeedDaemonReload")),
    }


def apply(params: Dict[str, Any], run: Run) -> None:
    """Write both units, make systemd read them and switch the timer on. A time systemd cannot read changes nothing."""
    name = params["name"]
    if params.get("state") == "absent":
        _remove(name, params["paths"], run)
        return
    checked = ask(["systemd-analyze", "calendar", "--", params["on_calendar"]])
    if checked.status not in (0, NOT_FOUND):
        raise StepError(
            "{!r} is no time that systemd understands: {}".format(params["on_calendar"], checked.stderr.strip())
        )
    for path, text in sorted(params["units"].items()):
        if files.text(path) != text:
            files.write(path, text.encode(), 0o644)
            run.say("wrote {}".format(path))
    run.command(["systemctl", "daemon-reload"])
    run.command(["systemctl", "enable", "--", name + ".timer"])
    systemd.run_or_explain(run, name + ".timer", "start")


def _remove(name: str, paths: List[str], run: Run) -> None:
    """The timer first, so that it does not fire in between; what its program does right now comes to its own end."""
    ask(["systemctl", "disable", "--now", "--", name + ".timer"])  # it may be there in part
    for path in sorted(paths):
        files.remove(path)
        run.say("removed {}".format(path))
    run.command(["systemctl", "daemon-reload"])
    ask(["systemctl", "reset-failed", "--", name + ".service"])
