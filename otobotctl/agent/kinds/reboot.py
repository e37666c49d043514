"""A reboot, when something on the host asks for one."""

from __future__ import annotations

import os
import time
from typing import Any, Dict

from otobotctl.agent.run import Run

BOOT_ID = "/proc/sys/kernel/random/boot_id"
KERNEL_LINKS = ("/vmlinuz", "/boot/vmlinuz")  # Debian, Ubuntu: each points at the newest installed kernel


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Answer {"boot_id", "required", "kernel": the newer installed kernel or ""}."""
    newer = _newer_kernel() if params.get("kernel") else ""
    path = params.get("path")
    required = bool(newer) or (path is not None and _asks(path))
    with open(BOOT_ID) as stream:
        return {"boot_id": stream.read().strip(), "required": required, "kernel": newer}


def apply(params: Dict[str, Any], run: Run) -> None:
    """Ask for a reboot at the end of the run, when one is (still) required."""
    found = probe(params)
    if not found["required"]:
        return
    run.say("reboot asked for" + (", for kernel {}".format(found["kernel"]) if found["kernel"] else ""))
    run.reboot()


def _asks(path: str) -> bool:
    # A path on a disk outlives the reboot it asked for; older than this boot, it has been answered.
    try:
        return os.stat(path).st_mtime > _booted_at()
    except FileNotFoundError:
        return False


def _booted_at() -> float:
    """When process 1 started, in Unix seconds: in a container too, where the machine booted long before."""
    with open("/proc/1/stat") as stream:
        ticks = int(stream.read().rpartition(")")[2].split()[19])
    # Not btime of /proc/stat: whole seconds, and a reboot of a container takes little more than one.
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")


def _newer_kernel() -> str:
    running = os.uname().release
    for link in KERNEL_LINKS:
        if os.path.islink(link):
            installed = os.path.basename(os.path.realpath(link)).partition("-")[2]
            return installed if installed and installed != running else ""
    return ""
