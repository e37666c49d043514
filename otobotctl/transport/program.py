"""A program on the operator's own machine, run to its end within a time."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from otobotctl.secrets import keys
from otobotctl.transport import given

# What was given to otobotctl alone: no program that it starts gets to see them.
KEYS = (keys.GIVEN, given.VARIABLE)
_GRACE_S = 5
_LOOK_S = 0.2  # between two looks whether a silent one has ended


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
            bufsize=0,
        )
    except OSError as error:
        return f"{argv[0]} cannot be run: {error.strerror}"
    with process:
        try:
            ended = _followed(process, time.monotonic() + timeout_s, hear)
        finally:
            if process.poll() is None:
                _end(process)
    if not ended:
        return f"{argv[0]} did not end within {timeout_s:g} s"
    return f"{argv[0]} ended with {process.returncode}" if process.returncode else ""


def _followed(process: subprocess.Popen[bytes], until: float, hear: Callable[[str], None]) -> bool:
    """Tell what the process says; whether it ended in time. Its end counts, not the pipe's: a daemon may keep that."""
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    poll, rest = select.poll(), b""
    poll.register(process.stdout, select.POLLIN)
    while (left_s := until - time.monotonic()) > 0:
        ended = process.poll() is not None
        if not poll.poll(0 if ended else min(left_s, _LOOK_S) * 1000):
            if ended:
                break
            continue
        said = os.read(process.stdout.fileno(), 65536)
        if not said:
            with suppress(subprocess.TimeoutExpired):
                process.wait(left_s)
            break
        *lines, rest = (rest + said).split(b"\n")
        for line in lines:
            hear(line.decode("utf-8", "replace").rstrip("\r"))
    if rest:
        hear(rest.decode("utf-8", "replace"))
    return process.poll() is not None


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
            return
