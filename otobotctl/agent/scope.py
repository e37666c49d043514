"""Moves a process out of its SSH session's control group, so that nothing that ends the session ends a run."""

from __future__ import annotations

import os
import subprocess
import time

_PATIENCE_S = 3.0


def enter(name: str) -> None:
    """Give this process a transient systemd scope of its own; where that cannot be had it stays where it is."""
    if not os.path.isdir("/run/systemd/system"):
        return
    manager = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
    call = ("StartTransientUnit", "ssa(sv)a(sa(sv))", name + ".scope", "fail")
    properties = ("3", "PIDs", "au", "1", str(os.getpid()), "Description", "s", "otobotctl run", "CollectMode", "s")
    argv = ("busctl", "--quiet", "call", *manager, *call, *properties, "inactive-or-failed", "0")
    deadline = time.monotonic() + _PATIENCE_S
    try:
        status = subprocess.call(argv, timeout=_PATIENCE_S)
    except (OSError, subprocess.TimeoutExpired):
        return
    # The answer is a job: the move itself comes a moment later, and a child born before it would stay behind.
    while status == 0 and name not in _group() and time.monotonic() < deadline:
        time.sleep(0.002)


def _group() -> str:
    with open("/proc/self/cgroup") as stream:
        return stream.read()
