"""Running programs: every call has a time limit, so that nothing in the lab can hang for ever."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TypeVar

Argument = str | Path | int
Result = TypeVar("Result")


class LabError(Exception):
    """The lab itself failed; the message says at what and with which output."""


def run(
    *argv: Argument,
    check: bool = True,
    timeout_s: float = 120,
    stdin: str | bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdout: IO[bytes] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `argv` to its end and return it with its output as text.

    Raises:
        LabError: it failed (unless `check` is false), is missing, or took longer than `timeout_s`.
    """
    words = [str(word) for word in argv]
    data = stdin.encode() if isinstance(stdin, str) else stdin
    given: dict[str, int | bytes] = {"stdin": subprocess.DEVNULL} if data is None else {"input": data}
    try:
        done = subprocess.run(  # type: ignore[call-overload]
            words,
            stdout=stdout or subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=timeout_s,
            env=env,
            cwd=cwd,
            check=False,
            **given,
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(words)}: no end after {timeout_s:.0f} s\n{_text(error.stderr)}") from None
    except FileNotFoundError as error:
        raise LabError(f"{words[0]}: not found; run scripts/lab-setup") from error
    result = subprocess.CompletedProcess(words, done.returncode, _text(done.stdout), _text(done.stderr))
    if check and result.returncode:
        raise LabError(f"{' '.join(words)}: exit {result.returncode}\n{result.stdout[-2000:]}{result.stderr[-4000:]}")
    return result


def output(*argv: Argument, check: bool = True, timeout_s: float = 120) -> str:
    """Return the standard output of `argv`, stripped."""
    return run(*argv, check=check, timeout_s=timeout_s).stdout.strip()


def quietly(*argv: Argument) -> bool:
    """Run `argv` for its effect; a failure is the answer False. For taking things away that may be gone already."""
    return run(*argv, check=False).returncode == 0


def retry(what: Callable[[], Result], times: int = 3, pause_s: float = 5) -> Result:
    """Call `what` up to `times` times: a package mirror has hiccups, and a lab must not fail for one."""
    for attempt in range(1, times):
        try:
            return what()
        except LabError:
            time.sleep(pause_s * attempt)
    return what()


def until(condition: Callable[[], Result | None], what: str, timeout_s: float = 60, every_s: float = 0.05) -> Result:
    """Poll `condition` until it answers something true, and return that.

    Raises:
        LabError: it did not within `timeout_s` seconds.
    """
    end = time.monotonic() + timeout_s
    while True:
        if answer := condition():
            return answer
        if time.monotonic() > end:
            raise LabError(f"{what}: not within {timeout_s:.0f} s")
        time.sleep(every_s)


def _text(data: bytes | None) -> str:
    return (data or b"").decode(errors="replace")
