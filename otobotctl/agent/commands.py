"""Runs one command to its end while its output is told line by line; a full pipe on one side blocks nothing."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
from typing import IO, Callable, Dict, List, Optional, Sequence, Tuple

_LINGER_S = 0.5  # a daemon that a command left behind may hold its stdout open for ever


def run(
    argv: Sequence[str], say: Callable[[str], None], stdin: Optional[bytes], env: Dict[str, str], cwd: Optional[str]
) -> Tuple[int, str]:
    """Return exit status (negative: a signal) and stdout without its last newline. Raises OSError: no such command."""
    process = subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        cwd=cwd,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    stdout, stderr = _Lines(say), _Lines(say)
    with process.stdout, process.stderr:
        _pump(process, {process.stdout.fileno(): stdout, process.stderr.fileno(): stderr}, stdin)
    stdout.end()
    stderr.end()
    return process.returncode, b"".join(stdout.received).decode("utf-8", "replace").rstrip("\n")


class _Lines:
    """Bytes come in, whole lines are said; of a line that was overwritten by carriage returns the last writing."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.received: List[bytes] = []
        self._say = say
        self._rest = b""

    def feed(self, data: bytes) -> None:
        self.received.append(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._tell(line)

    def end(self) -> None:
        if self._rest:
            self._tell(self._rest)

    def _tell(self, line: bytes) -> None:
        self._say(line.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2])


def _pump(process: "subprocess.Popen[bytes]", pipes: Dict[int, _Lines], stdin: Optional[bytes]) -> None:
    """Move bytes both ways until the command and its output have ended; a full pipe on one side blocks nothing."""
    poll = select.poll()
    for descriptor in pipes:
        poll.register(descriptor, select.POLLIN)
    waiting = memoryview(stdin or b"")
    feed: Optional[IO[bytes]] = process.stdin
    if feed is not None:
        os.set_blocking(feed.fileno(), False)
        poll.register(feed.fileno(), select.POLLOUT)
    unread = set(pipes)
    while unread:
        ready = poll.poll(_LINGER_S * 1000)
        if not ready and process.poll() is not None:
            break
        for descriptor, _ in ready:
            if feed is not None and descriptor == feed.fileno():
                waiting = _write(descriptor, waiting)
                if not waiting:
                    poll.unregister(descriptor)
                    _close(feed)
                    feed = None
                continue
            data = os.read(descriptor, 65536)
            if data:
                pipes[descriptor].feed(data)
            else:
                poll.unregister(descriptor)
                unread.discard(descriptor)
    if feed is not None:
        _close(feed)
    process.wait()


def _write(descriptor: int, data: memoryview) -> memoryview:
    """Write what the pipe takes and return the rest; nothing is left to write for a command that reads no more."""
    try:
        return data[os.write(descriptor, data) :]
    except BlockingIOError:
        return data
    except BrokenPipeError:
        return data[len(data) :]


def _close(feed: IO[bytes]) -> None:
    with contextlib.suppress(BrokenPipeError):
        feed.close()
