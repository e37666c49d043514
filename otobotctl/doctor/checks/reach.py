"""The host answers at all, its last run ended well, and it has not been restarted half-way."""

from __future__ import annotations

from collections.abc import Iterator

from otobotctl.doctor.model import Case, Check, Finding


def judge(case: Case) -> Iterator[Finding]:
    """A host that cannot be asked; a run that failed; a reboot that a package waits for."""
    host = case.host.name
    if case.facts is None:
        yield Finding(
            "critical", host, f"cannot be asked: {case.unreachable}", case.remedy or f"ssh {case.host.address}"
        )
        return
    if case.last and case.last["state"] in {"failed", "died"}:
        where = f" in {case.last['step']}" if case.last["step"] else ""
        yield Finding(
            "warning", host, f"the last run there {case.last['state']}{where}", f"otobotctl host apply {host}"
        )
    if case.facts["reboot_required"]:
        yield Finding(
            "info",
            host,
            "a package asked for a reboot",
            f"ssh {case.host.address} sudo systemctl reboot, when nobody works",
        )


CHECK = Check("reach", "The host answers, and its last run ended well.", judge, needs="fleet")
