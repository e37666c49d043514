"""Questions to programs of the host: they change nothing and their output is not journalled."""

from __future__ import annotations

import os
import subprocess
from typing import Dict, NamedTuple, Optional, Sequence

from otobotctl.agent.run import PATH, ProbeError

NOT_FOUND = 127


class Answer(NamedTuple):
    """How a program ended and what it said, decoded."""

    status: int
    stdout: str
    stderr: str


def has(program: str) -> bool:
    """Whether a program of this name is where `ask` looks."""
    return any(os.access(os.path.join(folder, program), os.X_OK) for folder in PATH.split(":"))


def ask(
    argv: Sequence[str],
    env: Optional[Dict[str, str]] = None,
    cwd: Optional[str] = None,
    timeout_s: float = 60.0,
) -> Answer:
    """Run `argv` to its end and return its answer; a program (or `cwd`) that is not there is status 127.

    Raises:
        ProbeError: no answer within `timeout_s`.
    """
    try:
        done = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PATH": PATH, "LC_ALL": "C.UTF-8", **(env or {})},
            cwd=cwd,
            timeout=timeout_s,
            check=False,
        )
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        return Answer(NOT_FOUND, "", "{}: {}".format(argv[0], error.strerror))
    except subprocess.TimeoutExpired:
        raise ProbeError("{} did not answer in {:.0f} s".format(argv[0], timeout_s)) from None
    return Answer(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))
