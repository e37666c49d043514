"""Reads a journal while its run writes it, and passes it on."""

from __future__ import annotations

import os
import select
import time
from typing import Callable, Optional

from otobotctl.agent import journal, lock
from otobotctl.agent.places import Places
from otobotctl.agent.wire import RefusedError, Wire

_POLL_S = 0.05


def stream(path: str, offset: int, wire: Wire, news: Callable[[], bool]) -> bool:
    """Send the records of a journal from number `offset` on, up to its run_end.

    `news` waits for more and returns False once the writer is gone. Returns whether there was a run_end.
    """
    number, rest = 0, b""
    alive = True
    with open(path, "rb", buffering=0) as source:
        while True:
            data = source.read(1 << 20)
            *lines, rest = (rest + data).split(b"\n")
            fresh = lines[max(0, offset - number) :]
            number += len(lines)
            if fresh:
                wire.raw(b"\n".join(fresh) + b"\n")
            if any(b'"run_end"' in line and journal.parse(line).get("event") == "run_end" for line in lines):
                return True
            if not data:
                if not alive:
                    return False
                alive = news()


class Doorbell:
    """The parent's end of the worker's pipe: one ring a record, and a last word where the journal could not take it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.said = b""

    def wait(self, timeout_s: Optional[float] = None) -> bool:
        """Wait for a ring; False when the worker has ended."""
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        if not poll.poll(None if timeout_s is None else timeout_s * 1000):
            return True
        data = os.read(self.descriptor, 65536)
        self.said += data.strip(b"\n")
        return bool(data)

    def wait_for_end(self, limit_s: float) -> None:
        """Wait until the worker has ended and the lock with it."""
        deadline = time.monotonic() + limit_s
        while self.wait(max(0.0, deadline - time.monotonic())) and time.monotonic() < deadline:
            pass


def again(places: Places, run: str, offset: int, wire: Wire) -> None:
    """Serve a follow request: the rest of a run's journal, while it runs or afterwards.

    Raises:
        RefusedError: "unknown" when the host never saw that run, "died" when it ended without a word.
    """
    path = journal.path_of(places.runs, run)

    def news() -> bool:
        time.sleep(_POLL_S)
        found = lock.holder(places.lock)
        return found is not None and found["run"] in ("", run)

    try:
        ended = stream(path, offset, wire, news)
    except FileNotFoundError:
        raise RefusedError("unknown", "the host never saw run {}".format(run)) from None
    if not ended:
        raise RefusedError("died", "the run's process ended without finishing")
