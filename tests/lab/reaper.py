"""Takes a lab down whose process was killed: it waits for the end of its standard input, which the kernel closes for the dead.

Run by the lab itself: `python -m tests.lab.reaper SLOT`. A lab that closed in an orderly way says so with one line.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.lab.slot import Slot

_PROJECT = Path(__file__).resolve().parents[2]


class Reaper:
    """The process that outlives this one by a moment, should this one be killed."""

    def __init__(self, slot: Slot) -> None:
        # In a session of its own, so that a signal to pytest's whole process group spares it.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.lab.reaper", str(slot.number)],
            cwd=_PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def dismiss(self) -> None:
        """Say that all is cleared, and wait for its end."""
        try:
            self._process.communicate(b"closed\n", timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


def main(number: int) -> None:
    """Wait for the lab's end, then clear its slot unless it did."""
    from tests.lab import lab as laboratory  # which imports this module for the class above

    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, signal.SIG_IGN)
    if sys.stdin.readline():
        return
    slot = Slot(number)
    with slot.lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if slot.directory.exists():
            os.environ["OTOBOTCTL_LAB_HOME"] = (slot.directory / "home").read_text()
            laboratory.clear(slot)
            laboratory.unmount_abandoned()


if __name__ == "__main__":
    main(int(sys.argv[1]))
