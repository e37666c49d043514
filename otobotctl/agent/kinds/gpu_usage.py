"""What IA Interne was asked in a month, from its proxy's log and its meter's. A question, and never a step."""

from __future__ import annotations

import calendar
import glob
import gzip
import json
import os
import time
from typing import IO, Any, Dict, Iterator, List, Optional, Tuple

from otobotctl.agent import metered
from otobotctl.agent.run import ProbeError

LOGS = "/var/log/otobot/ia"
# The upper ends of what is told apart in seconds; one more for all above.
ENDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0)
REFUSED = 400


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Answer {"rows", "models", "unread", "ends"} for params["month"] (2026-11, UTC).

    A row has caller ("" for nobody we know), path, day (1 to 31), requests, refused (an answer of 400 or more), bytes
    (answered), seconds (in all) and `took`: how many took how long, by `ends`. One of `models` has caller, model, day,
    requests, failed (an error of the engine, also late in an answer of 200), left (by the caller), tokens_in,
    tokens_out, guessed (how many requests' tokens are not the engine's own count) and `first`: the waits for the first
    byte, by `ends`. `unread` counts lines that are no entries.
    """
    rows = {}  # type: Dict[Any, Dict[str, Any]]
    unread = 0
    for path in sorted(glob.glob(os.path.join(params.get("logs", LOGS), "access*.log*"))):
        for line in _lines(path):
            entry = read(line)
            if entry is None:
                unread += 1
            elif entry["month"] == params["month"]:
                add(rows, entry)
    models, others = by_model(params.get("usage", metered.FOLDER), params["month"])
    return {
        "rows": [rows[key] for key in sorted(rows)],
        "models": models,
        "unread": unread + others,
        "ends": list(ENDS),
    }


def by_model(folder: str, month: str) -> Tuple[List[Dict[str, Any]], int]:
    """The rows of `models`, and how many lines are no entries. Raises ProbeError."""
    rows = {}  # type: Dict[Any, Dict[str, Any]]
    unread = 0
    try:
        for entry in metered.entries(folder, *_ends(month)):
            if entry is None:
                unread += 1
                continue
            day = time.gmtime(entry["at"]).tm_mday
            counts = dict.fromkeys((*metered.COUNTS, "left", "guessed"), 0)
            empty = dict(counts, caller=entry["caller"], model=entry["model"], day=day, first=[0] * (len(ENDS) + 1))
            row = rows.setdefault((entry["caller"], entry["model"], day), empty)
            metered.count(row, entry)
            row["left"] += entry["left"]
            row["guessed"] += entry["guessed"]
            if entry["first_s"] is not None:
                row["first"][_place(entry["first_s"])] += 1
    except OSError as error:
        raise ProbeError("{}: {}".format(folder, error)) from None
    return [rows[key] for key in sorted(rows)], unread


def _ends(month: str) -> Tuple[float, float]:
    """The first second of a month and that of the next."""
    year, number = int(month[:4]), int(month[5:])
    after = (year + number // 12, number % 12 + 1)
    return tuple(float(calendar.timegm((y, m, 1, 0, 0, 0))) for y, m in ((year, number), after))  # type: ignore[return-value]


def _place(seconds: float) -> int:
    return sum(end < seconds for end in ENDS)


def read(line: str) -> Optional[Dict[str, Any]]:
    """One entry of Caddy's log, or None: it is none. Pure."""
    try:
        said = json.loads(line)
        at = time.gmtime(float(said["ts"]))
        return {
            "month": time.strftime("%Y-%m", at),
            "day": at.tm_mday,
            "caller": str(said.get("user_id") or ""),
            "path": str(said["request"]["uri"]).partition("?")[0],
            "status": int(said["status"]),
            "bytes": int(said["size"]),
            "seconds": float(said["duration"]),
        }
    except (ValueError, KeyError, TypeError):
        return None


def add(rows: Dict[Any, Dict[str, Any]], entry: Dict[str, Any]) -> None:
    """Count one entry. Pure. Whoever has no key chooses the paths that he tries: those are one row a day."""
    path = entry["path"] if entry["caller"] and entry["status"] < REFUSED else ""
    key = (entry["caller"], path, entry["day"])
    empty = {"requests": 0, "refused": 0, "bytes": 0, "seconds": 0.0, "took": [0] * (len(ENDS) + 1)}
    row = rows.setdefault(key, dict(empty, caller=entry["caller"], path=path, day=entry["day"]))
    row["requests"] += 1
    row["refused"] += entry["status"] >= REFUSED
    row["bytes"] += entry["bytes"]
    row["seconds"] = round(row["seconds"] + entry["seconds"], 3)
    row["took"][_place(entry["seconds"])] += 1


def _lines(path: str) -> Iterator[str]:
    """The lines of a log, also of one that Caddy has compressed; nothing of one that is taken away meanwhile."""
    try:
        with _opened(path) as stream:
            for raw in stream:
                yield raw.decode("utf-8", "replace")
    except FileNotFoundError:
        return
    except (OSError, EOFError) as error:
        raise ProbeError("{}: {}".format(path, error)) from None


def _opened(path: str) -> "IO[bytes]":
    return gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb")  # type: ignore[return-value]
