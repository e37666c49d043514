"""What of a host's state an operator should look at. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from otobotctl.workflows import certificates

if TYPE_CHECKING:
    from otobotctl.workflows.status import Release

DISK_FULL = 0.85
MEMORY_FULL = 0.92
LOAD_PER_CPU = 2.0  # the average of a quarter of an hour


def attention(
    machine: Mapping[str, Any], releases: Sequence[Release], last: Mapping[str, Any] | None
) -> tuple[str, ...]:
    """One line for everything that is not well, the machine's first."""
    return (*_machine(machine), *_last(last), *(line for each in releases for line in _release(each)))


def due(days: float) -> str:
    """When a secret is to be rotated, in words."""
    return f"overdue by {-days:.0f} days" if days < 0 else f"due in {days:.0f} days"


def share_used(of: Mapping[str, Any]) -> float | None:
    """How much of a memory, swap or disk is taken, 0 to 1; None where it is not known. A disk as `df` tells it."""
    available = of.get("available")
    total = of["used"] + available if "used" in of else of.get("total")
    return None if available is None or not total else 1 - available / total


def _machine(machine: Mapping[str, Any]) -> Iterator[str]:
    for disk in machine["disks"]:
        used = share_used(disk)
        if used is not None and used >= DISK_FULL:
            yield f"disk {disk['path']} is {used:.0%} full"
        if disk["inodes"] and 1 - disk["inodes_free"] / disk["inodes"] >= DISK_FULL:
            yield f"disk {disk['path']} has {disk['inodes_free']} inodes left"
    memory = share_used(machine["memory"])
    if memory is not None and memory >= MEMORY_FULL:
        yield f"memory is {memory:.0%} full"
    if machine["load"][2] >= LOAD_PER_CPU * (machine["cpus"] or 1):
        yield f"load is {machine['load'][2]:g} on {machine['cpus']} CPUs"
    if machine["reboot_required"]:
        yield "a reboot is required"
    if machine["docker_error"]:
        yield f"containers cannot be looked at: {machine['docker_error']}"


def _last(last: Mapping[str, Any] | None) -> Iterator[str]:
    if last and last["state"] in {"failed", "died"}:
        where = f" in {last['step']}" if last["step"] else ""
        yield f"the last run {last['state']}{where}"


def _release(release: Release) -> Iterator[str]:
    if release.release is None:
        yield f"{release.client} is not deployed"
        return
    for service, state in sorted(release.trouble.items()):
        yield f"{release.client}: {service} is {state}"
    if release.matches is False:
        yield f"{release.client}: release {release.release} is not what the fleet says"
    if release.certificate_days is not None and release.certificate_due:
        days = release.certificate_days
        when = f"ended {-days:.0f} days ago" if days < 0 else f"ends in {days:.{0 if days >= 1 else 1}f} days"
        yield f"{release.client}: a certificate {when}, and was not renewed"
    if release.certificate not in {"", certificates.SELF_SIGNED}:
        said = "no certificate is served:" if release.certificate_days is None else "its certificate is"
        yield f"{release.client}: {said} {release.certificate}"
    if release.secrets_due:
        worst = release.secrets_due[0]
        yield f"{release.client}: {len(release.secrets_due)} secrets to rotate, {worst.name} {due(worst.days)}"
