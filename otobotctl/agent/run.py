"""What a step kind may use while it applies: commands whose output is journalled, and the step's own words."""

from __future__ import annotations

import os
import subprocess
from typing import Callable, Dict, Optional, Sequence


class StepError(Exception):
    """A step could not be applied; the text is for the operator and holds no secret."""


class ProbeError(Exception):
    """A question could not be answered (as opposed to: the answer is "absent")."""


class Run:
    """One apply. `say` journals a line of the running step."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.reboot_asked = False

    def reboot(self) -> None:
        """Ask for a reboot once the run is over: later steps still run, and the journal closes first."""
        self.reboot_asked = True

    def command(
        self,
        argv: Sequence[str],
        stdin: Optional[bytes] = None,
        env: Optional[Dict[str, str]] = None,
        cwd: Optional[str] = None,
    ) -> str:
        """Run to its end, journal stdout and stderr line by line, and return stdout. Raises StepError when it fails."""
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(os.environ, LC_ALL="C.UTF-8", DEBIAN_FRONTEND="noninteractive", **(env or {})),
            cwd=cwd,
        )
        if stdin is not None and process.stdin is not None:
            process.stdin.write(stdin)  # small: a password, a rule set
            process.stdin.close()
        lines = []
        assert process.stdout is not None
        for raw in process.stdout:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            lines.append(line)
            self.say(line)
        status = process.wait()
        if status:
            raise StepError("{} ended with {}".format(argv[0], status))
        return "\n".join(lines)
