"""What Prometheus reads of a client's log."""

from __future__ import annotations

import contextlib
import os
from typing import Any, Mapping

from otobotctl.agent import files
from otobotctl.agent.backup import reports
from otobotctl.agent.backup.pitr import here
from otobotctl.agent.backup.shapes import Job
from otobotctl.agent.run import StepError

_FAMILIES = (
    ("covered_timestamp_seconds", "Until when all that was committed is in the repository."),
    ("success", "Whether the log was last sent well."),
)


def publish(job: Job, note: Mapping[str, Any]) -> None:
    """Write them for node_exporter, where that is here."""
    if not os.path.isdir(reports.METRICS):
        return
    path = os.path.join(reports.METRICS, "otobot-backup-{}-pitr.prom".format(job["client"]))
    user, group = files.me()
    with contextlib.suppress(OSError, StepError):
        files.write(path, metrics(job, note).encode(), 0o644, user, group)


def metrics(job: Job, note: Mapping[str, Any]) -> str:
    """The figures of each target."""
    lines = []
    known = {each["name"]: here.of_target(note, here.LOG, each["name"]) for each in job["targets"]}
    for family, meaning in _FAMILIES:
        name = "otobot_backup_pitr_" + family
        lines += ["# HELP {} {}".format(name, meaning), "# TYPE {} gauge".format(name)]
        for target, found in known.items():
            value = int(not found["error"]) if family == "success" else found["covers"]
            lines.append('{}{{client="{}",target="{}"}} {}'.format(name, job["client"], target, value))
    return "\n".join([*lines, ""])
