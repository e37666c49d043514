"""Where the sockets of shared connections live: who can open one is logged in, so the directory is private."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otobotctl.transport.target import Settings, Target

_LONGEST = 104 - 17 - 1  # macOS's limit for a socket's path, less what ssh appends while it binds


def control_path(target: Target, settings: Settings) -> Path | None:
    """The socket for connections to `target`; None when this machine has no safe place for one.

    The name covers everything that decides who is at the other end, the pinned keys too: a connection that was made
    under other pins is never taken over.
    """
    if settings.persist_s:
        name = hashlib.sha256(_identity(target, settings).encode()).hexdigest()[:20]
    else:
        name = secrets.token_hex(10)
    for directory in _candidates():
        path = directory / name
        if len(os.fsencode(path)) <= _LONGEST and _private(directory):
            return path
    return None


def _identity(target: Target, settings: Settings) -> str:
    hops = []
    hop: Target | None = target
    while hop is not None:
        try:
            pins = hop.known_hosts.read_text(errors="replace")
        except OSError:
            pins = ""
        names = [line for line in pins.splitlines() if hop.name in line.partition(" ")[0].split(",")]
        hops.append(repr((hop.name, hop.address, hop.user, hop.port, hop.known_hosts, hop.identity, names)))
        hop = hop.jump
    return "\n".join((*hops, str(settings.config)))


def _candidates() -> list[Path]:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    found = [Path(runtime) / "otobotctl"] if runtime else []
    cache = os.environ.get("XDG_CACHE_HOME")
    found.append((Path(cache) if cache else Path.home() / ".cache") / "otobotctl" / "ssh")
    found.append(Path("/tmp") / f"otobotctl-{os.getuid()}")  # noqa: S108  # for long home paths; _private refuses a stranger's
    return found


def _private(directory: Path) -> bool:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
