"""Times, shares and sizes in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400


def duration(seconds: float | None) -> str:
    """The largest unit that fits: 5 min, 3 h, 12 days."""
    if seconds is None:
        return "-"
    if seconds < _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    return f"{seconds / _HOUR_S:.0f} h" if seconds < 2 * _DAY_S else f"{seconds / _DAY_S:.0f} days"


def moment(at: float) -> str:
    """Unix seconds as local time."""
    return f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M}"


def size(count: float) -> str:
    """Bytes in the unit that reads best: 512M, 3.9G."""
    for unit in ("", "K", "M"):
        if count < 1000:  # noqa: PLR2004
            return f"{count:.0f}{unit}"
        count /= 1024
    return f"{count:.1f}G" if count < 100 else f"{count:.0f}G"  # noqa: PLR2004


def number(count: int) -> str:
    """A count that reads at a glance: 950, 12.3k, 4.5M."""
    for unit, above in (("M", 1_000_000), ("k", 10_000)):
        if count >= above:
            return f"{count / (1_000_000 if unit == 'M' else 1000):.1f}{unit}"
    return str(count)


def many(count: int, thing: str) -> str:
    """How many there are of a thing: 1 host, 2 hosts."""
    return f"{count} {thing}{'s' if count != 1 else ''}"


def hosts(states: Sequence[str]) -> str:
    """How many hosts there are, and in which states: 3 hosts: 2 up, 1 unreachable."""
    each = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return f"{many(len(states), 'host')}: {each}"


def share(of: Mapping[str, Any]) -> float | None:
    """How much of a memory or disk is taken, 0 to 1; None where it is not known."""
    from otobotctl.workflows.judging import share_used

    return share_used(of)


def used(memory: Mapping[str, Any]) -> str:
    """The share taken, and of how much."""
    taken = share(memory)
    return "-" if taken is None else f"{taken:.0%} of {size(memory['total'])}"


def fullest(disks: Sequence[Mapping[str, Any]]) -> str:
    """The fullest disk: where, the share taken, and of how much."""
    known = [(taken, disk) for disk in disks if (taken := share(disk)) is not None]
    if not known:
        return "-"
    taken, disk = max(known, key=lambda each: each[0])
    return f"{disk['path']} {taken:.0%} of {size(disk['size'])}"
