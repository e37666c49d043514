"""Waiting for what a test has started: a condition, a generous limit, and words for when it never comes true."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")
LIMIT_S = 180.0  # of a machine that does much else; what is slow is no failure, what never comes is


def until(
    condition: Callable[[], Result],
    what: str | Callable[[], str] = "",
    *,
    limit_s: float = LIMIT_S,
    pause_s: float = 0.05,
    but: tuple[type[Exception], ...] = (),
) -> Result:
    """Ask until the answer is true, and return it; exceptions in `but` only mean not yet.

    `what` is waited for: words, or a function that has them when it is too late, such as the last of a log.

    Raises:
        AssertionError: not within the limit; it says what was waited for and what came last.
    """
    end = time.monotonic() + limit_s
    while True:
        error: Exception | None = None
        try:
            if answer := condition():
                return answer
            last = repr(answer)
        except but as caught:
            error, last = caught, repr(caught)
        if time.monotonic() > end:
            words = what() if callable(what) else what or _words(condition)
            raise AssertionError(f"not within {limit_s:.0f} s: {words}; last: {last}") from error
        time.sleep(pause_s)


def _words(condition: Callable[[], object]) -> str:
    """The condition as it is written, where it has no name."""
    if getattr(condition, "__name__", "") != "<lambda>":
        return repr(condition)
    return inspect.getsourcelines(condition)[0][0].strip()
