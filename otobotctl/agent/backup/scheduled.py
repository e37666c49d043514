"""What is planned of a client's backups on this host: whether each repository is there, and when each unit is next."""

from __future__ import annotations

import calendar
import contextlib
import os
import time
from typing import Any, Dict, List, Optional, Sequence

from otobotctl.agent import systemd
from otobotctl.agent.backup import state
from otobotctl.agent.backup.places import BackupPlaces, JobError, read_job
from otobotctl.agent.backup.remedies import failure
from otobotctl.agent.backup.restic import Restic, ResticError
from otobotctl.agent.backup.runner import reach
from otobotctl.agent.backup.shapes import Target, unit
from otobotctl.agent.run import ProbeError
from otobotctl.agent.shell import ask
from otobotctl.agent.wire import Wire

_ANSWER_S = 60.0
_WORDS = ("run", "verify", "drill")


def serve(here: BackupPlaces, targets: Sequence[str], init: bool, wire: Wire) -> None:
    """Send a record for each target, as it answers, and {"planned": {...}} last.

    With `init` a repository that was never there is made. A client without a job here has "deployed": False.
    """
    told: Dict[str, Any] = {"client": here.client, "deployed": False, "public_key": "", "next": {}}
    with contextlib.suppress(JobError):
        chosen = [each for each in read_job(here)["targets"] if not targets or each["name"] in targets]
        for target in chosen:
            wire.send({"repository": repository(here, target, init)})
        told.update(deployed=True, public_key=_public_key(here), next=_next(here.client))
    wire.send({"planned": told})


def repository(here: BackupPlaces, target: Target, init: bool) -> Dict[str, Any]:
    """One repository: `ready`, or the error that there is; `made` by this call."""
    restic = Restic.of(here, target)
    known = state.of_target(state.read(here.note), target["name"])["archive"] is not None
    told: Dict[str, Any] = {"target": target["name"], "ready": False, "made": False, "error": None}
    try:
        restic.run("cat", "config", "--no-lock", timeout_s=_ANSWER_S)
        return dict(told, ready=True)
    except ResticError as error:
        told["error"] = failure(error.kind, str(error), here.client, target["name"])
        if error.kind != "absent" or known or not init:
            return dict(told, ready=False, never=error.kind == "absent" and not known)
    try:
        here.prepare()
        reach(restic, target, known)
    except ResticError as error:
        return dict(told, error=failure(error.kind, str(error), here.client, target["name"]))
    return dict(told, ready=True, made=True, error=None)


def _public_key(here: BackupPlaces) -> str:
    """The public half of the key for SFTP storages, "" where there is none."""
    path = os.path.join(here.home, "id_ed25519")
    answer = ask(["ssh-keygen", "-y", "-f", path]) if os.path.exists(path) else None
    if answer is None or answer.status:
        return ""
    return "{} otobot-backup-{}".format(" ".join(answer.stdout.split()[:2]), here.client)


def _next(client: str) -> Dict[str, Optional[float]]:
    return dict(zip(_WORDS, starts([unit(client, word) for word in _WORDS])))


def starts(units: Sequence[str]) -> List[Optional[float]]:
    """When the timer of each unit starts it next, in Unix seconds; None: never, or nobody knows."""
    os.environ["TZ"] = "UTC"  # how systemctl writes times
    shown: List[Dict[str, str]] = [{} for _ in units]
    with contextlib.suppress(ProbeError):
        shown = systemd.show_all([each + ".timer" for each in units], ["NextElapseUSecRealtime"])
    return [_moment(each.get("NextElapseUSecRealtime", "")) for each in shown]


def _moment(said: str) -> Optional[float]:
    try:
        return float(calendar.timegm(time.strptime(said, "%a %Y-%m-%d %H:%M:%S UTC")))
    except ValueError:
        return None
