"""What an incident left behind: a host that is isolated still, addresses that are held off, rules that do not hold."""

from __future__ import annotations

from collections.abc import Iterator

from otobotctl.doctor import steps
from otobotctl.doctor.model import Case, Check, Finding, Fix


def judge(case: Case) -> Iterator[Finding]:
    """An isolation is never forgotten; a shield that is not in force is as bad as none."""
    shield, host = (case.facts or {})["shield"], case.host.name
    if shield["isolated"] is not None:
        seen = f"is isolated: only SSH from {', '.join(shield['isolated'])} comes in"
        yield Finding("warning", host, seen, f"otobotctl incident release {host}")
    if shield["restored"]:
        seen = f"an isolation was taken back at {shield['restored']}, because no new login came in time"
        yield Finding("warning", host, seen, f"otobotctl incident release {host}")
    if not shield["enforced"]:
        step = steps.shell("shield", "otobot-shield", unless="otobot-shield check")
        fix = Fix("put the shield in force", (step,))
        yield Finding("critical", host, "its shield is not in force", f"otobotctl doctor {host} --fix", fix)
    held = sorted(address for address, until in shield["blocked"].items() if not until or until > case.now)
    if held:
        yield Finding("info", host, f"holds off {', '.join(held)}", f"otobotctl incident release {host} --all")


CHECK = Check("shield", "No incident's shield is forgotten, or not in force.", judge)
