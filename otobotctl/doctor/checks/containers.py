"""Every container of every release runs, is healthy, and does not start again and again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from otobotctl.doctor import steps
from otobotctl.doctor.model import Case, Check, Finding, Fix
from otobotctl.render import layout

_HOUR_S = 3600.0
_SOON_S = 300.0  # up for longer than this, it may have got over it
_MANY = 3  # restarts of one container whose last start is less than an hour ago
_DOWN = ("exited", "dead", "created", "paused", "restarting", "removing")
_END = ("-init", "-migrate")  # such a container does its work and ends


def judge(case: Case) -> Iterator[Finding]:
    """One finding a service that is not as its release says, and one a container that keeps starting."""
    facts = case.facts or {}
    if facts["docker_error"] or not facts["docker"]:
        return
    for client, release in facts["releases"].items():
        if release["current"] is None:
            yield Finding("critical", client, "is not deployed", _deploy(case, client))
            continue
        here = case.containers(layout.project(client))
        for service, state in sorted(release["trouble"].items()):
            if state != "starting":  # that is for `stuck` to judge
                yield _trouble(case, client, service, state, [each for each in here if each["service"] == service])
        for each in here:
            age_s = _age_s(each, case.now)
            if each["restarts"] >= _MANY and each["state"] == "running" and age_s < _HOUR_S:
                yield Finding(
                    "warning" if age_s < _SOON_S else "info",
                    f"{client}/{each['service']}",
                    f"has been restarted {each['restarts']} times, last {age_s / 60:.0f} minutes ago{_why(each)}",
                    f"otobotctl logs {client} {each['service']}",
                )


def _trouble(case: Case, client: str, service: str, state: str, found: list[Mapping[str, Any]]) -> Finding:
    subject = f"{client}/{service}"
    if state == "not wanted":
        return Finding("warning", subject, "runs, and is no part of the release", _deploy(case, client))
    ends = service.endswith(_END)
    if state == "absent" or not found:
        step = (steps.run_again if ends else steps.release_up)(client, service)
        return Finding("critical", subject, "has no container", _deploy(case, client), Fix(f"start {subject}", (step,)))
    worst = next((each for each in found if each["state"] in _DOWN or each["health"] == "unhealthy"), found[0])
    step = steps.run_again(client, service) if ends and worst["state"] == "exited" else steps.restarted(worst)
    logs = f"otobotctl logs {client} {service}"
    return Finding("critical", subject, f"is {state}{_why(worst)}", logs, Fix(f"restart {subject}", (step,)))


def _why(container: Mapping[str, Any]) -> str:
    if container["oom_killed"]:
        return "; it was killed for want of memory: raise its setting memory"
    return f"; Docker says: {container['error']}" if container["error"] else ""


def _age_s(container: Mapping[str, Any], now: float) -> float:
    try:
        # Docker counts nanoseconds, of which Python reads six digits.
        text = str(container["started"])[:19] + "+00:00"
        return now - datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


def _deploy(case: Case, client: str) -> str:
    return f"otobotctl host apply {case.host.name}" if client == layout.FRONT else f"otobotctl client deploy {client}"


CHECK = Check("containers", "Every container runs, is healthy and stays up.", judge)
