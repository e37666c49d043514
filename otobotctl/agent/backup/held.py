"""A snapshot of bytes that are still to come: restic is started ahead of them, so that nobody waits for its start.

Each start of restic derives the key anew, looks whether its lock stands alone and reads the index. All of that is over
here before the bytes are there. They are the ones that make an archive one, so nothing but `finish` may end them:
restic reads a socket whose other end it holds itself, so that the death of this process, at any instant, is no end of
what it reads. Only a shutdown is, which comes after the last byte. The kernel kills it together with this process.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Sequence

from otobotctl.agent.backup.saving import Saved, end, saved

TYPE_CHECKING = False
if TYPE_CHECKING:
    from otobotctl.agent.backup.restic import Restic

_GIVE_UP_S = 5.0  # it waits for bytes that do not come: one that is asked to end and does not is killed
# Who was orphaned before the kernel knew of it is not started at all.
_TIED = ("setpriv", "--pdeathsig", "KILL", "sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"')


class Held:
    """restic, waiting. Of one that is never told to `finish` there is no snapshot, whoever is killed, and when."""

    def __init__(self, restic: Restic, words: Sequence[str]) -> None:
        """Start it. Raises OSError. It ends with the thread that called this."""
        self._restic = restic
        self._said, self._told = os.memfd_create("said"), os.memfd_create("told")
        self._feed, theirs = socket.socketpair()
        argv = [*_TIED, str(os.getpid()), *words]
        try:
            self._reader = restic.start(argv, theirs.fileno(), self._said, self._told, [self._feed.fileno()])
        except OSError:
            self._let_go()
            raise
        finally:
            theirs.close()

    def finish(self, data: bytes) -> Saved:
        """Make the snapshot of these bytes: of all of them or none.

        Raises:
            ResticError: restic failed. There is no snapshot, or one that nobody was told of.
        """
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has ended, and says why
            self._feed.sendall(data)
            self._feed.shutdown(socket.SHUT_WR)
        status = self._reader.wait()
        if status:
            raise self._restic.failed("backup", status, os.pread(self._told, os.fstat(self._told).st_size, 0))
        return saved(os.pread(self._said, os.fstat(self._said).st_size, 0))

    def close(self) -> None:
        """End it if it still runs, without a snapshot if it was not finished, and let go of everything."""
        end(self._reader, _GIVE_UP_S)
        self._let_go()

    def _let_go(self) -> None:
        self._feed.close()
        os.close(self._said)
        os.close(self._told)
