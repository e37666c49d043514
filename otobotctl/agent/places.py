"""Where the agent keeps things on a host."""

from __future__ import annotations

import os


class Places:
    """Directories of root alone: `state` survives a reboot, `runtime` does not; `kept` is this agent's own."""

    def __init__(self, kept: str, state: str, runtime: str) -> None:
        self.kept = kept
        self.state = state
        self.runtime = runtime

    @property
    def lock(self) -> str:
        """The file whose flock is the host's lock."""
        return os.path.join(self.runtime, "lock")

    @property
    def runs(self) -> str:
        """The directory of the journals."""
        return os.path.join(self.state, "runs")

    @property
    def ledger(self) -> str:
        """The host's audit."""
        return os.path.join(self.state, "audit.jsonl")

    def prepare(self) -> None:
        """Make the directories, 0700. Raises OSError."""
        for path in (self.state, self.runtime, self.runs, os.path.dirname(self.kept)):
            os.makedirs(path, mode=0o700, exist_ok=True)
            os.chmod(path, 0o700)


def boot_id() -> str:
    """What tells one boot of the host from the next."""
    with open("/proc/sys/kernel/random/boot_id") as stream:
        return stream.read().strip()
