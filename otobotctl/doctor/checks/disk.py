"""Room on the disks, in bytes and in inodes."""

from __future__ import annotations

from collections.abc import Iterator

from otobotctl.doctor import steps
from otobotctl.doctor.model import Case, Check, Finding, Fix, severity

WARNING, CRITICAL = 0.85, 0.95
_TIDY = (
    "docker image prune --force >/dev/null 2>&1; docker builder prune --force >/dev/null 2>&1; apt-get clean; "
    "journalctl --vacuum-size=200M --quiet; touch /run/otobot/tidied"
)


def judge(case: Case) -> Iterator[Finding]:
    """A disk of which more than this share is taken."""
    host = case.host.name
    tidy = steps.shell("tidy", _TIDY, unless='[ -n "$(find /run/otobot/tidied -newermt "-30 seconds" 2>/dev/null)" ]')
    # Images that nothing is made of, packages that can be fetched again, old lines of the journal: never data.
    fix = Fix("remove unused image layers, downloaded packages and old journal", (tidy,))
    for disk in (case.facts or {})["disks"]:
        remedy = f"ssh {case.host.address} sudo du -xh --max-depth=2 {disk['path']} | sort -h | tail"
        taken = disk["used"] / ((disk["used"] + disk["available"]) or 1)
        inodes = 1 - disk["inodes_free"] / disk["inodes"] if disk["inodes"] else 0.0
        for share, of in ((taken, "full"), (inodes, "full of inodes")):
            if (how := severity(share, WARNING, CRITICAL)) is not None:
                yield Finding(how, host, f"disk {disk['path']} is {share:.0%} {of}", remedy, fix)


CHECK = Check("disk", "There is room on every disk.", judge)
