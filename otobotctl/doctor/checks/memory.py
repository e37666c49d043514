"""Memory: what is left of it, and who was killed for want of it."""

from __future__ import annotations

from collections.abc import Iterator

from otobotctl.doctor.model import Case, Check, Finding, severity

WARNING, CRITICAL = 0.92, 0.97
_LOAD_PER_CPU = 2.0  # the average of a quarter of an hour


def judge(case: Case) -> Iterator[Finding]:
    """Too little left, too much to do, or a container that was killed for it and runs again."""
    facts, host = case.facts or {}, case.host.name
    total, available = facts["memory"]["total"], facts["memory"]["available"]
    if total and available is not None:
        taken = 1 - available / total
        if (how := severity(taken, WARNING, CRITICAL)) is not None:
            yield Finding(how, host, f"memory is {taken:.0%} full", f"ssh {case.host.address} docker stats --no-stream")
    if facts["load"][2] >= _LOAD_PER_CPU * (facts["cpus"] or 1):
        seen = f"load is {facts['load'][2]:g} on {facts['cpus']} CPUs"
        yield Finding("info", host, seen, f"ssh {case.host.address} top -bn1 | head -20")
    for each in facts["containers"]:
        if each["oom_killed"] and each["state"] == "running":
            client = each["project"].removeprefix("otobot-")
            more = f"raise clients.{client}.settings.{each['service']}.memory, then otobotctl client deploy {client}"
            remedy = more if client else f"ssh {case.host.address} docker stats --no-stream"
            yield Finding("warning", case.subject(each), "was killed for want of memory and started again", remedy)


CHECK = Check("memory", "There is memory left, and nobody was killed for it.", judge)
