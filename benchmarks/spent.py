"""CPU time and memory that processes have taken, from the kernel's own books."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Done:
    """One command, run to its end. Memory is the most that it had at once."""

    status: int
    stdout: str
    stderr: str
    took_s: float
    own_cpu_s: float
    children_cpu_s: float
    peak_rss_mb: float


_TELL = """
import json, os, resource, runpy, sys
path, sys.argv = sys.argv[1], ["otobotctl", *sys.argv[2:]]
status = 1
try:
    runpy.run_module("otobotctl", run_name="__main__")
except SystemExit as end:
    status = end.code
finally:
    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    with open(path, "w") as stream:
        # Not ru_maxrss: the kernel counts in it what the process that started us had.
        peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:"))
        json.dump([own.ru_utime + own.ru_stime, others.ru_utime + others.ru_stime, peak], stream)
sys.exit(status)
"""


def measured(python: str, arguments: Sequence[str], environment: Mapping[str, str], work: Path) -> Done:
    """Run otobotctl as a process of its own that tells, at its end, what it and its children took."""
    import json
    import subprocess

    told = work / "told.json"
    begun = time.perf_counter()
    done = subprocess.run(
        [python, "-c", _TELL, str(told), *arguments],
        env=dict(environment),
        cwd=work,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    took_s = time.perf_counter() - begun
    own, children, kilobytes = json.loads(told.read_text())
    return Done(done.returncode, done.stdout, done.stderr, took_s, own, children, kilobytes / 1024)


def by_namespace(namespaces: Collection[str]) -> float:
    """CPU seconds of all processes in these pid namespaces; those that ended are in their parents' account."""
    total = 0
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # it ended meanwhile
            if str((process / "ns" / "pid").readlink()) in namespaces:
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                total += sum(int(field) for field in fields[11:15])
    return total / _TICKS
