"""Waits for a machine that does nothing else: a time taken beside other work says nothing."""

from __future__ import annotations

import time
from pathlib import Path

_STAT = Path("/proc/stat")


def _idle_share(span_s: float) -> float:
    def read() -> tuple[int, int]:
        numbers = [int(word) for word in _STAT.read_text().split("\n", 1)[0].split()[1:9]]
        return numbers[3] + numbers[4], sum(numbers)

    idle, total = read()
    time.sleep(span_s)
    later_idle, later_total = read()
    return (later_idle - idle) / max(1, later_total - total)


def wait(limit_s: float, share: float = 0.85) -> bool:
    """Wait until this share of the processors is idle for half a second; False: it was not, within `limit_s`."""
    if not _STAT.exists():
        return True
    end = time.monotonic() + limit_s
    while _idle_share(0.5) < share:
        if time.monotonic() > end:
            return False
    return True
