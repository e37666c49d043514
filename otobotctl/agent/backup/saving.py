"""Snapshots under way: of bytes that restic has already, or of what a program prints.

A program's output becomes a snapshot without passing through here: restic reads the pipe that the program writes. This
process holds the pipe's writing end too, so restic sees its end only after the program has ended well; of one that
failed, restic is told to stop, and it leaves no snapshot. That is what `--stdin-from-command` does (0.17 and newer),
for every version.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
from typing import NamedTuple, Optional, Sequence

from otobotctl.agent.backup.complaints import ResticError
from otobotctl.agent.run import environment, last_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from otobotctl.agent.backup.restic import Restic

_SET_SIZE = 1031  # F_SETPIPE_SZ, which Python names since 3.10
_PIPE_BYTES = 1 << 20  # of usually 64 KiB: program and restic take turns less often where there are few processors
_STOP_S = 60.0
_GIVE_UP_S = 5.0  # what is put is small: a restic that has not ended by then waits for a target that is silent
_KEPT = 16384
_ENDING_S = 1.0


class Saved(NamedTuple):
    """A snapshot: its id, the bytes that were read, and those that the repository grew by."""

    snapshot: str
    bytes: int
    added: int


class Putting:
    """A snapshot of bytes under way: restic has all of them already, so that it needs nobody to go on."""

    def __init__(self, restic: Restic, words: Sequence[str], data: bytes) -> None:
        self._restic = restic
        self._files = [os.memfd_create(each) for each in ("whole", "said", "told")]
        os.write(self._files[0], data)
        os.lseek(self._files[0], 0, os.SEEK_SET)
        try:
            whole, said, told = self._files
            self._reader = restic.start(words, whole, said, told)
        except OSError:
            self._close()
            raise

    def finish(self, limit_s: Optional[float] = None) -> Saved:
        """Wait for it. Raises ResticError, as `put`; "slow": it is not done after `limit_s`."""
        try:
            status = self._reader.wait(limit_s)
        except subprocess.TimeoutExpired as error:
            text = "{} does not answer in {:.0f} s".format(self._restic.name, limit_s or 0)
            raise ResticError("slow", text) from error
        _, said, told = self._files
        if status:
            raise self._restic.failed("backup", status, os.pread(told, _KEPT, 0))
        return saved(os.pread(said, os.fstat(said).st_size, 0))

    def close(self) -> None:
        """End it if it still runs, and let go of everything."""
        end(self._reader, _GIVE_UP_S)
        self._close()

    def _close(self) -> None:
        for descriptor in self._files:
            os.close(descriptor)


class Saving:
    """A snapshot under way: restic, and from `read` on the program whose output it reads."""

    def __init__(self, restic: Restic, words: Sequence[str]) -> None:
        self._restic = restic
        self._program: "Optional[subprocess.Popen[bytes]]" = None
        self._said = [os.memfd_create("program"), os.memfd_create("restic"), os.memfd_create("summary")]
        reading, self._writing = os.pipe()
        with contextlib.suppress(OSError):  # the user's share of such memory may be used up
            fcntl.fcntl(self._writing, _SET_SIZE, _PIPE_BYTES)
        try:
            self._reader = restic.start(words, reading, self._said[2], self._said[1])
        except OSError:
            os.close(self._writing)
            self._let_go()
            raise
        finally:
            os.close(reading)

    def read(self, argv: Sequence[str], stdin: bytes) -> None:
        """Start the program; `stdin` is what it is told. Raises OSError."""
        self._program = subprocess.Popen(
            list(argv), stdin=subprocess.PIPE, stdout=self._writing, stderr=self._said[0], env=environment()
        )  # fmt: skip
        with contextlib.suppress(BrokenPipeError):
            assert self._program.stdin is not None
            with self._program.stdin as feed:
                feed.write(stdin)

    def finish(self, tolerated: Sequence[int] = ()) -> "tuple[Optional[Saved], int, str]":
        """Wait for both; return the snapshot, the program's status and its last words on stderr.

        There is no snapshot where the program ended with a status that is neither 0 nor `tolerated`.

        Raises:
            ResticError: restic failed. There is no snapshot, or one that nobody was told of.
        """
        assert self._program is not None
        status = self._program.wait()
        said = last_words(self._read(0), silent="")
        if status and status not in tolerated:  # it may have failed because restic did, which is about to end then
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._reader.wait(_ENDING_S)
        if self._reader.poll() is None and status and status not in tolerated:
            self._stop()
            return None, status, said
        os.close(self._writing)
        self._writing = -1
        ended = self._reader.wait()
        if ended:
            raise self._restic.failed("backup", ended, self._read(1))
        return saved(self._read(2)), status, said

    def _stop(self) -> None:
        """Tell restic to leave no snapshot, wait for that, and only then let go of the pipe."""
        end(self._reader, _STOP_S if self._program else _GIVE_UP_S)
        os.close(self._writing)
        self._writing = -1

    def _read(self, which: int) -> bytes:
        return os.pread(self._said[which], _KEPT, max(0, os.fstat(self._said[which]).st_size - _KEPT))

    def interrupt(self) -> None:
        """Have restic leave no snapshot; whoever waits in finish() is told so. For another thread."""
        self._reader.terminate()

    def close(self) -> None:
        """End what still runs, without a snapshot, and let go of everything."""
        if self._program and self._program.poll() is None:
            self._program.kill()
            self._program.wait()
        if self._writing >= 0:
            self._stop()
        self._let_go()

    def _let_go(self) -> None:
        for descriptor in self._said:
            os.close(descriptor)


def end(restic: "subprocess.Popen[bytes]", patience_s: float) -> None:
    """End restic, if it still runs; asked to, it leaves no snapshot and takes its lock with it."""
    if restic.poll() is not None:
        return
    restic.terminate()
    try:
        restic.wait(patience_s)
    except subprocess.TimeoutExpired:
        restic.kill()
        restic.wait()


def saved(said: bytes) -> Saved:
    """Read the summary that restic prints last. Raises ResticError: there is none."""
    for line in reversed(said.decode("utf-8", "replace").splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if found.get("message_type") == "summary":
            return Saved(found["snapshot_id"], found["total_bytes_processed"], found["data_added"])
    raise ResticError("other", "restic did not say what it saved")
