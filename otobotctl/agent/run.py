"""What a step kind may use while it applies: commands whose output is journalled, the step's own words, a reboot."""

from __future__ import annotations

import os
from typing import Callable, Dict, List, Optional, Sequence

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_WORDS = 3


def environment(**more: str) -> Dict[str, str]:
    """What a program gets: this process's own variables, a known PATH and language, and these."""
    return {**os.environ, "PATH": PATH, "LC_ALL": "C.UTF-8", **more}


def last_words(said: bytes, silent: str = "no word why") -> str:
    """The last lines of what a program said, in one, which most often is why it failed; `silent` where it said none."""
    lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    return "; ".join(lines[-_WORDS:]) or silent


class StepError(Exception):
    """A step could not be applied; the text is for the operator and holds no secret.

    `code` tells a program what kind of failure it is, where that matters: protocol.py lists them.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class ProbeError(Exception):
    """A question could not be answered (as opposed to: the answer is "absent")."""


class Run:
    """One apply. `say` journals a line of the running step; `who` is the operator (user@machine)."""

    def __init__(self, say: Callable[[str], None], who: str = "") -> None:
        self.say = say
        self.who = who
        self.reboot_asked = False

    def reboot(self) -> None:
        """Ask for a reboot: the run ends after this step, and the host goes down once its journal is safe."""
        self.reboot_asked = True

    def command(
        self,
        argv: Sequence[str],
        stdin: Optional[bytes] = None,
        env: Optional[Dict[str, str]] = None,
        cwd: Optional[str] = None,
    ) -> str:
        """Run to its end, journal stdout and stderr line by line, and return stdout without its last newline.

        Raises:
            StepError: the command is missing, or ends with another status than 0.
        """
        from otobotctl.agent import commands  # an observation runs none

        said: List[str] = []  # its last line, which most often is why it failed

        def hear(line: str) -> None:
            if line.strip():
                said[:] = [line.strip()]
            self.say(line)

        try:
            variables = {"DEBIAN_FRONTEND": "noninteractive", **(env or {})}
            status, stdout = commands.run(argv, hear, stdin, environment(**variables), cwd)
        except OSError as error:
            raise StepError("{} cannot be run: {}".format(argv[0], error.strerror)) from error
        if status:
            raise StepError("{} ended with {}{}".format(argv[0], status, ": " + said[0] if said else ""))
        return stdout
