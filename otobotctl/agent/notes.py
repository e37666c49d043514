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


def write(client: str, state: str, confirmation: Dict[str, Any], final: bool) -> None:
    """Note an archive that the operator has on disk. Raises OSError."""
    path = _path(client, state)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    record = dict(confirmation, made=round(time.time(), 3), final=final)
    files.write(path, canonical(record).encode() + b"\n", 0o600)


def _path(client: str, state: str) -> str:
    return os.path.join(state, "archives", client + ".json")
