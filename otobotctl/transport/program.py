"""A program on the operator's own machine, run to its end within a time."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from otobotctl.secrets import keys
from otobotctl.transport import given

# What was given to otobotctl alone: no program that it starts gets to see them.
KEYS = (keys.GIVEN, given.VARIABLE)
_GRACE_S = 5


def environment() -> dict[str, str]:
    """Return the operator's environment without the keys that may be in it."""
    return {name: value for name, value in os.environ.items() if name not in KEYS}


def run(
    argv: Sequence[str], directory: Path, variables: Mapping[str, str], timeout_s: float, hear: Callable[[str], None]
) -> str:
    """Run `argv` (no shell) in `directory`, tell each line it says, and return why it failed, "" when it did not."""
    try:
        process = subprocess.Popen(
            argv,
            cwd=directory,
            env={**environment(), **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that all it has started can be ended with it
            text=True,
            errors="replace",
        )
    except OSError as error:
        return f"{argv[0]} cannot be run: {error.strerror}"
    late = threading.Event()
    timer = threading.Timer(timeout_s, _end, (process, late))
    timer.start()
    try:
        with process:
            for line in process.stdout or ():
                hear(line.rstrip("\n"))
    finally:
        timer.cancel()
        if process.poll() is None:
            _end(process, late)
    if late.is_set():
        return f"{argv[0]} did not end within {timeout_s:g} s"
    return f"{argv[0]} ended with {process.returncode}" if process.returncode else ""


def _end(process: subprocess.Popen[str], late: threading.Event) -> None:
    late.set()
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
            return
