"""Swap in a file: what the kernel uses now, and what it will use after the next start."""

from __future__ import annotations

import os
from typing import Any, Dict, List

from otobotctl.agent import files, machine
from otobotctl.agent.run import ProbeError, Run, StepError

SWAPS = "/proc/swaps"
FSTAB = "/etc/fstab"
_MIB = 1 << 20
_NOCOW = 0x00800000  # FS_NOCOW_FL: btrfs takes no other file for swap
_GETFLAGS, _SETFLAGS = 0x80086601, 0x40086602  # FS_IOC_*; another machine's differ, and it only loses swap on btrfs


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Answer `active` (the kernel swaps to it), `others` (what else it uses), `listed` (in fstab), and more.

    `container` tells whether this is one; `_memory_bytes` is the machine's, `_free_bytes` what the disk of `path` has
    left. Raises ProbeError.
    """
    path = params["path"]
    try:
        used = in_use()
        listed = any(_is_ours(line, path) for line in _table())
        disk = os.statvfs(os.path.dirname(path))
    except OSError as error:
        raise ProbeError("cannot look at the swap: {}: {}".format(error.filename, error.strerror)) from error
    return {
        "active": path in used,
        "others": sorted(name for name in used if name != path),
        "listed": listed,
        "container": is_container(),
        "_memory_bytes": machine.memory_bytes(),
        "_free_bytes": disk.f_bavail * disk.f_frsize,
    }


def apply(params: Dict[str, Any], run: Run) -> None:
    """Make it, use it and note it for the next start; or, absent, the same backwards. Raises StepError."""
    path = params["path"]
    try:
        if params["state"] == "absent":
            _take_away(path, run)
            return
        if path not in in_use():
            _make(path, params["size_mb"] * _MIB, run)
        if not any(_is_ours(line, path) for line in _table()):
            _write_table([*_table(), "{} none swap sw 0 0\n".format(path)])
    except OSError as error:
        raise StepError("swap in {}: {}".format(path, error.strerror)) from error


def in_use() -> List[str]:
    """What the kernel swaps to. Raises OSError."""
    try:
        with open(SWAPS, encoding="utf-8", errors="surrogateescape") as stream:
            return [line.split()[0] for line in stream.readlines()[1:] if line.strip()]
    except FileNotFoundError:  # a kernel without swap
        return []


def is_container() -> bool:
    """Whether the kernel is shared with others: its swap is then theirs too."""
    if any(map(os.path.exists, ("/run/systemd/container", "/.dockerenv", "/run/.containerenv"))):
        return True
    try:
        with open("/proc/1/environ", "rb") as stream:
            return any(name.startswith(b"container=") for name in stream.read().split(b"\0"))
    except OSError:
        return False


def _make(path: str, size_bytes: int, run: Run) -> None:
    found = files.describe(path)["type"]
    if found not in ("absent", "file"):
        raise StepError("{} is a {}, not a file; remove it by hand if nothing needs it".format(path, found))
    files.remove(path)  # what a killed run left: nothing swaps to it
    try:
        _fill(path, size_bytes)
        run.command(["mkswap", "--", path])
        run.command(["swapon", "--", path])
    except BaseException:
        if path not in in_use():
            files.remove(path)
        raise


def _fill(path: str, size_bytes: int) -> None:
    """Zeros for root alone, all of them written: a file with holes cannot be swapped to."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        _without_copies(descriptor)
        block = bytes(8 * _MIB)
        left = size_bytes
        while left:
            left -= os.write(descriptor, block[:left] if left < len(block) else block)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    files.sync_folder(os.path.dirname(path))


def _without_copies(descriptor: int) -> None:
    import fcntl
    import struct

    try:
        flags = struct.unpack("l", fcntl.ioctl(descriptor, _GETFLAGS, struct.pack("l", 0)))[0]
        fcntl.ioctl(descriptor, _SETFLAGS, struct.pack("l", flags | _NOCOW))
    except OSError:  # most file systems know no such flag and need none
        return


def _take_away(path: str, run: Run) -> None:
    # The table first: a run that is killed here leaves nothing for the next start.
    kept = [line for line in _table() if not _is_ours(line, path)]
    if kept != _table():
        _write_table(kept)
    if path in in_use():
        run.command(["swapoff", "--", path])
    files.remove(path)


def _table() -> List[str]:
    try:
        with open(FSTAB, encoding="utf-8", errors="surrogateescape") as stream:
            return stream.readlines()
    except FileNotFoundError:
        return []


def _is_ours(line: str, path: str) -> bool:
    return line.split()[:3] in ([path, "none", "swap"], [path, "swap", "swap"])


def _write_table(lines: List[str]) -> None:
    if len(lines) > 1 and not lines[-2].endswith("\n"):
        lines[-2] += "\n"
    found = files.describe(FSTAB)
    owner, group = files.me()
    attributes = (int(found.get("mode", "0644"), 8), found.get("owner", owner), found.get("group", group))
    files.write(FSTAB, "".join(lines).encode("utf-8", "surrogateescape"), *attributes)
