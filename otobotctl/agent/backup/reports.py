"""Tells of a run that failed, and of one that went well again: a webhook, mail, and figures for Prometheus.

Whoever is told sees client, host, targets, messages and remedies; no address of a webhook and no credential is in any
of it. What cannot be told fails no run: the journal of systemd has it all.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

from otobotctl.agent import files
from otobotctl.agent.backup import state
from otobotctl.agent.backup.shapes import Job
from otobotctl.agent.run import StepError

METRICS = "/var/lib/prometheus/node-exporter"
SENDMAIL = ("/usr/sbin/sendmail", "/usr/lib/sendmail")
_POST_S = 10
_MAIL_S = 30
_FAMILIES = (
    ("success", "Whether the last run went well."),
    ("last_attempt_timestamp_seconds", "When the last run began."),
    ("last_success_timestamp_seconds", "When the newest archive began."),
    ("duration_seconds", "How long the newest archive took."),
    ("size_bytes", "How large the newest archive is, before deduplication."),
    ("added_bytes", "By how much the newest archive made the repository grow."),
    ("rpo_seconds", "How old the newest archive may be."),
)
_DRILL = (
    ("ok", "success", "Whether the last drill proved its archive."),
    ("at", "timestamp_seconds", "When the last drill began."),
    ("took_s", "duration_seconds", "How long its restore took: the measured RTO."),
    ("rpo_s", "rpo_seconds", "How much work a disaster at the worst moment of the week before it would have cost."),
)


def report(job: Job, reason: str, results: Sequence[Mapping[str, Any]], before: Mapping[str, Any]) -> List[str]:
    """Tell of what failed now, or went well after it had failed `before` (a state); return what could not be told."""
    failed = [each for each in results if each["error"]]
    well = [each for each in results if not each["error"] and _had_failed(before, each["target"])]
    if not failed and not well:
        return []
    told = {
        "event": "backup_failed" if failed else "backup_recovered",
        "client": job["client"],
        "host": socket.gethostname(),
        "at": round(time.time(), 3),
        "reason": reason,
        "targets": [{"name": each["target"], **each["error"]} for each in failed]
        or [{"name": each["target"]} for each in well],
    }
    told["text"] = words(told)
    problems = []
    if job["webhook"]:
        problems += _post(job["webhook"], told)
    if job["mail"]:
        problems += _mail(job["mail"], told)
    return problems


class Late(NamedTuple):
    """A target, why it fails (None: it does not), whether it has for too long, and whether somebody was told so."""

    target: str
    error: Optional[Mapping[str, str]]
    late: bool
    told: bool


def turned(job: Job, reason: str, found: Sequence[Late]) -> List[str]:
    """Tell once of what is late, and once that it is no longer; return what could not be told."""
    news = [each for each in found if each.late != each.told]
    results = [{"target": each.target, "error": each.error if each.late else None} for each in news]
    before = {each.target: {"attempt": {"error": "late"}} for each in news if each.told}
    return report(job, reason, results, {"targets": before})


def words(told: Mapping[str, Any]) -> str:
    """The same for people."""
    if told["event"] == "backup_recovered":
        names = ", ".join(each["name"] for each in told["targets"])
        return "{}: the backup on {} works again ({})".format(told["client"], told["host"], names)
    lines = ["{}: the backup on {} failed ({})".format(told["client"], told["host"], told["reason"])]
    lines += ["{name}: {message}\n  {remedy}".format(**each) for each in told["targets"]]
    return "\n".join(lines)


def _had_failed(before: Mapping[str, Any], target: str) -> bool:
    attempt = ((before.get("targets") or {}).get(target) or {}).get("attempt")
    return bool(attempt and attempt["error"])


def _post(url: str, told: Mapping[str, Any]) -> List[str]:
    import http.client
    import urllib.request

    body, kind = json.dumps(told).encode(), {"Content-Type": "application/json"}
    try:
        asked = urllib.request.Request(url, body, kind, method="POST")
        with urllib.request.urlopen(asked, timeout=_POST_S):
            return []
    except (OSError, ValueError, http.client.HTTPException) as error:
        status = getattr(error, "code", "")  # its text may hold the address, and the address a token
        return [
            "the webhook did not take it ({}{})".format(type(error).__name__, " {}".format(status) if status else "")
        ]


def _mail(to: str, told: Mapping[str, Any]) -> List[str]:
    from email.message import EmailMessage

    program = next((path for path in SENDMAIL if os.access(path, os.X_OK)), None)
    if program is None:
        return ["no mail was sent: this host has no sendmail"]
    message = EmailMessage()
    message["To"], message["Subject"] = to, told["text"].splitlines()[0]
    message.set_content(told["text"] + "\n")
    try:
        done = subprocess.run(
            [program, "-i", "--", to], input=bytes(message), timeout=_MAIL_S, check=False,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return ["no mail was sent ({})".format(type(error).__name__)]
    return ["no mail was sent: sendmail ended with {}".format(done.returncode)] if done.returncode else []


def publish(job: Job, known: Mapping[str, Any], folder: str = METRICS) -> None:
    """Write the figures of a client for node_exporter, where that is here."""
    if not os.path.isdir(folder):
        return
    path = os.path.join(folder, "otobot-backup-{}.prom".format(job["client"]))
    user, group = files.me()
    with contextlib.suppress(OSError, StepError):
        files.write(path, metrics(job, known).encode(), 0o644, user, group)


def metrics(job: Job, known: Mapping[str, Any]) -> str:
    """A client's state as Prometheus reads it; what is not known has no line."""
    lines = []
    values = {each["name"]: _values(job, state.of_target(dict(known), each["name"])) for each in job["targets"]}
    for family, meaning in _FAMILIES:
        lines += ["# HELP otobot_backup_{} {}".format(family, meaning), "# TYPE otobot_backup_{} gauge".format(family)]
        for name, found in values.items():
            if found[family] is not None:
                labels = 'client="{}",target="{}"'.format(job["client"], name)
                lines.append("otobot_backup_{}{{{}}} {}".format(family, labels, found[family]))
    drill = known.get("drill") or {}
    for key, family, meaning in _DRILL:
        if drill.get(key) is not None:
            name = "otobot_backup_drill_" + family
            lines += ["# HELP {} {}".format(name, meaning), "# TYPE {} gauge".format(name)]
            lines.append('{}{{client="{}"}} {}'.format(name, job["client"], float(drill[key])))
    return "\n".join([*lines, ""])


def _values(job: Job, target: Mapping[str, Any]) -> Dict[str, Any]:
    archive, attempt = target["archive"] or {}, target["attempt"] or {}
    return {
        "success": int(not attempt["error"]) if attempt else None,
        "last_attempt_timestamp_seconds": attempt.get("at"),
        "last_success_timestamp_seconds": archive.get("made"),
        "duration_seconds": archive.get("took_s"),
        "size_bytes": archive.get("bytes"),
        "added_bytes": archive.get("added"),
        "rpo_seconds": job["rpo_s"],
    }
