"""Memory: what is left of it, and who was killed for want of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from otobotctl.doctor.model import Case, Check, Finding, severity
from otobotctl.render import layout

WARNING, CRITICAL = 0.92, 0.97
_LOAD_PER_CPU = 2.0  # the average of a quarter of an hour


def judge(case: Case) -> Iterator[Finding]:
    """Too little left, too much to do, or somebody who was killed for it."""
    facts, host = case.facts or {}, case.host.name
    total, available = facts["memory"]["total"], facts["memory"]["available"]
    if total and available is not None:
        taken = 1 - available / total
        if (how := severity(taken, WARNING, CRITICAL)) is not None:
            yield Finding(how, host, f"memory is {taken:.0%} full", f"ssh {case.host.address} docker stats --no-stream")
    if facts["load"][2] >= _LOAD_PER_CPU * (facts["cpus"] or 1):
        seen = f"load is {facts['load'][2]:g} on {facts['cpus']} CPUs"
        yield Finding("info", host, seen, f"ssh {case.host.address} top -bn1 | head -20")
    yield from _killed(case)


def _killed(case: Case) -> Iterator[Finding]:
    """Docker knows of a kill in a container that runs on; what was started again for it, only the kernel remembers."""
    facts = case.facts or {}
    kills: dict[str, list[Mapping[str, Any]]] = {}
    for kill in facts.get("killed", ()):
        kills.setdefault(kill["container"], []).append(kill)
    for each in facts["containers"]:
        here = kills.get(each["id"], [])
        if each["state"] == "running" and (here or each["oom_killed"]):
            who = here[-1]["task"] if here else "a process in it"
            yield Finding("warning", case.subject(each), f"{who} was killed for want of memory", _more(case, each))
    if own := kills.get("", []):
        seen = f"the kernel killed {own[-1]['task']} for want of memory, {len(own)} kill{'s' * (len(own) > 1)} in a day"
        yield Finding("warning", case.host.name, seen, f"ssh {case.host.address} docker stats --no-stream")


def _more(case: Case, container: Mapping[str, Any]) -> str:
    """How its container gets more; a new one begins with a clean record."""
    client, service = container["project"].removeprefix("otobot-"), container["service"]
    if not client:
        return f"ssh {case.host.address} docker stats --no-stream"
    if client == layout.FRONT:
        return f"raise defaults.settings.{service}.memory, then otobotctl host apply {case.host.name}"
    return f"raise clients.{client}.settings.{service}.memory, then otobotctl client deploy {client}"


CHECK = Check("memory", "There is memory left, and nobody was killed for it.", judge)
