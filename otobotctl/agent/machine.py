"""The machine itself: load, memory, disks, uptime. Reads files only, so that it costs next to nothing."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Set

_PLACES = ("/", "/var", "/var/lib/docker", "/opt", "/home", "/boot")  # where a full disk would stop something


def state() -> Dict[str, Any]:
    """Answer system, kernel, uptime_s, load (1, 5 and 15 minutes), cpus, memory and swap (bytes), disks, and more.

    reboot_required is True where a package asked for one. A value that this system does not tell is None.
    """
    memory = meminfo(_text("/proc/meminfo"))
    uptime = _text("/proc/uptime").split()
    return {
        "system": _system(_text("/etc/os-release")),
        "kernel": os.uname().release,
        "uptime_s": float(uptime[0]) if uptime else None,
        "load": [round(value, 2) for value in os.getloadavg()],
        "cpus": os.cpu_count(),
        "memory": {"total": memory.get("MemTotal"), "available": memory.get("MemAvailable")},
        "swap": {"total": memory.get("SwapTotal"), "available": memory.get("SwapFree")},
        "disks": disks(_PLACES),
        "reboot_required": os.path.exists("/run/reboot-required"),
    }


def memory_bytes() -> int:
    """How much memory there is; 0 where the kernel does not tell."""
    return meminfo(_text("/proc/meminfo")).get("MemTotal", 0)


def meminfo(text: str) -> Dict[str, int]:
    """/proc/meminfo in bytes, by its own names."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            found[name] = int(words[0]) * (1024 if words[1:] == ["kB"] else 1)
    return found


def disks(places: "tuple[str, ...]") -> List[Dict[str, Any]]:
    """Each file system of `places` once: path, bytes (size, used, available), inodes (None where it counts none)."""
    found: List[Dict[str, Any]] = []
    seen: Set[Any] = set()
    for path in places:
        try:
            device, info = os.stat(path).st_dev, os.statvfs(path)
        except OSError:
            continue
        # btrfs gives each subvolume a device of its own; they are one disk all the same.
        same = (info.f_blocks, info.f_bfree, info.f_bavail)
        if device in seen or same in seen or not info.f_blocks:
            continue
        seen.update((device, same))
        unit = info.f_frsize
        found.append(
            {
                "path": path,
                "size": info.f_blocks * unit,
                "used": (info.f_blocks - info.f_bfree) * unit,
                "available": info.f_bavail * unit,
                "inodes": info.f_files or None,
                "inodes_free": info.f_favail if info.f_files else None,
            }
        )
    return found


def _system(text: str) -> str:
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME":
            return value.strip().strip('"')
    return ""


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""
