"""A program whose stdout is passed on as it comes, in constant memory, while the last of its stderr is kept."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import subprocess
from typing import Iterator, Sequence

from otobotctl.agent.run import environment, last_words

_READ = 1 << 18
_KEPT = 4096
_SET_PIPE_SIZE = 1031  # fcntl.F_SETPIPE_SZ of Python 3.10


class Pipe:
    """One running program. `status` is None until its output has ended."""

    def __init__(self, argv: Sequence[str], stdin: bytes) -> None:
        """Start it. `stdin` is short: it fits in a pipe. Raises OSError."""
        self.status: "int | None" = None
        self._said = b""
        self._process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            bufsize=0,
        )
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError), self._process.stdin as feed:
                feed.write(stdin)

    def chunks(self) -> Iterator[bytes]:
        """Its stdout to the end; then `status` is known."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        output, errors = self._process.stdout.fileno(), self._process.stderr.fileno()
        with contextlib.suppress(OSError):  # fewer and larger reads where the system lets us
            fcntl.fcntl(output, _SET_PIPE_SIZE, 4 * _READ)
        poll = select.poll()
        for descriptor in (output, errors):
            poll.register(descriptor, select.POLLIN)
        unread = {output, errors}
        while unread:
            for descriptor, _ in poll.poll():
                data = os.read(descriptor, _READ)
                if not data:
                    poll.unregister(descriptor)
                    unread.discard(descriptor)
                elif descriptor == output:
                    yield data
                else:
                    self._said = (self._said + data)[-_KEPT:]
        self.status = self._process.wait()

    def said(self) -> str:
        """The last lines of its stderr, in one."""
        return last_words(self._said, silent="")

    def end(self) -> None:
        """End it if it still runs, and close its pipes."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
