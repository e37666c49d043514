"""What a host remembers of the archives that were made of its clients: one small file a client, no secret in it."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, Optional

from otobotctl.agent import files
from otobotctl.agent.lines import canonical, decode
from otobotctl.agent.protocol import STATE_DIR


def read(client: str, state: str = STATE_DIR) -> Optional[Dict[str, Any]]:
    """The note of the last archive: made (Unix seconds), final, and what its Confirmation said; None: never."""
    try:
        found = decode(files.read(_path(client, state)) or b"null")
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "made" in found else None


def newest(client: str, state: str = STATE_DIR) -> Optional[Dict[str, Any]]:
    """The note of the last archive, whoever made it: an export (see `read`), or the host's own backup on any target.

    Of a backup it is what its state.json says (agent/backup/state.py), with `target`.
    """
    found = [read(client, state)]
    try:
        said = decode(files.read(os.path.join(state, "backup", client, "state.json")) or b"{}")
        targets = said["targets"].items()
        found += [dict(each["archive"], target=name) for name, each in targets if each.get("archive")]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        pass  # it has no backup, or nobody can tell
    return max((each for each in found if each), key=lambda each: float(each["made"]), default=None)


def write(client: str, state: str, confirmation: Dict[str, Any], final: bool) -> None:
    """Note an archive that the operator has on disk. Raises OSError."""
    path = _path(client, state)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    record = dict(confirmation, made=round(time.time(), 3), final=final)
    files.write(path, canonical(record).encode() + b"\n", 0o600)


def _path(client: str, state: str) -> str:
    return os.path.join(state, "archives", client + ".json")
