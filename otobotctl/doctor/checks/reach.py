"""The host answers at all, its last run ended well, and it has not been restarted half-way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from otobotctl.doctor import steps
from otobotctl.doctor.model import Case, Check, Finding

_DAY_S: Final = 86400.0


def judge(case: Case) -> Iterator[Finding]:
    """A host that cannot be asked; a run that failed; a reboot that a package waits for."""
    host = case.host.name
    if case.facts is None:
        yield Finding(
            "critical", host, f"cannot be asked: {case.unreachable}", case.remedy or f"ssh {case.host.address}"
        )
        return
    if case.last and case.last["state"] in {"failed", "died"}:
        yield from _failed(case, case.last)
    if case.facts["reboot_required"]:
        yield Finding(
            "info",
            host,
            "a package asked for a reboot",
            f"ssh {case.host.address} sudo systemctl reboot, when nobody works",
        )


def _failed(case: Case, last: Mapping[str, Any]) -> Iterator[Finding]:
    """A run that did not end well. One that had nothing left to do leaves no other behind, so it is told for a day."""
    step = last["step"] or ""
    if step.startswith(steps.PREFIX):
        return  # a fix of this doctor's: what it was for, its own check looks at now
    where, age_s = f" in {step}" if step else "", case.now - last["at"]
    yield Finding(
        "warning" if age_s < _DAY_S else "info",
        case.host.name,
        f"the last run there {last['state']}{where}, {age_s / 3600:.0f} hours ago",
        f"otobotctl host apply {case.host.name}",
    )


CHECK = Check("reach", "The host answers, and its last run ended well.", judge, needs="fleet")
