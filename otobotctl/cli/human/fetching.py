"""How far models are fetched: bytes of bytes, the rate, and the time that is left."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from otobotctl.cli.human import amounts

_PREFIX = "progress: "


class Fetching:
    """What is known of each model that is being fetched. `now` is a clock in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._first: dict[str, tuple[float, int]] = {}
        self._tenth: dict[str, int] = {}

    def told(self, record: Mapping[str, Any]) -> str:
        """A record of the host in words, "" when it is none of a fetch."""
        said = progress(record)
        if said is None:
            return ""
        name, come, total = str(said["model"]), int(said["completed"]), int(said["total"])
        if not total:
            return f"{name}: {said['status']}"
        now = self._now()
        since, before = self._first.setdefault(name, (now, come))
        words = f"{name}: {amounts.size(come)} of {amounts.size(total)}"
        rate = (come - before) / (now - since) if now > since else 0.0
        if rate <= 0 or come >= total:
            return words
        return f"{words}, {amounts.size(rate)}/s, {_left((total - come) / rate)} left"

    def line(self, record: Mapping[str, Any]) -> str:
        """The same, but only at each further tenth: for a log."""
        said = progress(record)
        if said is None or not said["total"]:
            return ""
        tenth = 10 * int(said["completed"]) // int(said["total"])
        words = self.told(record)
        if tenth <= self._tenth.get(str(said["model"]), 0):
            return ""
        self._tenth[str(said["model"])] = tenth
        return words


def progress(record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a host says of a fetch: model, status, completed and total (bytes). None: it says something else."""
    text = str(record.get("text", "")) if record.get("event") == "output" else ""
    if not text.startswith(_PREFIX):
        return None
    try:
        said = json.loads(text.removeprefix(_PREFIX))
    except ValueError:
        return None
    return said if isinstance(said, dict) and {"model", "status", "completed", "total"} <= said.keys() else None


def _left(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else amounts.duration(seconds)  # noqa: PLR2004
