"""How a GPU host is: its cards, what runs its models, its room. A question, and never a step."""

from __future__ import annotations

import shutil
import time
from typing import Any, Dict

from otobotctl.agent import machine, metered, nvidia, ollama, vllm

_DISK = "/var/lib/docker"


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Answer cards (nvidia.parse), version, models and loaded (Ollama's own), error, memory and disk (bytes).

    `error` is why the engine does not answer, "" when it does. Of vLLM also requests: how many are running, waiting.
    `metered` is what the meter says (_metered).
    """
    said = {"version": "", "models": [], "loaded": [], "error": ""}  # type: Dict[str, Any]
    try:
        (_of_vllm if params.get("engine") == "vllm" else _of_ollama)(params["url"], said)
    except ollama.ApiError as error:
        said["error"] = str(error)
    return dict(said, cards=nvidia.cards(), memory=machine.state()["memory"], disk=_room(), metered=_metered(params))


def _metered(params: Dict[str, Any]) -> Dict[str, Any]:
    """in_flight and lost (metered.now), recent (metered.recent), and error: why it cannot be told, "" when it can."""
    folder = params.get("usage", metered.FOLDER)
    try:
        return dict(metered.now(folder), recent=metered.recent(folder, time.time()), error="")
    except OSError as error:
        said = getattr(error, "strerror", None) or str(error)
        return {"in_flight": [], "lost": 0, "recent": {}, "error": said}


def _of_ollama(url: str, said: Dict[str, Any]) -> None:
    said["version"] = ollama.ask(url, "/api/version").get("version", "")
    said["models"] = ollama.models(url)
    said["loaded"] = list(ollama.ask(url, "/api/ps").get("models") or [])


def _of_vllm(url: str, said: Dict[str, Any]) -> None:
    said["version"] = ollama.ask(url, "/version").get("version", "")
    said["models"] = vllm.models(url)
    said["requests"] = vllm.queue(url)


def _room() -> Dict[str, Any]:
    try:
        found = shutil.disk_usage(_DISK)
    except OSError:
        return {"total": None, "free": None}
    return {"total": found.total, "free": found.free}
