"""A cgroup of its own for each host in every hierarchy, below the group this process is in, so that its limits still hold."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from tests.lab import processes
from tests.lab.shell import until

# What a container's /dev has, plus tun and fuse: making any node is allowed, opening this machine's disks is not.
_DEVICES = (
    *("c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm"),
    *("c 5:0 rwm", "c 5:1 rwm", "c 5:2 rwm", "c 136:* rwm", "c 10:200 rwm", "c 10:229 rwm"),
)
_UNIFIED = "unified"


def _mounts() -> dict[str, str]:
    """Where each controller is mounted; version 2 under the name `unified`."""
    mounts = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _source, options = rest.split()[:3]
        if kind == "cgroup2":
            mounts[_UNIFIED] = fields.split()[4]
        elif kind == "cgroup":
            mounts.update(dict.fromkeys(options.split(","), fields.split()[4]))
    return mounts


def directories(group: str) -> dict[str, Path]:
    """Return the directory of `group` (such as `lab/host`) in each hierarchy, by controller; nothing is made."""
    mounts, found = _mounts(), {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _number, controllers, path = line.split(":", 2)
        names = controllers.split(",") if controllers else [_UNIFIED]
        mount = next((mounts[name] for name in names if name in mounts), None)
        if mount:
            found[controllers or _UNIFIED] = Path(mount + path.rstrip("/")) / group
    return found


def make(group: str) -> list[Path]:
    """Make `group` in every hierarchy and return its directories."""
    found = directories(group)
    remove(found.values())  # a power cut leaves the groups of the host's own containers, which forbid new device rules
    for controllers, directory in found.items():
        for each in (directory.parent, directory):
            each.mkdir(exist_ok=True)
            if "cpuset" in controllers:
                _copy_cpuset(each)
        if controllers == "devices":
            (directory / "devices.deny").write_text("a")
            for rule in _DEVICES:
                (directory / "devices.allow").write_text(rule)
    return list(found.values())


def _copy_cpuset(directory: Path) -> None:
    """A new version 1 cpuset is empty and takes no process before it has processors and memory."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if not (directory / name).read_text().strip():
            (directory / name).write_text((directory.parent / name).read_text())
    (directory / "cgroup.clone_children").write_text("1")


def pids(group: str, unit: str = "") -> list[int]:
    """Return the processes in `group`, or only those of one systemd unit in it."""
    return pids_below(directories(group).values(), unit)


def pids_below(groups: Iterable[Path], unit: str = "") -> list[int]:
    """Return the processes in the groups of these directories and below them."""
    found: dict[int, None] = {}
    for directory in groups:
        # os.walk and not glob: groups go away while we look, and os.walk does not mind.
        for path, _directories, _files in os.walk(directory):
            if not unit or unit in Path(path).parts:
                with contextlib.suppress(OSError):
                    words = Path(path, "cgroup.procs").read_text().split()
                    found.update(dict.fromkeys(int(word) for word in words))
    return [pid for pid in found if pid]


def kill(groups: Iterable[Path]) -> None:
    """Kill everything in these groups until nothing is left in them."""
    groups = tuple(groups)

    def empty() -> bool:
        left = pids_below(groups)
        processes.kill(left)
        return not left

    until(empty, f"end of the processes in {groups}", 60)


def remove(groups: Iterable[Path]) -> None:
    """Take groups away; what still has a process in it stays."""
    for directory in groups:
        for path, _directories, _files in os.walk(directory, topdown=False):
            with contextlib.suppress(OSError):
                Path(path).rmdir()
