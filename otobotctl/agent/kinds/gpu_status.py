"""How a GPU host is: its cards, its Ollama, its room. A question, and never a step."""

from __future__ import annotations

import shutil
from typing import Any, Dict

from otobotctl.agent import machine, nvidia, ollama

_DISK = "/var/lib/docker"


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Answer cards (nvidia.parse), version, models and loaded (Ollama's own), error, memory and disk (bytes).

    `error` is why Ollama does not answer, "" when it does.
    """
    said = {"version": "", "models": [], "loaded": [], "error": ""}  # type: Dict[str, Any]
    try:
        said["version"] = ollama.ask(params["url"], "/api/version").get("version", "")
        said["models"] = ollama.models(params["url"])
        said["loaded"] = list(ollama.ask(params["url"], "/api/ps").get("models") or [])
    except ollama.ApiError as error:
        said["error"] = str(error)
    return dict(said, cards=nvidia.cards(), memory=machine.state()["memory"], disk=_room())


def _room() -> Dict[str, Any]:
    try:
        found = shutil.disk_usage(_DISK)
    except OSError:
        return {"total": None, "free": None}
    return {"total": found.total, "free": found.free}
