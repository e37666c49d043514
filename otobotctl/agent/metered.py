"""What the meter of IA Interne (templates/services/ia-meter) has written, and what it tells of now.

It runs as nobody: what lies in its folder is read as a stranger's. Standard library only.
"""

from __future__ import annotations

import glob
import json
import os
import socket
import stat
from typing import Any, Dict, Iterator, Optional

FOLDER = "/var/log/otobot/ia/usage"
ANSWER_S = 5.0
MOST = 1 << 20  # bytes of an answer about now
SERVER_ERROR = 500
COUNTS = ("requests", "failed", "tokens_in", "tokens_out")
REFUSED = 400
BROKEN = ("error", "cut", "unreachable")  # ends of an answer that is not one


def entries(folder: str, since: float, until: float) -> Iterator[Optional[Dict[str, Any]]]:
    """Each request that began in [since, until), Unix seconds, in no order; None for a line that is no entry.

    Raises OSError: a file cannot be read.
    """
    for path in sorted(glob.glob(os.path.join(folder, "usage*.log"))):
        try:
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:  # rolled away meanwhile
            continue
        with os.fdopen(file, "rb") as stream:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode):
                yield None
                continue
            if found.st_mtime < since:
                continue
            for raw in stream:
                entry = read(raw)
                if entry is None or since <= entry["at"] < until:
                    yield entry


def read(raw: bytes) -> Optional[Dict[str, Any]]:
    """One line, or None: it is none. Pure.

    at (Unix seconds), caller, model ("" where it was refused: then it may be any word), failed, left, tokens_in,
    tokens_out, guessed (they are not the engine's own count), first_s (None: there was no first byte).
    """
    try:
        said = json.loads(raw)
        status, end = int(said["status"]), str(said["end"])
        refused = status >= REFUSED
        first = said["first_ms"]
        return {
            "at": float(said["ts"]),
            "caller": str(said["caller"]),
            "model": "" if refused else str(said["model"]),
            "failed": status >= SERVER_ERROR or end in BROKEN,
            "left": end == "left",
            "tokens_in": int(said["tokens_in"]),
            "tokens_out": int(said["tokens_out"]),
            "guessed": not refused and not said["told"],
            "first_s": None if first is None else float(first) / 1000,
        }
    except (ValueError, KeyError, TypeError):
        return None


def now(folder: str) -> Dict[str, Any]:
    """What the meter says of this moment: in_flight (caller, model, requests, begun) and lost. Raises OSError."""
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(ANSWER_S)
        door.connect(os.path.join(folder, "now.sock"))
        said = b""
        while len(said) <= MOST:
            piece = door.recv(65536)
            if not piece:
                break
            said += piece
    try:
        found = json.loads(said)
        rows = [
            {
                name: kind(row[name])
                for name, kind in (("caller", str), ("model", str), ("requests", int), ("begun", int))
            }
            for row in found["in_flight"]
        ]
        return {"in_flight": rows, "lost": int(found["lost"])}
    except (ValueError, KeyError, TypeError):
        raise OSError("it answers nothing that can be read") from None


def recent(folder: str, at: float) -> Dict[str, Any]:
    """What each caller asked in the last hour and since midnight (UTC): {caller: {"hour", "day"}}. Raises OSError.

    Of both: requests, failed, tokens_in, tokens_out.
    """
    spans = (("hour", at - 3600), ("day", at - at % 86400))
    found = {}  # type: Dict[str, Any]
    for entry in entries(folder, min(since for _, since in spans), at + 1):
        if entry is None:
            continue
        row = found.setdefault(entry["caller"], {span: dict.fromkeys(COUNTS, 0) for span, _ in spans})
        for span, since in spans:
            if entry["at"] >= since:
                count(row[span], entry)
    return found


def count(row: Dict[str, Any], entry: Dict[str, Any]) -> None:
    """Add an entry to a row that has COUNTS."""
    row["requests"] += 1
    for name in COUNTS[1:]:
        row[name] += entry[name]
