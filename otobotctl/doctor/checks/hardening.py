"""What shuts the host is as the playbook says: firewall, Docker's wall, sshd, fail2ban, kernel settings, accounts."""

from __future__ import annotations

from collections.abc import Iterator

from otobotctl.doctor.model import Case, Check, Finding, Fix, Severity

_SHUTS = ("firewall", "sshd_config")  # on trial until a new login proves them
_WORST = ("firewall", "docker-wall", "sshd", "fail2ban", "daemon")


def judge(case: Case) -> Iterator[Finding]:
    """One finding a step that differs."""
    for planned in case.drift:
        step = planned.step
        change = planned.changes[0]
        how = (
            f"{change.what} {change.before or 'nothing'} should be {change.after or 'nothing'}" if change.before else ""
        )
        severity: Severity = "critical" if any(word in step.name for word in _WORST) else "warning"
        yield Finding(
            severity,
            case.host.name,
            f"{step.name} is not as the playbook says{f': {how}' if how else ''}"[:300],
            f"otobotctl host apply {case.host.name}",
            Fix(f"apply {step.name}", (step,), login=step.spec.kind in _SHUTS),
        )


CHECK = Check("hardening", "What shuts the host is as the playbook says.", judge)
