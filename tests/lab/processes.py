"""Processes by pid AND start time: a pid that was given to somebody else meanwhile is never taken for ours."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterable
from pathlib import Path


def started(pid: int) -> str | None:
    """Return the start time (clock ticks since boot) of a live process, None for a dead one."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    # A leader may be a zombie while other threads still hold files.
    if fields[0] in "ZX" and not _has_threads(pid):
        return None
    return fields[19]


def _has_threads(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
    return False


def alive(pid: int, start: str) -> bool:
    """Return whether the process that had `pid` at `start` still runs."""
    return started(pid) == start


def kill(pids: Iterable[int], sign: signal.Signals = signal.SIGKILL) -> None:
    """Signal each of `pids`; those gone already are no error."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sign)


def comm(pid: int) -> str:
    """Return the short name of a process, empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def command_line(pid: int) -> str:
    """Return the command line of a process, its words joined by spaces; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def is_init(pid: int) -> bool:
    """Return whether the process is number 1 in a pid namespace of its own."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    return bool(re.search(r"^NSpid:(\s+\d+)+\s+1$", status, re.MULTILINE))
