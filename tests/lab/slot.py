"""A slot: which of the labs on this machine this is. Names, addresses and state follow from its number.

A slot belongs to the process that holds its lock file; the lock dies with the process. What a killed lab left is in the
slot's directory, and whoever takes the slot next removes it first.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RUNTIME = Path("/run/otobotctl-lab")
SLOTS = 12


def home() -> Path:
    """Where the lab keeps what is worth keeping: downloads, keys and bases (OTOBOTCTL_LAB_HOME overrides)."""
    return Path(os.environ.get("OTOBOTCTL_LAB_HOME") or "/var/tmp/otobotctl-lab")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file lock `path` for the length of a block; waits for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def try_lock(path: Path, *, shared: bool = False) -> int | None:
    """Lock `path` without waiting; return the descriptor that holds the lock, or None when somebody else does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@dataclass(frozen=True)
class Slot:
    """The names and addresses of lab number `number`."""

    number: int

    @property
    def directory(self) -> Path:
        """State of what runs; gone with a restart of the machine, as what it describes."""
        return RUNTIME / str(self.number)

    @property
    def lock(self) -> Path:
        return RUNTIME / f"{self.number}.lock"

    @property
    def tag(self) -> str:
        """The comment on firewall rules and the name of the cgroup."""
        return f"otobotctl-lab-{self.number}"

    @property
    def namespace(self) -> str:
        return f"otobotlab{self.number}"

    @property
    def bridge(self) -> str:
        return f"otbr{self.number}"

    @property
    def uplink(self) -> str:
        """This machine's end of the cable to the lab; the other end has an `i` more."""
        return f"otlab{self.number}"

    @property
    def prefix(self) -> str:
        """The first three numbers of the hosts' addresses."""
        return f"10.203.{self.number}"

    @property
    def gateway(self) -> str:
        return f"{self.prefix}.1"

    @property
    def registry(self) -> str:
        return f"{self.prefix}.2"

    @property
    def outside(self) -> str:
        """This machine's address on the cable; `inside` is the lab's."""
        return f"10.204.{self.number}.1"

    @property
    def inside(self) -> str:
        return f"10.204.{self.number}.2"

    @property
    def prefix6(self) -> str:
        """A private IPv6 network for the hosts."""
        return f"fd10:203:{self.number}:"

    def machine(self, name: str) -> str:
        """The short name of a host towards the kernel: an interface name has 15 letters at most."""
        return f"o{self.number}{name}"
