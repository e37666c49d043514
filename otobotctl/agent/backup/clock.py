"""A limit for a run: whatever it waits for, at its end it is told so; and a beat meanwhile for who is listening."""

from __future__ import annotations

import contextlib
import signal
import time
from typing import Any, Callable, Iterator

from otobotctl.agent.protocol import BEAT_S


class LimitError(Exception):
    """The time is up."""


class TerminatedError(Exception):
    """Somebody ends this process (SIGTERM): the machine goes down, or the unit is stopped."""


class Clock:
    """Beats every few seconds by SIGALRM; past an armed limit it raises LimitError once, wherever the run waits."""

    def __init__(self, beat: Callable[[], None]) -> None:
        self._beat = beat
        self._deadline = 0.0
        signal.signal(signal.SIGALRM, self._tick)
        signal.signal(signal.SIGTERM, _end)
        signal.setitimer(signal.ITIMER_REAL, BEAT_S, BEAT_S)

    @contextlib.contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Raise LimitError in this block when it takes longer. Blocks are not nested."""
        self._deadline = time.monotonic() + seconds
        if seconds < BEAT_S:
            signal.setitimer(signal.ITIMER_REAL, seconds + 0.01, BEAT_S)
        try:
            yield
        finally:
            self._deadline = 0.0

    def _tick(self, *_: Any) -> None:
        self._beat()
        if self._deadline and time.monotonic() >= self._deadline:
            self._deadline = 0.0  # what cleans up after it is not interrupted again
            raise LimitError


def _end(*_: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise TerminatedError


def leave_when_told() -> None:
    """From now on SIGTERM makes this process leave by SystemExit, once, so that it cleans up on its way."""
    signal.signal(signal.SIGTERM, _leave)


def _leave(*_: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(1)
