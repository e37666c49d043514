"""What became of a client's archives, checks and drills: one small file, without secrets, that status is read from.

{"version": 1, "targets": {NAME: {"archive": {id, made, bytes, added, grew, took_s, consistent} | null,
 "attempt": {at, error} | null, "verified": {at, part, of, error} | null, "pruned": {at} | null,
 "first": 1763690400.0}},
 "drill": {at, ok, took_s, report, log: {until, rpo_s, took_s} | null} | null, "restored": {...} | null}

`first` is when the first archive began, `archive` the newest that is whole; `attempt` is the last run, whose `error` is
null where it went well.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import Any, Callable, Dict, Iterator

from otobotctl.agent import files
from otobotctl.agent.lines import canonical, decode

UNENDED = "it did not end: it was killed, or the machine went down"  # of an attempt, until it has ended
_EMPTY_TARGET = ("archive", "attempt", "verified", "pruned")


def read(path: str) -> Dict[str, Any]:
    """The state at `path`, with every key; one that was never written, or cannot be read, says nothing."""
    try:
        found = decode(files.read(path) or b"null")
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        found = {}
    return {"drill": None, "restored": None, **found, "version": 1, "targets": dict(found.get("targets") or {})}


def of_target(state: Dict[str, Any], name: str) -> Dict[str, Any]:
    """What is known of a target, with every key."""
    return {**dict.fromkeys(_EMPTY_TARGET), **(state["targets"].get(name) or {})}


def change(path: str, alter: Callable[[Dict[str, Any]], None]) -> Dict[str, Any]:
    """Read, alter and write it whole; runs, checks and drills do so one after the other. Raises OSError, StepError."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with _alone(path + ".lock"):
        state = read(path)
        alter(state)
        user, group = files.me()
        files.write(path, canonical(state).encode() + b"\n", 0o600, user, group)
    return state


def note_target(path: str, name: str, **known: Any) -> Dict[str, Any]:
    """Change some of what is known of a target. Raises as `change`."""
    return change(path, lambda state: state["targets"].update({name: {**of_target(state, name), **known}}))


@contextlib.contextmanager
def _alone(path: str) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
