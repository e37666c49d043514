"""The host's clock is right: tokens, certificates and one-time passwords go by it."""

from __future__ import annotations

from collections.abc import Iterator

from otobotctl.doctor import steps
from otobotctl.doctor.model import Case, Check, Finding, Fix, severity

WARNING_S, CRITICAL_S = 5.0, 60.0  # one-time passwords allow about 30
_IS_ON = '[ "$(timedatectl show --property=NTP --value)" = yes ]'
_ON = f"timedatectl set-ntp true && n=0 && until {_IS_ON}; do n=$((n+1)); [ $n -lt 20 ] || exit 1; sleep 1; done"


def judge(case: Case) -> Iterator[Finding]:
    """Too far from the operator's clock, or kept right by nothing."""
    host = case.host.name
    sync = Fix("keep the clock right by NTP", (steps.shell("clock", _ON, unless=_IS_ON),))
    remedy = f"ssh {case.host.address} sudo timedatectl set-ntp true"
    # What the way there took could be all in one direction.
    apart = max(0.0, abs(case.clock_s) - case.doubt_s)
    ahead = "ahead of" if case.clock_s > 0 else "behind"
    if (how := severity(apart, WARNING_S, CRITICAL_S)) is not None:
        yield Finding(how, host, f"its clock is {abs(case.clock_s):.0f} s {ahead} this machine's", remedy, sync)
    elif (case.facts or {})["clock"]["synchronised"] is False:
        yield Finding("warning", host, "nothing keeps its clock right", remedy, sync)


CHECK = Check("clock", "The clock is right, and kept so.", judge)
