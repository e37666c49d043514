"""Runs a command of otobotctl that dies, as kill -9 does, once in every stage that it applies.

It dies where the stage's first step begins, while the worker on the host goes on with it. In the stages named by the second
argument the worker dies instead, in the midst of that step. Stages that are in the file of the first argument had their turn.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from otobotctl.cli import main as cli
from otobotctl.converge.convergence import Convergence


class Turns:
    """Which stages had theirs, one a line. `worker` is the command that ends the worker on the host."""

    def __init__(self, file, stages, worker):
        self._file, self._stages, self._worker = Path(file), stages, worker

    def hear(self, record):
        """A record of the host's journal: die, or let the worker die, the first time in its stage."""
        stage = record.get("step", "").partition("/")[0]
        if record["event"] != "step_start" or stage in self._file.read_text().splitlines():
            return
        with self._file.open("a") as file:
            file.write(f"{stage}\n")
        if stage not in self._stages:
            os.kill(os.getpid(), signal.SIGKILL)
        subprocess.run(self._worker, check=True, capture_output=True, timeout=60)


def arm(turns):
    """Let every record that the command hears pass by `turns` first."""
    tell = Convergence.tell

    def told(self, record):
        turns.hear(record)
        tell(self, record)

    Convergence.tell = told


if __name__ == "__main__":
    arm(Turns(sys.argv[1], sys.argv[2].split(","), shlex.split(sys.argv[3])))
    sys.exit(cli.main(sys.argv[4:]))
