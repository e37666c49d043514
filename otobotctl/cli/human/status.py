"""The fleet's state on one screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otobotctl.cli import output
from otobotctl.cli.human import amounts

if TYPE_CHECKING:
    from otobotctl.workflows.status import HostStatus, Release, Status


def screen(found: Status) -> str:
    """Hosts, what runs on them, and what to look at."""
    parts = [
        output.table(("HOST", "STATE", "UP", "LOAD", "MEMORY", "DISK", "LAST RUN"), [_host(h) for h in found.hosts])
    ]
    rows = [_release(host, release) for host in found.hosts for release in host.releases]
    if rows:
        head = ("CLIENT", "HOST", "RELEASE", "CONTAINERS", "CERTIFICATE", "SECRETS", "LAST ARCHIVE")
        parts.append(output.table(head, rows))
    if lines := [f"{host.host}: {line}" for host in found.hosts for line in host.attention]:
        parts.append("\n".join(lines))
    parts.append(f"{amounts.hosts([host.state for host in found.hosts])}; {found.at}")
    return "\n\n".join(parts)


def _host(host: HostStatus) -> tuple[str, ...]:
    if host.machine is None:
        return (host.host, host.state, "-", "-", "-", "-", "-")
    machine = host.machine
    return (
        host.host,
        host.state,
        amounts.duration(machine["uptime_s"]),
        f"{machine['load'][0]:g} of {machine['cpus']}",
        amounts.used(machine["memory"]),
        amounts.fullest(machine["disks"]),
        last_run(host.last),
    )


def _release(host: HostStatus, release: Release) -> tuple[str, ...]:
    return (
        release.client,
        host.host,
        release_words(release),
        containers(release),
        certificate(release).partition(", not ")[0],  # a line of its own tells the rest
        due(release),
        last_archive(release),
    )


def release_words(release: Release) -> str:
    """The number, and whether it is what the fleet says."""
    if release.release is None:
        return "none"
    said = {True: "as the fleet says", False: "differs", None: "not compared (no key)"}[release.matches]
    return f"{release.release}, {said}"


def containers(release: Release) -> str:
    """How many services are well, and those that are not."""
    if not release.services and not release.trouble:
        return "-"
    wrong = [f"{name} {state}" for name, state in sorted(release.trouble.items())]
    total = len(release.services.keys() | release.trouble.keys())
    return ", ".join([f"{total - len(wrong)} of {total} well", *wrong])


def certificate(release: Release) -> str:
    """Days left, and who issued it or what is wrong with it."""
    left = release.certificate_days
    days = "" if left is None else f"{left:.{0 if left >= 1 else 1}f} days"
    return ", ".join(word for word in (days, release.certificate or release.certificate_issuer) if word) or "-"


def due(release: Release) -> str:
    """How many secrets are to be rotated."""
    return f"{len(release.secrets_due)} due" if release.secrets_due else "-"


def last_archive(release: Release) -> str:
    """How old the last archive is; the proxy needs none."""
    if release.archive is None:
        return "never"
    return amounts.duration(release.archive["age_s"]) if release.archive else "-"


def last_run(last: Any) -> str:
    """How the newest run ended, and when."""
    return f"{last['state']} {amounts.moment(last['at'])}" if last else "none"
