"""A hash-chained file of the fleet: rows are only ever added, each linked to the one before (agent/protocol.py)."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Any

from otobotctl.agent.protocol import audit_row, broken_at, linked
from otobotctl.errors import ManifestError

_LONGEST = 1 << 20  # of a row, in bytes


def add(path: Path, row: dict[str, Any]) -> None:
    """Append a row with the time, durably; who else appends waits. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "r+b") as stream:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        stream.seek(max(0, os.fstat(descriptor).st_size - _LONGEST))
        there = stream.read()
        torn = bool(there) and not there.endswith(b"\n")  # by a crash: it stays, as a line of its own
        last = there.removesuffix(b"\n").rpartition(b"\n")[2]
        stream.write((b"\n" if torn else b"") + linked(last, {"at": round(time.time(), 3), **row}))
        stream.flush()
        os.fsync(descriptor)


def rows(path: Path) -> tuple[dict[str, Any], ...]:
    """Return the rows, oldest first; none where there is no file.

    Raises:
        ManifestError: a row does not follow from the one before.
    """
    if not path.exists():
        return ()
    lines = path.read_bytes().splitlines()
    number = broken_at(lines)
    if number is not None:
        message = f"{path}:{number}: this row does not follow from the one before: the file was changed"
        raise ManifestError(message, hint=f"bring it back, such as: git restore {path}")
    return tuple(row for row in map(audit_row, lines) if row is not None)
