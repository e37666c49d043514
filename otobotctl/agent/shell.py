"""Questions to programs of the host: they change nothing and their output is not journalled.

Not by `subprocess`: importing that takes as long as starting Python does, and most looks need nothing else of it.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # `signal` adds enumerations, and they cost a question's time
import os
import select
import time
from typing import Any, Dict, List, Optional, Sequence, Tuple

from otobotctl.agent.run import PATH, ProbeError

NOT_FOUND = 127


class Answer:
    """How a program ended and what it said, decoded."""

    def __init__(self, status: int, stdout: str, stderr: str) -> None:
        self.status = status
        self.stdout = stdout
        self.stderr = stderr


def has(program: str) -> bool:
    """Whether a program of this name is where `ask` looks."""
    return _find(program, PATH) is not None


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
    variables = {**os.environ, "PATH": PATH, "LC_ALL": "C.UTF-8", **(env or {})}
    words = list(argv)
    if cwd is not None:
        if not os.path.isdir(cwd):
            return Answer(NOT_FOUND, "", "{}: no such directory".format(cwd))
        words = ["env", "--chdir=" + cwd, *words]
    program = _find(words[0], variables["PATH"])
    if program is None:
        return Answer(NOT_FOUND, "", "{}: No such file or directory".format(words[0]))
    try:
        pid, pipes = _start(program, words, variables)
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        return Answer(NOT_FOUND, "", "{}: {}".format(words[0], error.strerror))
    deadline = time.monotonic() + timeout_s
    said = _listen(pipes, deadline)
    status = _wait(pid, deadline)
    if status is None:
        raise ProbeError("{} did not answer in {:.0f} s".format(argv[0], timeout_s))
    return Answer(status, *(text.decode("utf-8", "replace") for text in said))


def _find(program: str, path: str) -> Optional[str]:
    """Where the program is; one with a slash is where it says."""
    if "/" in program:
        return program
    places = (os.path.join(folder, program) for folder in path.split(":"))
    return next((place for place in places if os.access(place, os.X_OK) and not os.path.isdir(place)), None)


def _start(program: str, argv: List[str], env: Dict[str, str]) -> Tuple[int, List[int]]:
    """Start it without stdin; return its number and where its stdout and stderr can be read."""
    ends = [os.pipe(), os.pipe()]
    actions: List[Any] = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
    actions += [(os.POSIX_SPAWN_DUP2, writing, number) for number, (_, writing) in enumerate(ends, 1)]
    try:
        pid = os.posix_spawn(program, argv, env, file_actions=actions, setsigdef=[signal.SIGPIPE, signal.SIGXFSZ])
    except OSError:
        for reading, _ in ends:
            os.close(reading)
        raise
    finally:
        for _, writing in ends:
            os.close(writing)
    return pid, [reading for reading, _ in ends]


def _listen(pipes: List[int], deadline: float) -> List[bytes]:
    """What comes out of each pipe until all are closed, or until the deadline; the pipes are closed then."""
    said: Dict[int, List[bytes]] = {pipe: [] for pipe in pipes}
    poll = select.poll()
    for pipe in pipes:
        poll.register(pipe, select.POLLIN)
    unread = set(pipes)
    while unread and time.monotonic() < deadline:
        for pipe, _ in poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            data = os.read(pipe, 65536)
            said[pipe].append(data)
            if not data:
                poll.unregister(pipe)
                unread.discard(pipe)
    for pipe in pipes:
        os.close(pipe)
    return [b"".join(said[pipe]) for pipe in pipes]


def _wait(pid: int, deadline: float) -> Optional[int]:
    """Its exit status (negative: the signal that ended it); None when it was killed, being still there too late."""
    late = False
    while True:
        ended, status = os.waitpid(pid, 0 if late else os.WNOHANG)
        if ended and late:
            return None
        if ended:
            return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        if time.monotonic() >= deadline:
            late = True
            os.kill(pid, signal.SIGKILL)
        else:
            time.sleep(0.001)
