"""Where a machine is, and how patiently it is spoken to."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Target:
    """A machine reached over SSH.

    `name` is the manifest's and the one its key is pinned under in `known_hosts`. `address` is an IP address, a DNS
    name or an alias of the operator's ssh configuration. `user` and `port` None: ssh decides.
    """

    name: str
    address: str
    user: str | None = None
    port: int | None = 22
    jump: Target | None = None
    known_hosts: Path = field(kw_only=True)
    identity: Path | None = None

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address and not self.address.startswith("[") else self.address
        return f"{self.name} ({address}:{self.port})" if self.port else f"{self.name} ({address})"


@dataclass(frozen=True)
class Settings:
    """How ssh is run.

    `config` replaces ~/.ssh/config. A connection stays for `persist_s` seconds after its last execution, for the next
    command to use; 0: it ends with its Door. A line that answers nothing is given up after
    `alive_interval_s * (alive_count + 1)` seconds.
    """

    config: Path | None = None
    persist_s: int = 60
    connect_timeout_s: int = 10
    alive_interval_s: int = 5
    alive_count: int = 2

    @classmethod
    def from_environment(cls) -> Settings:
        """Read OTOBOTCTL_SSH_CONFIG (a path) and OTOBOTCTL_SSH_PERSIST (seconds)."""
        config = os.environ.get("OTOBOTCTL_SSH_CONFIG")
        persist = os.environ.get("OTOBOTCTL_SSH_PERSIST", "")
        return cls(
            config=Path(config) if config else None,
            persist_s=int(persist) if persist.isdecimal() else cls.persist_s,
        )
