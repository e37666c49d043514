"""The operator's side: the command line as a program, with a home directory of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.story.proof import NotProvedError


class Operator:
    """Runs `otobotctl --json` on one fleet. The operator's real home, keys and agent stay out of it."""

    def __init__(self, home: Path, fleet: Path) -> None:
        self.home = home
        self.fleet = fleet
        self.ssh_config = home / "ssh_config"
        self.ssh_config.touch()
        self.environment: dict[str, str] = {
            **{name: value for name, value in os.environ.items() if name in {"PATH", "LANG", "TMPDIR", "LC_ALL"}},
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "OTOBOTCTL_FLEET": str(fleet),
            "OTOBOTCTL_SSH_CONFIG": str(self.ssh_config),
        }

    def run(self, *arguments: str, extra: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Run one command and return its envelope, whatever its outcome; `exit` is added to it."""
        argv = (sys.executable, "-m", "otobotctl", "--json", "--yes", *arguments)
        environment = {**self.environment, **(extra or {})}
        done = subprocess.run(
            argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        last = done.stdout.strip().rpartition("\n")[2]  # events may come before the answer, one a line
        try:
            envelope: dict[str, Any] = json.loads(last)
        except ValueError:
            raise NotProvedError(f"otobotctl {arguments[0]} answered no JSON: {done.stderr[-500:]}") from None
        return {**envelope, "exit": done.returncode}

    def do(self, *arguments: str) -> Any:
        """Run one command that must succeed and return its data."""
        envelope = self.run(*arguments)
        if not envelope["ok"]:
            error = envelope["error"]
            details = "; ".join(error["details"][-5:])
            raise NotProvedError(f"otobotctl {' '.join(arguments[:2])}: {error['message']} {details}")
        return envelope["data"]
