"""The host's audit: who did what when, one row a line, each with the digest of the line before (protocol.linked)."""

from __future__ import annotations

import fcntl
import os
import time
from typing import Any, Dict, Iterator

from otobotctl.agent import caller
from otobotctl.agent.journal import JournalError
from otobotctl.agent.places import Places
from otobotctl.agent.protocol import linked
from otobotctl.agent.wire import Wire

_BLOCK = 1 << 16
_LONGEST = 1 << 20  # of a row; what is longer was not written here


def note(places: Places, event: str, **row: Any) -> None:
    """Append one row, durably. Raises JournalError: then what was to be noted must not be done."""
    about = {"at": round(time.time(), 3), "event": event, "account": caller.account(), "from": caller.address()}
    try:
        places.prepare()
        add(places.ledger, {**about, **row})
    except OSError as error:
        raise JournalError("the host's audit cannot be written: {}".format(error.strerror)) from error


def add(path: str, row: Dict[str, Any]) -> None:
    """Append `row` to the chain in `path`; whoever else appends waits. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        last = _last_line(descriptor)
        torn = bool(last) and not last.endswith(b"\n")  # by a crash: it stays, as a line of its own
        data = (b"\n" if torn else b"") + linked(last.rstrip(b"\n"), row)
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def blocks(path: str) -> Iterator[bytes]:
    """The whole chain as it stands now; nothing where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        left = os.fstat(descriptor).st_size
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # a slow reader holds nobody up: what stands is never rewritten
        while left > 0:
            data = os.read(descriptor, min(_BLOCK, left))
            if not data:
                return
            left -= len(data)
            yield data
    finally:
        os.close(descriptor)


def _last_line(descriptor: int) -> bytes:
    """The last line, with its newline if it has one."""
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, _LONGEST, max(0, size - _LONGEST))
    return tail[tail.rfind(b"\n", 0, max(0, len(tail) - 1)) + 1 :]


def serve(request: Dict[str, Any], places: Places, wire: Wire) -> None:
    """Note what the operator's side tells, or send the whole chain in blocks."""
    if request["event"]:
        row = {name: request[name] for name in ("who", "status") if request[name] is not None}
        note(places, request["event"], **row)
        return
    for block in blocks(places.ledger):
        wire.block(block)
