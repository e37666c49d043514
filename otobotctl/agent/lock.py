"""The host's lock: a flock that a run's process holds and that dies with it, so there is no stale lock to break."""

from __future__ import annotations

import fcntl
import os
import time
from typing import Any, Dict, Optional

from otobotctl.agent.lines import decode, encode
from otobotctl.agent.wire import RefusedError

_PATIENCE_S = 0.5  # an observation holds the lock for microseconds while it looks whether it is free


def acquire(path: str, holder: Dict[str, Any]) -> int:
    """Take the lock, write `holder` into it and return its descriptor: whoever inherits that holds the lock.

    Raises:
        RefusedError: "locked", with the holder, when another process has it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _PATIENCE_S
    while not _take(descriptor, fcntl.LOCK_EX):
        if time.monotonic() > deadline:
            found = _read(descriptor)
            os.close(descriptor)
            raise RefusedError("locked", "another run holds the host", found)
        time.sleep(0.01)
    write_holder(descriptor, holder)
    return descriptor


def write_holder(descriptor: int, holder: Dict[str, Any]) -> None:
    """Say who holds the lock; again by the worker, which inherits it and has another pid."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, encode(holder), 0)


def holder(path: str) -> Optional[Dict[str, Any]]:
    """Who holds the lock; None when it is free."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        # Shared: two that look at the same time do not take each other for a run.
        return None if _take(descriptor, fcntl.LOCK_SH) else _read(descriptor)
    finally:
        os.close(descriptor)


def _take(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(descriptor: int) -> Dict[str, Any]:
    try:
        found: Dict[str, Any] = decode(os.pread(descriptor, 4096, 0))
    except ValueError:  # between its flock and its first word
        return {"run": "", "who": "a run that is just starting", "at": time.time(), "pid": 0}
    return found
