"""One running process as a Channel: its three pipes in one poll loop, so that neither side blocks the other."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from otobotctl.transport import program
from otobotctl.transport.base import Finished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from otobotctl.errors import OtobotError

_CHUNK = 65536
_STDERR_KEPT = 65536
_REPLAY_KEPT = 1 << 20
_PATIENCE_S = 2.0  # for a process that was told to end


@dataclass(frozen=True)
class Line:
    """How a channel's process is started and judged.

    `failure` gives the error for an exit status that means the line failed, given stderr and whether output had come,
    or None for the command's own status. `silent` gives the error after so many seconds without a byte. `drop` gives
    up what other executions would reuse. `never_opened` tells from stderr that the command cannot have started.
    """

    spawn: Callable[[], subprocess.Popen[bytes]]
    failure: Callable[[int, str, bool], OtobotError | None]
    silent: Callable[[float], OtobotError]
    drop: Callable[[], None]
    never_opened: Callable[[str], bool]
    opening_s: float = 0.0  # what may pass before the first byte, on top of the silence


class ProcessChannel:
    """A Channel over a local process. Not thread-safe."""

    def __init__(self, line: Line, silence_s: float) -> None:
        self._line = line
        self._silence_s = silence_s
        self._sent: bytearray | None = bytearray()  # for a second try; None: the command may have begun
        self._received = bytearray()  # of stdout, not yet handed out
        self._searched = 0  # so many bytes of it hold no newline
        self._stderr = bytearray()
        self._closed = False
        self._start()

    def send(self, data: bytes) -> None:
        """Write to the command's stdin. A command that ended early takes no more: finish() tells how it ended."""
        self._remember(data)
        self._write(data)

    def lines(self) -> Iterable[bytes]:
        """stdout, line by line without the newline, as it arrives, to its end."""
        while True:
            end = self._received.find(b"\n", self._searched)
            if end >= 0:
                yield self._taken(end + 1)[:-1]
                continue
            self._searched = len(self._received)
            if not self._more():
                break
        if self._received:
            yield self._taken(len(self._received))

    def read(self, size: int) -> bytes:
        """The next `size` bytes of stdout as they are; fewer only where it ends. Between two lines of `lines`."""
        while len(self._received) < size and self._more():
            pass
        return self._taken(size)

    def _more(self) -> bool:
        """Wait until there may be more of stdout; False: it has ended."""
        if self._stdout.closed:
            return self._over()
        self._wait(writing=False)
        return True

    def _taken(self, size: int) -> bytes:
        self._searched = 0
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken

    def finish(self) -> Finished:
        """Wait for the exit status; output that nobody read is dropped."""
        for _ in self.lines():
            pass
        status = self._process.wait()
        self.close()
        return Finished(status, self._said())

    def close(self) -> None:
        """Drop the execution. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._end_process()
        for stream in (self._stdin, self._stdout, self._errors):
            self._shut(stream)

    # The process alone is ended, not its group: a proxy command that a shared connection rests on may be in it.
    def _end_process(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _start(self) -> None:
        self._process = self._line.spawn()
        self._stdin = _pipe(self._process.stdin)
        self._stdout = _pipe(self._process.stdout)
        self._errors = _pipe(self._process.stderr)
        self._opened = False
        self._heard_at = time.monotonic()

    def _remember(self, data: bytes) -> None:
        if self._sent is not None:
            self._sent += data
            if len(self._sent) > _REPLAY_KEPT:
                self._sent = None

    def _write(self, data: bytes) -> None:
        view, process = memoryview(data), self._process
        while view and not self._stdin.closed:
            if not self._wait(writing=True):
                if self._process is not process:
                    return  # another has all that was sent, this too
                continue
            try:
                view = view[os.write(self._stdin.fileno(), view[:_CHUNK]) :]
                self._heard_at = time.monotonic()
            except BlockingIOError:
                continue
            except BrokenPipeError:
                self._shut(self._stdin)
                return

    def _wait(self, *, writing: bool) -> bool:
        """Take in what has come; return whether stdin takes bytes. Raises when nothing moves for too long."""
        poll = select.poll()
        for stream in (self._stdout, self._errors):
            if not stream.closed:
                poll.register(stream, select.POLLIN)
        if writing:
            poll.register(self._stdin, select.POLLOUT)
        limit = self._silence_s + (0.0 if self._opened else self._line.opening_s)
        remaining = self._heard_at + limit - time.monotonic()
        events = poll.poll(max(0.0, remaining) * 1000)
        if not events and time.monotonic() - self._heard_at >= limit:
            self._line.drop()
            if not self._revive():
                self.close()
                raise self._line.silent(limit)
            return False
        ready = {number for number, _ in events}
        writable = writing and self._stdin.fileno() in ready
        for stream in (self._stdout, self._errors):
            if not stream.closed and stream.fileno() in ready:
                self._take(stream)
        return writable

    def _take(self, stream: IO[bytes]) -> None:
        try:
            chunk = os.read(stream.fileno(), _CHUNK)
        except BlockingIOError:
            return
        if not chunk:
            stream.close()
            return
        self._heard_at = time.monotonic()
        if stream is self._errors:
            self._stderr += chunk
            del self._stderr[:-_STDERR_KEPT]
            return
        self._opened = True
        self._sent = None
        self._received += chunk

    def _over(self) -> bool:
        """After stdout's end: wait for the process, judge it; True when the execution begins again."""
        while self._process.poll() is None:
            # stderr is no sign of the end: a connection that goes on for others may keep it open.
            if self._errors.closed:
                self._wait_exit()
            else:
                self._brief_wait()
        self._drain_stderr()
        error = self._line.failure(self._process.returncode, self._said(), self._opened)
        if error is None:
            return False
        if self._revive():
            return True
        self.close()
        raise error

    def _wait_exit(self) -> None:
        try:
            self._process.wait(max(0.01, self._heard_at + self._silence_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._line.drop()
            self.close()
            raise self._line.silent(self._silence_s) from None

    def _brief_wait(self) -> None:
        poll = select.poll()
        poll.register(self._errors, select.POLLIN)
        if poll.poll(5):
            self._take(self._errors)
        elif time.monotonic() - self._heard_at > self._silence_s:
            self._wait_exit()

    def _drain_stderr(self) -> None:
        poll = select.poll()
        while not self._errors.closed:
            poll.register(self._errors, select.POLLIN)
            if not poll.poll(0):
                return
            self._take(self._errors)

    def _revive(self) -> bool:
        """Start over once, when the command cannot have started: a shared connection had died unnoticed."""
        sent, self._sent = self._sent, None
        if sent is None:
            return False
        self._end_process()
        self._drain_stderr()
        if not self._line.never_opened(self._said()):
            return False
        for stream in (self._stdin, self._stdout, self._errors):
            self._shut(stream)
        self._stderr.clear()
        self._start()
        self._write(bytes(sent))
        return True

    def _said(self) -> str:
        return self._stderr.decode("utf-8", "replace")

    @staticmethod
    def _shut(stream: IO[bytes]) -> None:
        with contextlib.suppress(OSError):
            stream.close()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ValueError("the process was started without a pipe")
    os.set_blocking(stream.fileno(), False)
    return stream


def piped(argv: Sequence[str], environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a process with three unbuffered pipes, out of reach of the terminal's Ctrl-C. Raises FileNotFoundError.

    Without an `environment` it has the operator's, less the keys in it.
    """
    return subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=program.environment() if environment is None else environment,
        start_new_session=True,
        bufsize=0,
    )
