"""Containers that are stopped for a moment, and started again whatever happens to whoever wanted that.

A process of its own, which no session and no unit of systemd ends, stops them and waits; when the run says so, or dies,
it starts them. What it stops is written down before: after a power cut the next run starts them.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Iterator, List, Sequence

from otobotctl.agent import files, scope
from otobotctl.agent.lines import canonical, decode
from otobotctl.agent.run import ProbeError, StepError
from otobotctl.agent.running import Running, start, stop

_WELL = b"stopped"


class Stopped:
    """Containers that are stopped until `release`."""

    def __init__(self, guard: int = 0, line: int = -1, note: str = "") -> None:
        self._guard, self._line, self._note = guard, line, note

    def release(self) -> None:
        """Have them started, and wait for that. A second time does nothing. Raises ProbeError."""
        if self._line < 0:
            return
        os.close(self._line)
        self._line = -1
        _, status = os.waitpid(self._guard, 0)
        if status:
            mend(self._note)


@contextlib.contextmanager
def stopped(containers: Sequence[Running], note: str, name: str) -> Iterator[Stopped]:
    """Stop these containers until `release`, else until the end of the block. Raises ProbeError.

    `note` is where they are written down, `name` that of the scope of the process which waits beside.
    """
    if not containers:
        yield Stopped()
        return
    user, group = files.me()
    files.write(note, canonical([list(each) for each in containers]).encode(), 0o600, user, group)
    ear, line = os.pipe()
    hearing, telling = os.pipe()
    child = os.fork()
    if not child:
        os.close(line)
        os.close(hearing)
        _guard(containers, note, name, ear, telling)
    os.close(ear)
    os.close(telling)
    held = Stopped(child, line, note)
    try:
        with os.fdopen(hearing, "rb") as answer:
            said = answer.read()
        if said != _WELL:
            raise ProbeError(said.decode("utf-8", "replace") or "the process that stops containers was ended")
        yield held
    finally:
        held.release()


def mend(note: str) -> List[str]:
    """Start what is written down as stopped; return the services."""
    try:
        left = [Running(*each) for each in decode(files.read(note) or b"[]")]
    except (OSError, ValueError, TypeError):
        return []
    try:
        start(left)
    except ProbeError:
        for each in left:
            with contextlib.suppress(ProbeError):  # a deploy has replaced it since
                start([each])
    files.remove(note)
    return [each.service for each in left]


def _guard(containers: Sequence[Running], note: str, name: str, ear: int, telling: int) -> None:
    """What the process beside does, to its end."""
    status = 1
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)
        scope.enter(name)
        try:
            stop(containers)
            os.write(telling, _WELL)
        except (ProbeError, OSError) as error:
            os.write(telling, str(error).encode())
        os.close(telling)
        os.read(ear, 1)  # the end of it: the run is done, or dead
        mend(note)
        status = 0
    except (ProbeError, StepError, OSError):
        pass  # the note stays, for the run or for the one after it
    finally:
        os._exit(status)
